//! Tensors as C sees them.

use std::ffi::{CStr, c_char, c_void};
use std::slice;

use amq_runtime::amq_format::graph::DataType;
use amq_runtime::{Data, View};

use crate::status::{Failure, bad};

/// A tensor: what it is called, its type, its shape and where its elements are. See `amq.h`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct amq_tensor {
    /// Name of the input or output.
    pub name: *const c_char,
    /// Type of the elements, one of `amq_type`.
    pub data_type: u32,
    /// Number of axes.
    pub rank: usize,
    /// Their sizes, outermost first.
    pub shape: *const usize,
    /// The elements in row-major order.
    pub data: *const c_void,
    /// Bytes that they take.
    pub bytes: usize,
}

/// A slice that a caller gives; an empty one may have any address.
///
/// # Safety
/// If `at` is neither null nor misaligned, `len` elements lie there and stay unchanged for `'a`.
pub(crate) unsafe fn slice<'a, T>(
    at: *const T,
    len: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if at.is_null() {
        return Err(bad(format!("{what} is null")));
    }
    if !at.is_aligned() {
        let align = align_of::<T>();
        return Err(bad(format!("{what} does not lie at a multiple of {align} bytes")));
    }
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(bad(format!("{what} is larger than memory")));
    }
    // SAFETY: not null, aligned, of a size that can be, as just seen; the elements are there and stay, as
    // the caller of this function promises. Every T used (numbers and structures of numbers and
    // addresses) is valid whatever its bits.
    Ok(unsafe { slice::from_raw_parts(at, len) })
}

/// A text that a caller gives.
///
/// # Safety
/// If `at` is not null, a text that ends with a zero byte lies there and stays unchanged for `'a`.
pub(crate) unsafe fn text<'a>(at: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if at.is_null() {
        return Err(bad(format!("{what} is null")));
    }
    // SAFETY: not null; that it ends, and stays, is the promise of the caller of this function.
    let text = unsafe { CStr::from_ptr(at) };
    text.to_str().map_err(|_| bad(format!("{what} is not UTF-8")))
}

/// Writes a result to where a caller wants it.
///
/// # Safety
/// If `to` is neither null nor misaligned, a T may be written there.
pub(crate) unsafe fn give<T>(to: *mut T, value: T, what: &str) -> Result<(), Failure> {
    if to.is_null() || !to.is_aligned() {
        return Err(bad(format!("{what} is null or misaligned")));
    }
    // SAFETY: not null and aligned; that it may be written is the promise of the caller of this function.
    unsafe { to.write(value) };
    Ok(())
}

impl amq_tensor {
    /// Its name and its elements.
    ///
    /// # Safety
    /// What its addresses say lies there, and stays unchanged for `'a`.
    pub(crate) unsafe fn view<'a>(&self) -> Result<(&'a str, View<'a>), Failure> {
        // SAFETY: the caller promises what each asks for.
        let (name, dims) = unsafe {
            (text(self.name, "the name of an input")?, slice(self.shape, self.rank, "a shape")?)
        };
        let data_type = i32::try_from(self.data_type).ok().and_then(|n| DataType::try_from(n).ok());
        let Some(data_type) = data_type else {
            return Err(bad(format!("input {name} has the unknown type {}", self.data_type)));
        };
        let len = self.bytes / data_type.size();
        if len * data_type.size() != self.bytes {
            let what = format!("{} bytes are not a number of {}", self.bytes, data_type.name());
            return Err(bad(format!("input {name}: {what}")));
        }
        macro_rules! elements {
            ($($kind:ident $element:ty),*) => {
                match data_type {
                    $(DataType::$kind => {
                        // SAFETY: as above: `len` elements are the bytes that the caller says are there.
                        Data::$kind(unsafe { slice(self.data.cast::<$element>(), len, "the data of an input")? })
                    })*
                }
            };
        }
        let data = elements!(
            F32 f32, I64 i64, I32 i32, U8 u8, I8 i8, Bool u8, I16 i16, U16 u16, U32 u32, U64 u64
        );
        Ok((name, View { dims, data }))
    }

    /// The tensor of a view; its addresses are good for as long as what the view borrows.
    pub(crate) fn of(name: &CStr, view: View<'_>) -> amq_tensor {
        macro_rules! address {
            ($($kind:ident),*) => {
                match view.data { $(Data::$kind(x) => x.as_ptr().cast::<c_void>(),)* }
            };
        }
        let data_type = view.data.data_type();
        amq_tensor {
            name: name.as_ptr(),
            data_type: data_type as u32,
            rank: view.dims.len(),
            shape: view.dims.as_ptr(),
            data: address!(F32, I64, I32, U8, I8, Bool, I16, U16, U32, U64),
            bytes: view.data.len() * data_type.size(),
        }
    }
}
