//! Constants: from the ways in which ONNX stores a tensor to the types of the vocabulary.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use amq_format::graph::{self, DataType, UnaryFunction};
use half::{bf16, f16};
use prost::bytes::Bytes;

use super::external;
use super::load::Limits;
use super::packed;
use super::proto::{ElementType, SparseTensorProto, TensorProto};
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// The most axes a tensor may have.
pub(super) const MAX_RANK: usize = 16;

/// The type of a tensor's elements in the model, which may be held by a wider one here.
pub(super) fn element(tensor: &TensorProto) -> ElementType {
    ElementType::try_from(tensor.data_type).unwrap_or(ElementType::Undefined)
}

/// How an initializer is stored.
#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    Dense(&'a TensorProto),
    Sparse(&'a SparseTensorProto),
}

/// Where constants come from, and how much of them there may be.
pub(super) struct Store<'a> {
    folder: &'a Path,
    /// The model's file, where large raw data stay in it.
    file: Option<&'a File>,
    left: u64,
    /// What there was to begin with.
    most: u64,
}

/// The float type that a value has in the model. All are computed in f32; what is shorter is rounded
/// after each ONNX operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Precision {
    #[default]
    F32,
    F16,
    Bf16,
    F64,
}

impl Precision {
    /// That of an ONNX type; of one that is no float, f32.
    pub(super) fn of(element: ElementType) -> Precision {
        match element {
            ElementType::Float16 => Precision::F16,
            ElementType::Bfloat16 => Precision::Bf16,
            ElementType::Double => Precision::F64,
            _ => Precision::F32,
        }
    }

    /// As a file says it of its inputs and outputs.
    pub(super) fn declared(self) -> graph::Precision {
        match self {
            Precision::F16 => graph::Precision::F16,
            Precision::Bf16 => graph::Precision::Bf16,
            Precision::F32 | Precision::F64 => graph::Precision::F32,
        }
    }

    /// What rounds f32 to it, where that changes anything.
    pub(super) fn rounding(self) -> Option<UnaryFunction> {
        match self {
            Precision::F16 => Some(UnaryFunction::ToF16),
            Precision::Bf16 => Some(UnaryFunction::ToBf16),
            Precision::F32 | Precision::F64 => None,
        }
    }
}

/// The type of the vocabulary that holds a model's inputs and results of an ONNX type, and which
/// float type it is there.
pub(super) fn data_type(element: i32) -> Option<(DataType, Precision)> {
    let element = ElementType::try_from(element).ok()?;
    let data_type = match element {
        ElementType::Float | ElementType::Float16 | ElementType::Bfloat16 | ElementType::Double => {
            DataType::F32
        }
        ElementType::Int64 => DataType::I64,
        ElementType::Int32 => DataType::I32,
        ElementType::Uint8 => DataType::U8,
        ElementType::Int8 => DataType::I8,
        ElementType::Int16 => DataType::I16,
        ElementType::Uint16 => DataType::U16,
        ElementType::Uint32 => DataType::U32,
        ElementType::Uint64 => DataType::U64,
        ElementType::Bool => DataType::Bool,
        _ => return None,
    };
    Some((data_type, Precision::of(element)))
}

impl<'a> Store<'a> {
    pub(super) fn new(folder: &'a Path, file: Option<&'a File>, limits: &Limits) -> Self {
        Store { folder, file, left: limits.constant_bytes, most: limits.constant_bytes }
    }

    /// Decodes a tensor; floats are f32 from now on, of a precision that is given too.
    pub(super) fn constant(&mut self, tensor: &TensorProto) -> Result<(Tensor, Precision)> {
        if tensor.segment.is_some() {
            return Err(Error::unsupported("the tensor is stored in segments"));
        }
        let element = ElementType::try_from(tensor.data_type).unwrap_or(ElementType::Undefined);
        if let Some(bits) = packed::bits(element) {
            return self.packed(element, bits, tensor);
        }
        let (stored, decoded) = match element {
            ElementType::Float | ElementType::Int32 => (4, 4),
            ElementType::Float16
            | ElementType::Bfloat16
            | ElementType::Int16
            | ElementType::Uint16 => (2, 4),
            ElementType::Double => (8, 4),
            ElementType::Int64 | ElementType::Uint64 => (8, 8),
            ElementType::Uint32 => (4, 8),
            ElementType::Uint8 | ElementType::Int8 | ElementType::Bool => (1, 1),
            _ => {
                let name = ElementType::name_of(tensor.data_type);
                return Err(Error::unsupported(format!("a tensor of {name} is not supported")));
            }
        };
        let (dims, count) = shape(&tensor.dims)?;
        self.take(count, decoded)?;
        let data = match self.raw(tensor, count * stored)? {
            Some(raw) => from_raw(element, &raw)?,
            None => from_typed(element, tensor, count)?,
        };
        Ok((Tensor { dims, data }, Precision::of(element)))
    }

