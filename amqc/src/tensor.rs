//! Tensors: what a network's constants are, and what its inputs take and its outputs give.

use std::ops::Range;

use amq_format::graph::{DataType, Dim};
use amq_format::{Elements, Fact, MAX_KNOWN};
use amq_runtime::View;

/// A tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements, as many as the product of the shape.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as the types are")]
pub enum Data {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    /// Each 0 or 1.
    Bool(Vec<u8>),
}

impl Tensor {
    /// A tensor without axes.
    pub fn scalar(value: f32) -> Tensor {
        Tensor { dims: Vec::new(), data: Data::F32(vec![value]) }
    }

    /// Its type and shape, and its elements where they are integers or bool and few.
    pub fn fact(&self) -> Fact {
        let data_type = self.data.data_type();
        if data_type != DataType::F32
            && self.data.len() <= MAX_KNOWN
            && let Some(integers) = self.data.integers()
        {
            let values = integers.into_iter().map(Dim::from).collect();
            return Fact::known(data_type, Elements { dims: self.dims.clone(), values });
        }
        let dims = self.dims.iter().map(|&d| Dim::from(i64::try_from(d).unwrap_or(i64::MAX)));
        Fact::new(data_type, dims.collect())
    }

    /// The part of it that lies in `range` along `axis`.
    ///
    /// # Panics
    /// If there is no such axis, or it ends before the range does.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Tensor {
        self.select(axis, &range.collect::<Vec<_>>())
    }

    /// The parts of it at these places along `axis`, in this order.
    ///
    /// # Panics
    /// If there is no such axis, or no such place along it.
    pub fn select(&self, axis: usize, places: &[usize]) -> Tensor {
        fn take<T: Copy>(values: &[T], size: usize, inner: usize, places: &[usize]) -> Vec<T> {
            let mut taken = Vec::with_capacity(values.len() / size.max(1) * places.len());
            for values in values.chunks_exact((size * inner).max(1)) {
                places.iter().for_each(|at| taken.extend(&values[at * inner..][..inner]));
            }
            taken
        }
        let size = self.dims[axis];
        let inner: usize = self.dims[axis + 1..].iter().product();
        let mut dims = self.dims.clone();
        dims[axis] = places.len();
        let data = match &self.data {
            Data::F32(values) => Data::F32(take(values, size, inner, places)),
            Data::I64(values) => Data::I64(take(values, size, inner, places)),
            Data::I32(values) => Data::I32(take(values, size, inner, places)),
            Data::U8(values) => Data::U8(take(values, size, inner, places)),
            Data::I8(values) => Data::I8(take(values, size, inner, places)),
            Data::I16(values) => Data::I16(take(values, size, inner, places)),
            Data::U16(values) => Data::U16(take(values, size, inner, places)),
            Data::U32(values) => Data::U32(take(values, size, inner, places)),
            Data::U64(values) => Data::U64(take(values, size, inner, places)),
            Data::Bool(values) => Data::Bool(take(values, size, inner, places)),
        };
        Tensor { dims, data }
    }

    /// The tensor as the runtime takes it.
    pub fn view(&self) -> View<'_> {
        View { dims: &self.dims, data: self.data.borrowed() }
    }
}

impl From<View<'_>> for Tensor {
    fn from(view: View<'_>) -> Tensor {
        let data = match view.data {
            amq_runtime::Data::F32(values) => Data::F32(values.to_vec()),
            amq_runtime::Data::I64(values) => Data::I64(values.to_vec()),
            amq_runtime::Data::I32(values) => Data::I32(values.to_vec()),
            amq_runtime::Data::U8(values) => Data::U8(values.to_vec()),
            amq_runtime::Data::I8(values) => Data::I8(values.to_vec()),
            amq_runtime::Data::I16(values) => Data::I16(values.to_vec()),
            amq_runtime::Data::U16(values) => Data::U16(values.to_vec()),
            amq_runtime::Data::U32(values) => Data::U32(values.to_vec()),
            amq_runtime::Data::U64(values) => Data::U64(values.to_vec()),
            amq_runtime::Data::Bool(values) => Data::Bool(values.to_vec()),
        };
        Tensor { dims: view.dims.to_vec(), data }
    }
}

