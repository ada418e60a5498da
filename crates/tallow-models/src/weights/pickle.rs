//! Pickles of checkpoints: the names that they may contain.

pub(super) use tallow_pickle::{Pickle, Value};

use tallow_pickle::{Error, Limits};

use crate::weights::error::{Result, WeightsProblem};

/// Reads one pickle from the front of `bytes`; gives also the number of bytes that it takes. Names of functions other than those that
/// tensors are made of are an error, as in `torch.load(weights_only=True)`. 150,000 tensors fit in the limits.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle<'_>, usize)> {
    Pickle::read(bytes, &Limits::default(), is_data).map_err(|error| match error {
        Error::Global { module, name } => WeightsProblem::Code {
            global: format!("{module}.{name}"),
        },
        error => damaged(error.to_string()),
    })
}

pub(super) fn damaged(found: impl Into<String>) -> WeightsProblem {
    WeightsProblem::Damaged {
        format: "PyTorch checkpoint",
        found: found.into(),
    }
}

/// Whether a name is one of those that checkpoints have for tensors and for the values that training scripts leave beside them.
/// None of them is called; the list is there so that what would be run by another reader is refused by this one.
fn is_data(module: &str, name: &str) -> bool {
    match module {
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter"),
        "torch" => {
            name.strip_suffix("Storage")
                .is_some_and(|kind| kind.chars().all(char::is_alphanumeric))
                || matches!(
                    name,
                    "Size"
                        | "device"
                        | "float16"
                        | "bfloat16"
                        | "float32"
                        | "float64"
                        | "int8"
                        | "int16"
                        | "int32"
                        | "int64"
                        | "uint8"
                        | "bool"
                )
        }
        "torch._utils" => matches!(
            name,
            "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_parameter"
        ),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => name == "Parameter",
        "argparse" => name == "Namespace",
        "_codecs" => name == "encode",
        "numpy.core.multiarray" | "numpy._core.multiarray" => name == "scalar",
        "numpy" => name == "dtype",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_named() {
        for bytes in [
            &b"cos\nsystem\nX\x01\0\0\0a\x85R."[..],
            b"\x8c\x02os\x8c\x06system\x93.",
            b"c__builtin__\neval\n.",
            b"ctorch.storage\n_load_from_bytes\n.",
            b"ctorch\nos.system.Storage\n.",
        ] {
            assert!(
                matches!(read(bytes), Err(WeightsProblem::Code { .. })),
                "{bytes:?}"
            );
        }
        let found = read(b"cos\nsystem\n.").unwrap_err().to_string();
        assert!(found.contains("`os.system`"));
    }
}