    /// Decodes a tensor of elements of at most 8 bits.
    fn packed(
        &mut self,
        element: ElementType,
        bits: usize,
        tensor: &TensorProto,
    ) -> Result<(Tensor, Precision)> {
        let (dims, count) = shape(&tensor.dims)?;
        self.take(count, 4)?;
        let needed = packed::bytes(count, bits);
        let raw = match self.raw(tensor, needed)? {
            Some(raw) => raw,
            // Each number is a byte.
            None => {
                check_length(tensor.int32_data.len(), needed, &tensor.dims)?;
                fitting::<i32, u8>(&tensor.int32_data)?.into()
            }
        };
        Ok((Tensor { dims, data: packed::unpacked(element, &raw, count) }, Precision::F32))
    }

    /// Takes the memory of `count` elements from what is left.
    fn take(&mut self, count: usize, bytes: u64) -> Result<()> {
        let left = self.left.checked_sub((count as u64).saturating_mul(bytes));
        let most = self.most;
        self.left = left.ok_or_else(|| {
            Error::unsupported(format!("the model's constants take more than {most} bytes"))
                .remedy("allow more with --max-constants, or convert a smaller model")
        })?;
        Ok(())
    }

    /// Decodes an initializer.
    pub(super) fn read(&mut self, stored: Stored<'_>) -> Result<(Tensor, Precision)> {
        match stored {
            Stored::Dense(tensor) => self.constant(tensor),
            Stored::Sparse(tensor) => self.sparse(tensor),
        }
    }

    /// Decodes a sparse tensor to a dense one.
    pub(super) fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<(Tensor, Precision)> {
        let (dims, count) = shape(&sparse.dims)?;
        let part = |tensor: &Option<TensorProto>| tensor.clone().unwrap_or_default();
        let (values, precision) = self.constant(&part(&sparse.values))?;
        let (indices, _) = self.constant(&part(&sparse.indices))?;
        self.take(count, 8)?;
        let stored = values.data.len();
        let axes = match indices.dims.as_slice() {
            [found] if *found == stored => 1,
            [found, axes] if *found == stored && *axes == dims.len() && *axes > 0 => *axes,
            found => {
                return Err(Error::bad_file(format!(
                    "a sparse tensor of {stored} elements and {} axes has indices of shape {found:?}",
                    dims.len()
                )));
            }
        };
        let sizes = if axes == dims.len() { dims.as_slice() } else { &[count] };
        let place = |index: &[i64]| {
            index.iter().zip(sizes).try_fold(0, |place, (&index, &size)| {
                let index = usize::try_from(index).ok().filter(|&index| index < size)?;
                Some(place * size + index)
            })
        };
        let Data::I64(indices) = indices.data else {
            return Err(Error::bad_file("the indices of a sparse tensor are not int64"));
        };
        let places: Option<Vec<usize>> = indices.chunks_exact(axes).map(place).collect();
        let places = places
            .ok_or_else(|| Error::bad_file("a sparse tensor has an index beyond its shape"))?;
        Ok((Tensor { dims, data: scattered(values.data, &places, count) }, precision))
    }

