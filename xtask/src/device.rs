//! The device that `--device` names.

use anyhow::{Context, Result, bail};
use candle_core::Device;

/// `cpu`, `cuda`, `cuda:N` or `metal`.
pub fn parse(text: &str) -> Result<Device> {
    let failed = |feature: &str, built: bool| {
        if built {
            return format!(
                "cannot use device `{text}`; is it there, and is its driver at least as new as the toolkit of this build? \
                 `--device cpu` works everywhere"
            );
        }
        format!(
            "cannot use device `{text}`; it needs a build with that feature: \
             cargo run --release -p xtask --features {feature} -- run ..."
        )
    };
    let (kind, ordinal) = text.split_once(':').unwrap_or((text, "0"));
    match (kind, ordinal.parse()) {
        ("cpu", _) if text == "cpu" => Ok(Device::Cpu),
        ("cuda", Ok(ordinal)) => {
            Device::new_cuda(ordinal).with_context(|| failed("cuda", cfg!(feature = "cuda")))
        }
        ("metal", Ok(ordinal)) => {
            Device::new_metal(ordinal).with_context(|| failed("metal", cfg!(feature = "metal")))
        }
        _ => bail!("unknown device `{text}`; known: cpu, cuda, cuda:N, metal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_knows() {
        assert!(parse("cpu").unwrap().is_cpu());
        for bad in ["tpu", "cuda:x", "cpu:1", ""] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.contains("known: cpu, cuda"), "{message}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn says_what_build_a_device_needs() {
        let message = parse("cuda").unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
