//! Names of functions and classes in checkpoints: those of plain data, and code.

use crate::weights::pickle::{Pickle, Value};

/// First name in a pickle that is code, such as the class of a pickled module.
pub(super) fn code(pickle: &Pickle) -> Option<String> {
    let named = pickle
        .globals()
        .find(|(module, name)| !is_data(module, name));
    named.map(|(module, name)| format!("{module}.{name}"))
}

/// Code that makes a value, when it is no plain data.
pub(super) fn maker(pickle: &Pickle, value: Value) -> Option<String> {
    let Value::Call(id) = value else { return None };
    match pickle.items(id).first() {
        Some(Value::Global(module, name)) if !is_data(module, name) => {
            Some(format!("{module}.{name}"))
        }
        _ => None,
    }
}

/// Whether a name is one of those that checkpoints have for tensors and for the values that training scripts leave beside them.
/// None of them is called. Other names are code: values made by it are left out, and a file without weights is refused by its name.
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
    use crate::weights::pickle;

    #[test]
    fn code_is_named() {
        for (bytes, expected) in [
            (&b"cos\nsystem\nX\x01\0\0\0a\x85R."[..], "os.system"),
            (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
            (b"c__builtin__\neval\n.", "__builtin__.eval"),
            (
                b"ctorch.storage\n_load_from_bytes\n.",
                "torch.storage._load_from_bytes",
            ),
            (b"ctorch\nos.system.Storage\n.", "torch.os.system.Storage"),
        ] {
            let (pickle, _) = pickle::read(bytes).unwrap();
            assert_eq!(code(&pickle).as_deref(), Some(expected));
        }
        let (pickle, _) = pickle::read(b"ccollections\nOrderedDict\n)R.").unwrap();
        assert_eq!(code(&pickle), None);
    }
}
