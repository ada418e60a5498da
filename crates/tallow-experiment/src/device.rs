//! Devices by name.

use candle_core::Device;

use crate::error::{Error, Result};

/// Device by name: `cpu`, `cuda`, `cuda:N` or `metal`.
pub fn parse(text: &str) -> Result<Device> {
    let failed = |feature: &'static str, built: bool| {
        move |source| match built {
            true => Error::Device {
                name: text.to_string(),
                message: format!(
                    "cannot use device `{text}`; is it there, and is its driver at least as new as the toolkit of this build? \
                     `--device cpu` works everywhere"
                ),
                source: Some(Box::new(source)),
            },
            // The driver's own words would be about candle.
            false => Error::Device {
                name: text.to_string(),
                message: format!(
                    "cannot use device `{text}`: this program was built without it; build it with --features {feature}, as in \
                     `cargo install --path crates/tallow-cli --features {feature}`"
                ),
                source: None,
            },
        }
    };
    let (kind, ordinal) = text.split_once(':').unwrap_or((text, "0"));
    match (kind, ordinal.parse()) {
        ("cpu", _) if text == "cpu" => Ok(Device::Cpu),
        ("cuda", Ok(ordinal)) => {
            // Every CUDA device of the programs is made there, so that all of them have one stream each.
            let device = tallow_ops::cuda_device(ordinal).map_err(candle_core::Error::from);
            device.map_err(failed("cuda", cfg!(feature = "cuda")))
        }
        ("metal", Ok(ordinal)) => {
            Device::new_metal(ordinal).map_err(failed("metal", cfg!(feature = "metal")))
        }
        _ => Err(Error::Device {
            name: text.to_string(),
            message: format!("unknown device `{text}`; known: cpu, cuda, cuda:N, metal"),
            source: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_knows() {
        assert!(parse("cpu").unwrap().is_cpu());
        for bad in ["tpu", "cuda:x", "cpu:1", ""] {
            let message = parse(bad).unwrap_err().message();
            assert!(message.contains("known: cpu, cuda"), "{message}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn says_what_build_a_device_needs() {
        let message = parse("cuda").unwrap_err().message();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
