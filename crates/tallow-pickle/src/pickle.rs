//! The stack machine, and the values that it leaves.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Limits of one pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of bytes; what follows is not looked at.
    pub bytes: usize,
    /// Largest number of instructions. A value takes some fifty bytes of memory, and strings none.
    pub instructions: usize,
}

impl Default for Limits {
    /// 16 MiB of bytes, and as many instructions.
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            instructions: 16 << 20,
        }
    }
}

/// A value of a pickle that lies in memory as `'a`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// An integer of more than 64 bits, little-endian.
    Long(&'a [u8]),
    /// Text; of Python 2 also a byte string that is UTF-8.
    Str(&'a str),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A tuple, see [`Pickle::items`].
    Tuple(Id),
    /// A list or a set, see [`Pickle::items`].
    List(Id),
    /// Keys and values in turn.
    Dict(Id),
    /// A name: module, then function or class.
    Global(&'a str, &'a str),
    /// Storage that `torch.save` put outside the pickle: one value, its description.
    Persistent(Id),
    /// A call that was not made: the callable, the tuple of its arguments, and the states given to the result.
    Call(Id),
}

/// Place of the parts of a value in [`Pickle::items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

/// Value in a pickle.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// The value that the pickle stands for.
    pub root: Value<'a>,
    items: Vec<Vec<Value<'a>>>,
}

impl<'a> Pickle<'a> {
    /// Reads one pickle from the front of `bytes`; gives also the number of bytes that it takes. `allows` says of a module and a
    /// name in it whether it may occur.
    ///
    /// # Errors
    /// [`Error::Global`] for a name that is not allowed; [`Error::Damaged`] for anything else that cannot be read.
    pub fn read(
        bytes: &'a [u8],
        limits: &Limits,
        allows: impl Fn(&str, &str) -> bool,
    ) -> Result<(Self, usize)> {
        let mut machine = Machine {
            bytes: &bytes[..bytes.len().min(limits.bytes)],
            left: limits.instructions,
            allows: &allows,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            items: Vec::new(),
        };
        let root = machine.run()?;
        let (at, items) = (machine.at, machine.items);
        Ok((Self { root, items }, at))
    }

    /// The parts of a tuple, list, dict, call or persistent value.
    pub fn items(&self, id: Id) -> &[Value<'a>] {
        &self.items[id.0]
    }

    /// The items of a tuple or list.
    pub fn sequence(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(id) | Value::List(id) => Some(self.items(id)),
            _ => None,
        }
    }

    /// The entries of a dict.
    pub fn entries(
        &self,
        value: Value<'a>,
    ) -> Option<impl Iterator<Item = (Value<'a>, Value<'a>)>> {
        match value {
            Value::Dict(id) => Some(
                self.items(id)
                    .chunks_exact(2)
                    .map(|pair| (pair[0], pair[1])),
            ),
            _ => None,
        }
    }

    /// The value of a dict's key, which may be text or bytes; the last one where a file gives it twice, as in Python.
    pub fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        let entries = self.entries(dict)?;
        entries
            .filter(|(k, _)| {
                matches!(*k, Value::Str(k) if k == key)
                    || matches!(*k, Value::Bytes(k) if k == key.as_bytes())
            })
            .last()
            .map(|(_, v)| v)
    }

    /// The function and the arguments of a call.
    pub fn call(&self, value: Value<'a>) -> Option<((&'a str, &'a str), &[Value<'a>])> {
        let Value::Call(id) = value else { return None };
        match *self.items(id) {
            [Value::Global(module, name), args, ..] => Some(((module, name), self.sequence(args)?)),
            _ => None,
        }
    }

    /// The state that Python would give to the result of a call (`__setstate__`); the last one where there are several.
    pub fn state(&self, call: Value<'a>) -> Option<Value<'a>> {
        let Value::Call(id) = call else { return None };
        self.items(id).get(2..)?.last().copied()
    }

    /// Every name of a function or class: module, then name.
    pub fn globals(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let values = self.items.iter().flatten().chain([&self.root]);
        values.filter_map(|value| match *value {
            Value::Global(module, name) => Some((module, name)),
            _ => None,
        })
    }

    /// Every description of something outside the pickle.
    pub fn persistent(&self) -> impl Iterator<Item = &[Value<'a>]> {
        let values = self.items.iter().flatten().chain([&self.root]);
        values.filter_map(|value| match *value {
            Value::Persistent(id) => self.sequence(*self.items(id).first()?),
            _ => None,
        })
    }
}

