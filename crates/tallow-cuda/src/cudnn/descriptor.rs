//! Descriptors of cuDNN's graph API.

use std::ffi::c_void;

use super::constants::kind;
use super::library::{Handle, Library, Raw};
use crate::error::Result;

/// Descriptor, destroyed when it is dropped.
pub(super) struct Descriptor {
    library: &'static Library,
    raw: Raw,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: nothing uses it any more.
        unsafe { self.library.destroy_descriptor(self.raw) };
    }
}

impl Descriptor {
    /// New descriptor of a kind.
    pub(super) fn new(library: &'static Library, kind: i32) -> Result<Self> {
        Ok(Self {
            library,
            raw: library.create_descriptor(kind)?,
        })
    }

    pub(super) fn raw(&self) -> Raw {
        self.raw
    }

    /// Sets an attribute of 64-bit integers.
    pub(super) fn set_i64s(&mut self, attribute: i32, values: &[i64]) -> Result<()> {
        self.set(attribute, kind::INT64, values)
    }

    /// Sets an attribute of one float.
    pub(super) fn set_float(&mut self, attribute: i32, value: f32) -> Result<()> {
        self.set(attribute, kind::FLOAT, &[value])
    }

    /// Sets an attribute of one boolean.
    pub(super) fn set_bool(&mut self, attribute: i32, value: bool) -> Result<()> {
        self.set(attribute, kind::BOOLEAN, &[value])
    }

    /// Sets an attribute of one enumeration, of the type that `kind` stands for.
    pub(super) fn set_enum(&mut self, attribute: i32, kind: i32, value: i32) -> Result<()> {
        self.set(attribute, kind, &[value])
    }

    /// Sets an attribute of pointers.
    pub(super) fn set_pointers(&mut self, attribute: i32, values: &[*mut c_void]) -> Result<()> {
        self.set(attribute, kind::VOID_PTR, values)
    }

    /// Sets an attribute of a handle.
    pub(super) fn set_handle(&mut self, attribute: i32, handle: Handle) -> Result<()> {
        self.set(attribute, kind::HANDLE, &[handle])
    }

    /// Sets an attribute of one descriptor, which is copied.
    pub(super) fn set_descriptor(&mut self, attribute: i32, value: &Self) -> Result<()> {
        self.set(attribute, kind::BACKEND_DESCRIPTOR, &[value.raw])
    }

    /// Sets an attribute of characters.
    #[cfg(test)]
    pub(super) fn set_text(&mut self, attribute: i32, text: &std::ffi::CStr) -> Result<()> {
        self.set(attribute, kind::CHAR, text.to_bytes_with_nul())
    }

    fn set<T>(&mut self, attribute: i32, kind: i32, values: &[T]) -> Result<()> {
        // SAFETY: the functions above pair each kind with the type of its values.
        unsafe {
            self.library.set_attribute(
                self.raw,
                (attribute, kind),
                values.len(),
                values.as_ptr().cast(),
            )
        }
    }

    /// Finalizes it: from now on its attributes can be read and no longer set.
    pub(super) fn finalize(&mut self) -> Result<()> {
        let status = self.library.finalize(self.raw);
        self.library.check("cudnnBackendFinalize", status)
    }

    /// [`finalize`](Self::finalize) of what cuDNN may not support: true if it does.
    pub(super) fn is_supported(&mut self) -> bool {
        self.finalize().is_ok()
    }

    /// One 64-bit integer.
    pub(super) fn int(&self, attribute: i32) -> Result<i64> {
        let mut value = 0i64;
        let at = std::ptr::from_mut(&mut value).cast();
        // SAFETY: there is room for one integer.
        unsafe {
            self.library
                .get_attribute(self.raw, (attribute, kind::INT64), 1, at)?
        };
        Ok(value)
    }

    /// Up to `most` enumerations, of the type that `kind` stands for.
    pub(super) fn enums(&self, attribute: i32, kind: i32, most: usize) -> Result<Vec<i32>> {
        let mut values = vec![0i32; most];
        let at = values.as_mut_ptr().cast();
        // SAFETY: there is room for as many.
        let count = unsafe {
            self.library
                .get_attribute(self.raw, (attribute, kind), most, at)?
        };
        values.truncate(count);
        Ok(values)
    }

    /// All bytes of an attribute.
    pub(super) fn bytes(&self, attribute: i32, kind: i32) -> Result<Vec<u8>> {
        let null = std::ptr::null_mut();
        // SAFETY: no value is asked for, only their number.
        let count = unsafe {
            self.library
                .get_attribute(self.raw, (attribute, kind), 0, null)?
        };
        let mut bytes = vec![0u8; count];
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: there is room for as many.
        unsafe {
            self.library
                .get_attribute(self.raw, (attribute, kind), count, at)?
        };
        Ok(bytes)
    }

    /// Descriptors of an attribute, each of the kind `of`.
    pub(super) fn descriptors(&self, attribute: i32, of: i32) -> Result<Vec<Self>> {
        let null = std::ptr::null_mut();
        let what = (attribute, kind::BACKEND_DESCRIPTOR);
        // SAFETY: no value is asked for, only their number.
        let count = unsafe { self.library.get_attribute(self.raw, what, 0, null)? };
        let mut found = self.room(of, count)?;
        let mut raws: Vec<Raw> = found.iter().map(|descriptor| descriptor.raw).collect();
        let at = raws.as_mut_ptr().cast();
        // SAFETY: there are as many descriptors of the kind, which cuDNN fills.
        let filled = unsafe { self.library.get_attribute(self.raw, what, count, at)? };
        found.truncate(filled);
        Ok(found)
    }

    /// The one descriptor of an attribute, of the kind `of`.
    pub(super) fn descriptor(&self, attribute: i32, of: i32) -> Result<Self> {
        let found = Self::new(self.library, of)?;
        let mut raw = found.raw;
        let at = std::ptr::from_mut(&mut raw).cast();
        let what = (attribute, kind::BACKEND_DESCRIPTOR);
        // SAFETY: there is a descriptor of the kind, which cuDNN fills.
        unsafe { self.library.get_attribute(self.raw, what, 1, at)? };
        Ok(found)
    }

    fn room(&self, of: i32, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|_| Self::new(self.library, of)).collect()
    }
}
