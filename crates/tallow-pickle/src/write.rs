//! Pickles written: the values that a state dict of PyTorch consists of.

/// Value to write in a pickle.
///
/// ```
/// use tallow_pickle::{Limits, Object, Pickle, Value};
///
/// let empty = Object::call("collections", "OrderedDict", Vec::new());
/// let object = Object::Filled(Box::new(empty), vec![(Object::Str("step"), Object::Int(7))]);
/// let bytes = object.to_pickle();
///
/// let (pickle, length) = Pickle::read(&bytes, &Limits::default(), |_, name| name == "OrderedDict")?;
/// assert_eq!(length, bytes.len());
/// assert_eq!(pickle.get(pickle.root, "step"), Some(Value::Int(7)));
/// # Ok::<(), tallow_pickle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Text.
    Str(&'a str),
    /// A tuple.
    Tuple(Vec<Object<'a>>),
    /// A class or function: module, then name. Neither may contain a line break.
    Global(&'a str, &'a str),
    /// A call: the callable and its arguments.
    Call(Box<Object<'a>>, Vec<Object<'a>>),
    /// A dict, or another mapping made by a call, with these keys and values.
    Filled(Box<Object<'a>>, Vec<(Object<'a>, Object<'a>)>),
    /// A value outside the pickle, by its description.
    Persistent(Box<Object<'a>>),
}

impl<'a> Object<'a> {
    /// Call of a class or function of a module.
    pub fn call(module: &'a str, name: &'a str, arguments: Vec<Object<'a>>) -> Self {
        Self::Call(Box::new(Self::Global(module, name)), arguments)
    }

    /// Pickle of protocol 2, the one of `torch.save`. It repeats equal values instead of referring back to them.
    pub fn to_pickle(&self) -> Vec<u8> {
        let mut bytes = vec![0x80, 2];
        self.write(&mut bytes);
        bytes.push(b'.');
        bytes
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Bool(true) => to.push(0x88),
            Self::Bool(false) => to.push(0x89),
            Self::Int(value) => write_int(*value, to),
            Self::Str(text) => {
                to.push(b'X');
                // Names are short: 4 GiB of text do not occur in memory with them.
                to.extend((text.len() as u32).to_le_bytes());
                to.extend(text.as_bytes());
            }
            Self::Tuple(items) => write_tuple(items, to),
            Self::Global(module, name) => {
                to.extend(format!("c{module}\n{name}\n").as_bytes());
            }
            Self::Call(callable, arguments) => {
                callable.write(to);
                write_tuple(arguments, to);
                to.push(b'R');
            }
            Self::Filled(mapping, entries) => {
                mapping.write(to);
                to.push(b'(');
                for (key, value) in entries {
                    key.write(to);
                    value.write(to);
                }
                to.push(b'u');
            }
            Self::Persistent(description) => {
                description.write(to);
                to.push(b'Q');
            }
        }
    }
}

fn write_int(value: i64, to: &mut Vec<u8>) {
    if let Ok(value) = u8::try_from(value) {
        to.extend([b'K', value]);
    } else if let Ok(value) = u16::try_from(value) {
        to.push(b'M');
        to.extend(value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        to.push(b'J');
        to.extend(value.to_le_bytes());
    } else {
        to.extend([0x8a, 8]);
        to.extend(value.to_le_bytes());
    }
}

fn write_tuple(items: &[Object], to: &mut Vec<u8>) {
    // Tuples of up to three items have instructions of their own.
    let end = match items.len() {
        0 => b')',
        1 => 0x85,
        2 => 0x86,
        3 => 0x87,
        _ => {
            to.push(b'(');
            b't'
        }
    };
    for item in items {
        item.write(to);
    }
    to.push(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of Python's `pickle.dumps(value, 2)` after `pickletools.optimize`.
    #[test]
    fn bytes_are_those_of_python() {
        let ints = [0, 255, 256, 65_535, 65_536, -1, i64::from(i32::MIN)].map(Object::Int);
        assert_eq!(
            Object::Tuple(ints.to_vec()).to_pickle(),
            b"\x80\x02(K\x00K\xffM\x00\x01M\xff\xffJ\x00\x00\x01\x00J\xff\xff\xff\xffJ\x00\x00\x00\x80t."
        );
        let call = Object::call("collections", "OrderedDict", Vec::new());
        assert_eq!(call.to_pickle(), b"\x80\x02ccollections\nOrderedDict\n)R.");
        let pair = Object::Tuple(vec![Object::Str("é"), Object::Bool(true)]);
        assert_eq!(
            pair.to_pickle(),
            b"\x80\x02X\x02\x00\x00\x00\xc3\xa9\x88\x86."
        );
    }

    #[test]
    fn integers_of_64_bits_are_read_back() {
        use crate::{Limits, Pickle, Value};
        for value in [i64::MIN, -(1 << 40), 1 << 31, i64::MAX] {
            let bytes = Object::Int(value).to_pickle();
            let (pickle, _) = Pickle::read(&bytes, &Limits::default(), |_, _| false).unwrap();
            assert_eq!(pickle.root, Value::Int(value));
        }
    }
}