impl Data {
    /// The elements as the runtime takes them.
    fn borrowed(&self) -> amq_runtime::Data<'_> {
        match self {
            Data::F32(values) => amq_runtime::Data::F32(values),
            Data::I64(values) => amq_runtime::Data::I64(values),
            Data::I32(values) => amq_runtime::Data::I32(values),
            Data::U8(values) => amq_runtime::Data::U8(values),
            Data::I8(values) => amq_runtime::Data::I8(values),
            Data::I16(values) => amq_runtime::Data::I16(values),
            Data::U16(values) => amq_runtime::Data::U16(values),
            Data::U32(values) => amq_runtime::Data::U32(values),
            Data::U64(values) => amq_runtime::Data::U64(values),
            Data::Bool(values) => amq_runtime::Data::Bool(values),
        }
    }

    /// Type of the elements.
    pub fn data_type(&self) -> DataType {
        self.borrowed().data_type()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.borrowed().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as integers, where they are integers or bool, and i64 holds them.
    pub fn integers(&self) -> Option<Vec<i64>> {
        Some(match self {
            Data::F32(_) => return None,
            Data::I64(data) => data.clone(),
            Data::I32(data) => data.iter().map(|&i| i.into()).collect(),
            Data::U8(data) | Data::Bool(data) => data.iter().map(|&i| i.into()).collect(),
            Data::I8(data) => data.iter().map(|&i| i.into()).collect(),
            Data::I16(data) => data.iter().map(|&i| i.into()).collect(),
            Data::U16(data) => data.iter().map(|&i| i.into()).collect(),
            Data::U32(data) => data.iter().map(|&i| i.into()).collect(),
            Data::U64(data) => {
                return data.iter().map(|&i| i64::try_from(i).ok()).collect();
            }
        })
    }

    /// Integers as elements of an integer type or bool, if they fit it.
    pub fn from_integers(data_type: DataType, integers: &[i64]) -> Option<Data> {
        fn fit<T: TryFrom<i64>>(integers: &[i64]) -> Option<Vec<T>> {
            integers.iter().map(|&i| T::try_from(i).ok()).collect()
        }
        Some(match data_type {
            DataType::F32 => return None,
            DataType::I64 => Data::I64(integers.to_vec()),
            DataType::I32 => Data::I32(fit(integers)?),
            DataType::U8 => Data::U8(fit(integers)?),
            DataType::I8 => Data::I8(fit(integers)?),
            DataType::I16 => Data::I16(fit(integers)?),
            DataType::U16 => Data::U16(fit(integers)?),
            DataType::U32 => Data::U32(fit(integers)?),
            DataType::U64 => Data::U64(fit(integers)?),
            DataType::Bool => {
                let bytes: Vec<u8> = fit(integers)?;
                bytes.iter().all(|&b| b < 2).then_some(Data::Bool(bytes))?
            }
        })
    }

    /// Elements as a file holds them, little-endian; what is left at the end is dropped.
    pub(crate) fn of_bytes(data_type: DataType, bytes: &[u8]) -> Data {
        fn all<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|&chunk| of(chunk)).collect()
        }
        match data_type {
            DataType::F32 => Data::F32(all(bytes, f32::from_le_bytes)),
            DataType::I64 => Data::I64(all(bytes, i64::from_le_bytes)),
            DataType::I32 => Data::I32(all(bytes, i32::from_le_bytes)),
            DataType::U8 => Data::U8(bytes.to_vec()),
            DataType::I8 => Data::I8(all(bytes, i8::from_le_bytes)),
            DataType::I16 => Data::I16(all(bytes, i16::from_le_bytes)),
            DataType::U16 => Data::U16(all(bytes, u16::from_le_bytes)),
            DataType::U32 => Data::U32(all(bytes, u32::from_le_bytes)),
            DataType::U64 => Data::U64(all(bytes, u64::from_le_bytes)),
            DataType::Bool => Data::Bool(bytes.to_vec()),
        }
    }

    /// The elements as a file holds them: little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I8(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I16(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U16(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U8(data) | Data::Bool(data) => data.clone(),
        }
    }
}

/// Named tensors as a call takes them.
pub fn views(tensors: &[(String, Tensor)]) -> Vec<(&str, View<'_>)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect()
}