    /// The tensor's raw bytes, exactly `expected` of them, if it has any.
    fn raw(&self, tensor: &TensorProto, expected: usize) -> Result<Option<Bytes>> {
        if tensor.data_location == TensorProto::EXTERNAL {
            return self.external(tensor, expected).map(Some);
        }
        if tensor.data_location != 0 {
            return Err(Error::bad_file(format!("data_location {}", tensor.data_location)));
        }
        let typed = tensor.float_data.len()
            + tensor.int32_data.len()
            + tensor.int64_data.len()
            + tensor.double_data.len()
            + tensor.uint64_data.len();
        let twice = || Err(Error::bad_file("the tensor has its data twice, raw and typed"));
        if let (Some(kept), Some(file)) = (&tensor.kept, self.file) {
            if typed > 0 || tensor.raw_data.is_some() {
                return twice();
            }
            let length = usize::try_from(kept.length).unwrap_or(usize::MAX);
            check_length(length, expected, &tensor.dims)?;
            return from_file(file, kept.offset, expected).map(Some).map_err(|error| {
                Error::bad_file(format!("its data cannot be read from the model's file: {error}"))
            });
        }
        match &tensor.raw_data {
            Some(raw) if typed == 0 => {
                check_length(raw.len(), expected, &tensor.dims)?;
                Ok(Some(raw.clone()))
            }
            Some(raw) if !raw.is_empty() => twice(),
            _ => Ok(None),
        }
    }

    fn external(&self, tensor: &TensorProto, expected: usize) -> Result<Bytes> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key);
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(e) => e.value.trim().parse::<u64>().map(Some).map_err(|_| {
                Error::bad_file(format!("external data: {key} {:?} is no number", e.value))
            }),
        };
        let location = &entry("location")
            .ok_or_else(|| Error::bad_file("external data without a location"))?
            .value;
        let resolved = external::resolve(self.folder, location)?;
        let io = |error| Error::io(&resolved, error);
        // Before it is opened: opening a pipe would wait for who writes to it.
        let metadata = std::fs::metadata(&resolved).map_err(io)?;
        if !metadata.is_file() {
            return Err(Error::bad_file(format!("external data {location:?} is not a file")));
        }
        let file = File::open(&resolved).map_err(io)?;
        let offset = number("offset")?.unwrap_or(0);
        let available = metadata.len().saturating_sub(offset);
        // Without a length the shape says how much is the tensor's.
        let length = number("length")?.unwrap_or(expected as u64);
        if length > available {
            return Err(Error::bad_file(format!(
                "external data: {length} bytes from {offset} are beyond the end of {location:?}, \
                 which has {}",
                metadata.len()
            )));
        }
        check_length(usize::try_from(length).unwrap_or(usize::MAX), expected, &tensor.dims)?;
        from_file(&file, offset, expected).map_err(io)
    }
}

fn from_file(mut file: &File, offset: u64, length: usize) -> std::io::Result<Bytes> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(Bytes::from(bytes))
}

/// Zeros with `values` at `places` among them.
fn scattered(values: Data, places: &[usize], count: usize) -> Data {
    fn each<T: Copy + Default>(values: &[T], places: &[usize], count: usize) -> Vec<T> {
        let mut all = vec![T::default(); count];
        for (&value, &place) in values.iter().zip(places) {
            all[place] = value;
        }
        all
    }
    match values {
        Data::F32(values) => Data::F32(each(&values, places, count)),
        Data::I64(values) => Data::I64(each(&values, places, count)),
        Data::I32(values) => Data::I32(each(&values, places, count)),
        Data::U8(values) => Data::U8(each(&values, places, count)),
        Data::I8(values) => Data::I8(each(&values, places, count)),
        Data::I16(values) => Data::I16(each(&values, places, count)),
        Data::U16(values) => Data::U16(each(&values, places, count)),
        Data::U32(values) => Data::U32(each(&values, places, count)),
        Data::U64(values) => Data::U64(each(&values, places, count)),
        Data::Bool(values) => Data::Bool(each(&values, places, count)),
    }
}

/// A tensor's shape, and how many elements it has.
fn shape(dims: &[i64]) -> Result<(Vec<usize>, usize)> {
    let rank = dims.len();
    if rank > MAX_RANK {
        return Err(Error::unsupported(format!("the tensor has {rank} axes")));
    }
    let mut sizes = Vec::with_capacity(rank);
    let mut count = 1usize;
    for &dim in dims {
        let size = usize::try_from(dim)
            .map_err(|_| Error::bad_file(format!("the tensor has a dimension of {dim}")))?;
        count = count.checked_mul(size).ok_or_else(|| too_many(dims))?;
        sizes.push(size);
    }
    // Of what each element takes at most.
    count.checked_mul(8).ok_or_else(|| too_many(dims))?;
    Ok((sizes, count))
}

fn too_many(dims: &[i64]) -> Error {
    Error::bad_file(format!("the tensor's shape {dims:?} has too many elements"))
}