struct Machine<'a, 'b> {
    bytes: &'a [u8],
    /// Instructions that may still be executed.
    left: usize,
    allows: &'b dyn Fn(&str, &str) -> bool,
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    items: Vec<Vec<Value<'a>>>,
}

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Result<Value<'a>> {
        loop {
            self.left = match self.left.checked_sub(1) {
                Some(left) => left,
                None => return Err(self.wrong("more instructions than are read")),
            };
            match self.byte()? {
                b'.' => return self.pop(),
                // Protocol and frame are announcements only.
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),

                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'K' => self.int::<1>()?,
                b'M' => self.int::<2>()?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                0x8a => {
                    let length = self.length::<1>()?;
                    let bytes = self.take(length)?;
                    self.stack.push(long(bytes));
                }
                0x8b => {
                    let length = self.length::<4>()?;
                    let bytes = self.take(length)?;
                    self.stack.push(long(bytes));
                }
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.stack.push(Value::Float(value));
                }
                b'X' => self.string::<4>()?,
                0x8c => self.string::<1>()?,
                0x8d => self.string::<8>()?,
                // Strings of Python 2, which may be text or bytes.
                b'U' => self.python2_string::<1>()?,
                b'T' => self.python2_string::<4>()?,
                b'C' => self.raw::<1>()?,
                b'B' => self.raw::<4>()?,
                // Bytes, and a bytearray.
                0x8e | 0x96 => self.raw::<8>()?,
                // A buffer in the file is read-only or not, which is the same here.
                0x98 => {}

                b')' => self.make(Value::Tuple, Vec::new()),
                b'}' => self.make(Value::Dict, Vec::new()),
                b']' => self.make(Value::List, Vec::new()),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => self.collect(Value::Tuple)?,
                b'l' => self.collect(Value::List)?,
                b'd' => self.collect(Value::Dict)?,
                // Sets, whose items are hashed nowhere here.
                0x8f => self.make(Value::List, Vec::new()),
                0x91 => self.collect(Value::List)?,
                b'a' => {
                    let value = self.pop()?;
                    self.extend(vec![value])?;
                }
                b's' => {
                    let pair = self.pop_many(2)?;
                    self.extend(pair)?;
                }
                b'e' | b'u' | 0x90 => {
                    let values = self.pop_to_mark()?;
                    self.extend(values)?;
                }

                b'q' => {
                    let key = self.byte()?.into();
                    self.remember(key)?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                0x94 => {
                    let key = self.memo.len() as u32;
                    self.remember(key)?;
                }
                b'h' => {
                    let key = self.byte()?.into();
                    self.recall(key)?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }

                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                0x93 => match self.pop_many(2)?[..] {
                    [Value::Str(module), Value::Str(name)] => self.global(module, name)?,
                    _ => return Err(self.wrong("a global whose name is no text")),
                },
                b'Q' => {
                    let value = self.pop()?;
                    self.make(Value::Persistent, vec![value]);
                }
                b'R' | 0x81 => self.call()?,
                // A call with named arguments too.
                0x92 => {
                    self.pop()?;
                    self.call()?;
                }
                b'b' => self.build()?,
                other => {
                    return Err(self.wrong(&format!(
                        "the instruction 0x{other:02x}, which is not supported,"
                    )));
                }
            }
        }
    }

    fn wrong(&self, found: &str) -> Error {
        Error::Damaged(format!(
            "{found} at byte {} of its pickle",
            self.at.saturating_sub(1)
        ))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if count > rest.len() {
            return Err(Error::Damaged(format!(
                "{count} bytes announced at byte {} of its pickle, which has {} left",
                self.at,
                rest.len()
            )));
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of `N` bytes, little-endian; one that does not fit in memory does not fit in the file either.
    fn length<const N: usize>(&mut self) -> Result<usize> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N)?);
        Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    fn int<const N: usize>(&mut self) -> Result<()> {
        let value = self.length::<N>()?;
        self.stack.push(Value::Int(value as i64));
        Ok(())
    }

    fn raw<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        self.stack.push(Value::Bytes(bytes));
        Ok(())
    }

    fn string<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.wrong("text that is not UTF-8"))?;
        self.stack.push(Value::Str(text));
        Ok(())
    }

    fn python2_string<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        self.stack
            .push(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Str));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.wrong("a name without an end"));
        };
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| self.wrong("a name that is not UTF-8"))
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.wrong("a value too few"));
        }
        self.stack
            .pop()
            .ok_or_else(|| self.wrong("a value too few"))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(self.wrong("a value too few")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.wrong("a list without a beginning")),
        }
    }

    fn make(&mut self, kind: impl Fn(Id) -> Value<'a>, items: Vec<Value<'a>>) {
        self.stack.push(kind(Id(self.items.len())));
        self.items.push(items);
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        self.make(Value::Tuple, items);
        Ok(())
    }

    fn collect(&mut self, kind: impl Fn(Id) -> Value<'a>) -> Result<()> {
        let items = self.pop_to_mark()?;
        self.make(kind, items);
        Ok(())
    }

    /// Adds to the list or dict on top of the stack.
    fn extend(&mut self, values: Vec<Value<'a>>) -> Result<()> {
        match self.stack.last() {
            Some(Value::List(id)) => self.items[id.0].extend(values),
            Some(Value::Dict(id)) if values.len().is_multiple_of(2) => {
                self.items[id.0].extend(values);
            }
            // An object of a class that extends list or dict, which stays opaque.
            Some(Value::Call(_)) => {}
            _ => return Err(self.wrong("items for what is neither list nor dict")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<()> {
        match self.stack.last() {
            Some(value) => {
                self.memo.insert(key, *value);
                Ok(())
            }
            None => Err(self.wrong("a value too few")),
        }
    }

    fn recall(&mut self, key: u32) -> Result<()> {
        match self.memo.get(&key) {
            Some(value) => {
                self.stack.push(*value);
                Ok(())
            }
            None => Err(self.wrong(&format!("value {key}, which was not stored"))),
        }
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<()> {
        if !(self.allows)(module, name) {
            return Err(Error::Global {
                module: module.into(),
                name: name.into(),
            });
        }
        self.stack.push(Value::Global(module, name));
        Ok(())
    }

    /// Writes down a call; dictionaries are made, since they hold the tensors.
    fn call(&mut self) -> Result<()> {
        let parts = self.pop_many(2)?;
        let Value::Global("collections", "OrderedDict" | "defaultdict" | "Counter") = parts[0]
        else {
            self.make(Value::Call, parts);
            return Ok(());
        };
        // Python 2 passes a list of pairs; Python 3 adds the entries afterwards.
        let list = |value: Value<'a>| match value {
            Value::Tuple(id) | Value::List(id) => &self.items[id.0][..],
            _ => &[],
        };
        let pairs = list(parts[1]).first().map_or(&[][..], |first| list(*first));
        let entries = pairs
            .iter()
            .filter_map(|pair| <[Value<'a>; 2]>::try_from(list(*pair)).ok())
            .flatten()
            .collect();
        self.make(Value::Dict, entries);
        Ok(())
    }

    /// State of an object, which is kept for calls. Of a dict it is its attributes, which nothing asks for.
    fn build(&mut self) -> Result<()> {
        let parts = self.pop_many(2)?;
        if let Value::Call(id) = parts[0] {
            self.items[id.0].push(parts[1]);
        }
        self.stack.push(parts[0]);
        Ok(())
    }
}

/// A little-endian integer in two's complement.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) {
        0xff
    } else {
        0
    };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests;
