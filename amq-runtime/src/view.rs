//! Tensors that calls take and give, and the buffers behind them.

use alloc::vec::Vec;

use amq_format::graph::DataType;

/// A tensor that is borrowed: sizes of its axes and its elements in row-major order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View<'a> {
    /// Sizes of the axes, outermost first; none for a scalar.
    pub dims: &'a [usize],
    /// The elements.
    pub data: Data<'a>,
}

/// Elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data<'a> {
    /// IEEE 754 binary32.
    F32(&'a [f32]),
    /// Signed 64-bit integers.
    I64(&'a [i64]),
    /// Signed 32-bit integers.
    I32(&'a [i32]),
    /// Unsigned 8-bit integers.
    U8(&'a [u8]),
    /// Signed 8-bit integers.
    I8(&'a [i8]),
    /// Signed 16-bit integers.
    I16(&'a [i16]),
    /// Unsigned 16-bit integers.
    U16(&'a [u16]),
    /// Unsigned 32-bit integers.
    U32(&'a [u32]),
    /// Unsigned 64-bit integers.
    U64(&'a [u64]),
    /// Bytes that are 0 or 1.
    Bool(&'a [u8]),
}

impl<'a> View<'a> {
    /// A tensor of floats.
    pub fn f32(dims: &'a [usize], elements: &'a [f32]) -> View<'a> {
        View { dims, data: Data::F32(elements) }
    }

    /// A tensor of 64-bit integers.
    pub fn i64(dims: &'a [usize], elements: &'a [i64]) -> View<'a> {
        View { dims, data: Data::I64(elements) }
    }

    /// A tensor of 32-bit integers.
    pub fn i32(dims: &'a [usize], elements: &'a [i32]) -> View<'a> {
        View { dims, data: Data::I32(elements) }
    }

    /// A tensor of unsigned bytes.
    pub fn u8(dims: &'a [usize], elements: &'a [u8]) -> View<'a> {
        View { dims, data: Data::U8(elements) }
    }

    /// A tensor of signed bytes.
    pub fn i8(dims: &'a [usize], elements: &'a [i8]) -> View<'a> {
        View { dims, data: Data::I8(elements) }
    }

    /// A tensor of truth values, each 0 or 1.
    pub fn bool(dims: &'a [usize], elements: &'a [u8]) -> View<'a> {
        View { dims, data: Data::Bool(elements) }
    }

    /// The elements, if they are floats.
    pub fn as_f32(&self) -> Option<&'a [f32]> {
        match self.data {
            Data::F32(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements, if they are 64-bit integers: tokens, classes, sizes.
    ///
    /// ```
    /// use amq_runtime::View;
    ///
    /// let tokens = View::i64(&[2], &[7, -1]);
    /// assert_eq!(tokens.as_i64(), Some(&[7, -1][..]));
    /// assert_eq!(tokens.as_f32(), None);
    /// assert_eq!(View::f32(&[], &[7.0]).as_i64(), None);
    /// ```
    pub fn as_i64(&self) -> Option<&'a [i64]> {
        match self.data {
            Data::I64(elements) => Some(elements),
            _ => None,
        }
    }
}

impl Data<'_> {
    /// Type of the elements.
    pub fn data_type(&self) -> DataType {
        match self {
            Data::F32(_) => DataType::F32,
            Data::I64(_) => DataType::I64,
            Data::I32(_) => DataType::I32,
            Data::U8(_) => DataType::U8,
            Data::I8(_) => DataType::I8,
            Data::I16(_) => DataType::I16,
            Data::U16(_) => DataType::U16,
            Data::U32(_) => DataType::U32,
            Data::U64(_) => DataType::U64,
            Data::Bool(_) => DataType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(x) => x.len(),
            Data::I64(x) => x.len(),
            Data::I32(x) => x.len(),
            Data::U8(x) | Data::Bool(x) => x.len(),
            Data::I8(x) => x.len(),
            Data::I16(x) => x.len(),
            Data::U16(x) => x.len(),
            Data::U32(x) => x.len(),
            Data::U64(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Data<'a> {
    /// `len` elements from `at` on.
    pub(crate) fn part(self, at: usize, len: usize) -> Data<'a> {
        match self {
            Data::F32(x) => Data::F32(&x[at..at + len]),
            Data::I64(x) => Data::I64(&x[at..at + len]),
            Data::I32(x) => Data::I32(&x[at..at + len]),
            Data::U8(x) => Data::U8(&x[at..at + len]),
            Data::I8(x) => Data::I8(&x[at..at + len]),
            Data::I16(x) => Data::I16(&x[at..at + len]),
            Data::U16(x) => Data::U16(&x[at..at + len]),
            Data::U32(x) => Data::U32(&x[at..at + len]),
            Data::U64(x) => Data::U64(&x[at..at + len]),
            Data::Bool(x) => Data::Bool(&x[at..at + len]),
        }
    }
}

/// Elements of a tensor that is being written.
#[derive(Debug)]
pub(crate) enum DataMut<'a> {
    F32(&'a mut [f32]),
    I64(&'a mut [i64]),
    I32(&'a mut [i32]),
    U8(&'a mut [u8]),
    I8(&'a mut [i8]),
    I16(&'a mut [i16]),
    U16(&'a mut [u16]),
    U32(&'a mut [u32]),
    U64(&'a mut [u64]),
    Bool(&'a mut [u8]),
}

impl<'a> DataMut<'a> {
    /// `len` elements from `at` on.
    pub(crate) fn into_part(self, at: usize, len: usize) -> DataMut<'a> {
        match self {
            DataMut::F32(x) => DataMut::F32(&mut x[at..at + len]),
            DataMut::I64(x) => DataMut::I64(&mut x[at..at + len]),
            DataMut::I32(x) => DataMut::I32(&mut x[at..at + len]),
            DataMut::U8(x) => DataMut::U8(&mut x[at..at + len]),
            DataMut::I8(x) => DataMut::I8(&mut x[at..at + len]),
            DataMut::I16(x) => DataMut::I16(&mut x[at..at + len]),
            DataMut::U16(x) => DataMut::U16(&mut x[at..at + len]),
            DataMut::U32(x) => DataMut::U32(&mut x[at..at + len]),
            DataMut::U64(x) => DataMut::U64(&mut x[at..at + len]),
            DataMut::Bool(x) => DataMut::Bool(&mut x[at..at + len]),
        }
    }

    /// The elements, to be read.
    pub(crate) fn as_data(&self) -> Data<'_> {
        match self {
            DataMut::F32(x) => Data::F32(x),
            DataMut::I64(x) => Data::I64(x),
            DataMut::I32(x) => Data::I32(x),
            DataMut::U8(x) => Data::U8(x),
            DataMut::I8(x) => Data::I8(x),
            DataMut::I16(x) => Data::I16(x),
            DataMut::U16(x) => Data::U16(x),
            DataMut::U32(x) => Data::U32(x),
            DataMut::U64(x) => Data::U64(x),
            DataMut::Bool(x) => Data::Bool(x),
        }
    }
}

/// Runs `$body` with `$x` and `$y` bound to the slices of a [`Data`] and a [`DataMut`] of one type;
/// gives `$otherwise` where the types differ.
macro_rules! with_same_type {
    ($data:expr, $out:expr, |$x:pat_param, $y:pat_param| $body:expr, else $otherwise:expr) => {
        match ($data, $out) {
            ($crate::view::Data::F32($x), $crate::view::DataMut::F32($y)) => $body,
            ($crate::view::Data::I64($x), $crate::view::DataMut::I64($y)) => $body,
            ($crate::view::Data::I32($x), $crate::view::DataMut::I32($y)) => $body,
            ($crate::view::Data::U8($x), $crate::view::DataMut::U8($y)) => $body,
            ($crate::view::Data::I8($x), $crate::view::DataMut::I8($y)) => $body,
            ($crate::view::Data::I16($x), $crate::view::DataMut::I16($y)) => $body,
            ($crate::view::Data::U16($x), $crate::view::DataMut::U16($y)) => $body,
            ($crate::view::Data::U32($x), $crate::view::DataMut::U32($y)) => $body,
            ($crate::view::Data::U64($x), $crate::view::DataMut::U64($y)) => $body,
            ($crate::view::Data::Bool($x), $crate::view::DataMut::Bool($y)) => $body,
            _ => $otherwise,
        }
    };
}
pub(crate) use with_same_type;

/// Elements of a tensor that is owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Buffer {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<u8>),
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::F32(Vec::new())
    }
}

/// Runs `$body` on the vector of a buffer, whatever its type.
macro_rules! with_vec {
    ($buffer:expr, $x:ident => $body:expr) => {
        match $buffer {
            $crate::view::Buffer::F32($x) => $body,
            $crate::view::Buffer::I64($x) => $body,
            $crate::view::Buffer::I32($x) => $body,
            $crate::view::Buffer::U8($x) | $crate::view::Buffer::Bool($x) => $body,
            $crate::view::Buffer::I8($x) => $body,
            $crate::view::Buffer::I16($x) => $body,
            $crate::view::Buffer::U16($x) => $body,
            $crate::view::Buffer::U32($x) => $body,
            $crate::view::Buffer::U64($x) => $body,
        }
    };
}
pub(crate) use with_vec;

impl Buffer {
    /// An empty buffer of a type.
    pub(crate) fn new(data_type: DataType) -> Buffer {
        match data_type {
            DataType::F32 => Buffer::F32(Vec::new()),
            DataType::I64 => Buffer::I64(Vec::new()),
            DataType::I32 => Buffer::I32(Vec::new()),
            DataType::U8 => Buffer::U8(Vec::new()),
            DataType::I8 => Buffer::I8(Vec::new()),
            DataType::I16 => Buffer::I16(Vec::new()),
            DataType::U16 => Buffer::U16(Vec::new()),
            DataType::U32 => Buffer::U32(Vec::new()),
            DataType::U64 => Buffer::U64(Vec::new()),
            DataType::Bool => Buffer::Bool(Vec::new()),
        }
    }

    /// Type of its elements.
    pub(crate) fn data_type(&self) -> DataType {
        self.data(0).data_type()
    }

    /// Number of its elements.
    pub(crate) fn len(&self) -> usize {
        with_vec!(self, x => x.len())
    }

    /// Makes it at least `len` elements long, with zeros; false if there is no memory for that.
    pub(crate) fn grow(&mut self, len: usize) -> bool {
        with_vec!(self, x => {
            let more = len.saturating_sub(x.len());
            let room = x.try_reserve_exact(more).is_ok();
            if room && more > 0 {
                x.resize(len, Default::default());
            }
            room
        })
    }

    /// Makes it `len` elements long, with zeros behind those that it has; false if there is no memory for that.
    pub(crate) fn resize(&mut self, len: usize) -> bool {
        with_vec!(self, x => x.truncate(len));
        self.grow(len)
    }

    /// The first `len` elements, or as many as there are.
    pub(crate) fn data(&self, len: usize) -> Data<'_> {
        match self {
            Buffer::F32(x) => Data::F32(first(x, len)),
            Buffer::I64(x) => Data::I64(first(x, len)),
            Buffer::I32(x) => Data::I32(first(x, len)),
            Buffer::U8(x) => Data::U8(first(x, len)),
            Buffer::I8(x) => Data::I8(first(x, len)),
            Buffer::I16(x) => Data::I16(first(x, len)),
            Buffer::U16(x) => Data::U16(first(x, len)),
            Buffer::U32(x) => Data::U32(first(x, len)),
            Buffer::U64(x) => Data::U64(first(x, len)),
            Buffer::Bool(x) => Data::Bool(first(x, len)),
        }
    }

    /// The first `len` elements, or as many as there are.
    pub(crate) fn data_mut(&mut self, len: usize) -> DataMut<'_> {
        match self {
            Buffer::F32(x) => DataMut::F32(first_mut(x, len)),
            Buffer::I64(x) => DataMut::I64(first_mut(x, len)),
            Buffer::I32(x) => DataMut::I32(first_mut(x, len)),
            Buffer::U8(x) => DataMut::U8(first_mut(x, len)),
            Buffer::I8(x) => DataMut::I8(first_mut(x, len)),
            Buffer::I16(x) => DataMut::I16(first_mut(x, len)),
            Buffer::U16(x) => DataMut::U16(first_mut(x, len)),
            Buffer::U32(x) => DataMut::U32(first_mut(x, len)),
            Buffer::U64(x) => DataMut::U64(first_mut(x, len)),
            Buffer::Bool(x) => DataMut::Bool(first_mut(x, len)),
        }
    }
}

fn first<T>(x: &[T], len: usize) -> &[T] {
    x.get(..len).unwrap_or(x)
}

fn first_mut<T>(x: &mut [T], len: usize) -> &mut [T] {
    let len = len.min(x.len());
    &mut x[..len]
}