fn check_length(found: usize, expected: usize, dims: &[i64]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::bad_file(format!(
        "the tensor's shape {dims:?} needs {expected} bytes, its data has {found}"
    )))
}

fn from_raw(element: ElementType, raw: &[u8]) -> Result<Data> {
    fn each<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks().0.iter().map(|bytes| read(*bytes)).collect()
    }
    Ok(match element {
        ElementType::Float => Data::F32(each(raw, f32::from_le_bytes)),
        ElementType::Float16 => Data::F32(each(raw, |b| f16::from_le_bytes(b).to_f32())),
        ElementType::Bfloat16 => Data::F32(each(raw, |b| bf16::from_le_bytes(b).to_f32())),
        ElementType::Double => narrowed(&each(raw, f64::from_le_bytes))?,
        ElementType::Int64 => Data::I64(each(raw, i64::from_le_bytes)),
        ElementType::Uint64 => Data::U64(each(raw, u64::from_le_bytes)),
        ElementType::Uint32 => Data::U32(each(raw, u32::from_le_bytes)),
        ElementType::Int32 => Data::I32(each(raw, i32::from_le_bytes)),
        ElementType::Int16 => Data::I16(each(raw, i16::from_le_bytes)),
        ElementType::Uint16 => Data::U16(each(raw, u16::from_le_bytes)),
        ElementType::Int8 => Data::I8(each(raw, i8::from_le_bytes)),
        ElementType::Bool => Data::Bool(raw.iter().map(|&b| u8::from(b != 0)).collect()),
        _ => Data::U8(raw.to_vec()),
    })
}

fn fitting<I: Copy + Display, T: TryFrom<I>>(ints: &[I]) -> Result<Vec<T>> {
    let fit = |&i: &I| {
        T::try_from(i).map_err(|_| Error::bad_file(format!("{i} does not fit the tensor's type")))
    };
    ints.iter().map(fit).collect()
}

fn from_typed(element: ElementType, tensor: &TensorProto, count: usize) -> Result<Data> {
    let ints = &tensor.int32_data;
    let length = match element {
        ElementType::Float => tensor.float_data.len(),
        ElementType::Double => tensor.double_data.len(),
        ElementType::Int64 => tensor.int64_data.len(),
        ElementType::Uint32 | ElementType::Uint64 => tensor.uint64_data.len(),
        _ => ints.len(),
    };
    if length != count {
        return Err(Error::bad_file(format!(
            "the tensor's shape {:?} needs {count} elements, its data has {length}",
            tensor.dims
        )));
    }
    let halves = |to_f32: fn(u16) -> f32| -> Result<Data> {
        Ok(Data::F32(fitting(ints)?.into_iter().map(to_f32).collect()))
    };
    Ok(match element {
        ElementType::Float => Data::F32(tensor.float_data.clone()),
        ElementType::Float16 => halves(|bits| f16::from_bits(bits).to_f32())?,
        ElementType::Bfloat16 => halves(|bits| bf16::from_bits(bits).to_f32())?,
        ElementType::Double => narrowed(&tensor.double_data)?,
        ElementType::Int64 => Data::I64(tensor.int64_data.clone()),
        ElementType::Uint64 => Data::U64(tensor.uint64_data.clone()),
        ElementType::Uint32 => Data::U32(fitting(&tensor.uint64_data)?),
        ElementType::Int16 => Data::I16(fitting(ints)?),
        ElementType::Uint16 => Data::U16(fitting(ints)?),
        ElementType::Int8 => Data::I8(fitting(ints)?),
        ElementType::Uint8 => Data::U8(fitting(ints)?),
        ElementType::Bool => Data::Bool(ints.iter().map(|&i| u8::from(i != 0)).collect()),
        _ => Data::I32(ints.clone()),
    })
}

/// Doubles in f32. One that only f64 can hold is an error, because it would become infinite.
fn narrowed(doubles: &[f64]) -> Result<Data> {
    let narrow = |&double: &f64| {
        let float = double as f32;
        if float.is_infinite() && double.is_finite() {
            return Err(Error::unsupported(format!("{double:e} exceeds the range of f32")));
        }
        Ok(float)
    };
    doubles.iter().map(narrow).collect::<Result<_>>().map(Data::F32)
}
