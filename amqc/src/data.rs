//! Arrays from and to NumPy's files, `.npy` and `.npz`.

mod write;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use amq_format::graph::{DataType, Precision};
use half::{bf16, f16};
use npyz::{DType, Endianness, NpyFile, Order, TypeChar};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};
pub use write::{write_npy, write_npy_as, write_npz, write_npz_as};

/// An array as a file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub dims: Vec<usize>,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

/// The longest header that is read: NumPy's own limit for headers of untrusted files is 10,000.
const MAX_HEADER: usize = 10_000;
/// Most bytes of elements that are read from one file, as they are stored; while they are decoded,
/// each element takes up to 8 bytes more.
const MAX_BYTES: u64 = 1 << 32;

/// Reads the array of an `.npy` file.
pub fn read_npy(path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    read_array(BufReader::new(file), &mut { MAX_BYTES }).map_err(|bad| bad.error(path))
}

/// Reads every array of an `.npz` file, in the order of their names. `wanted` may refuse a name
/// before its array is decoded.
pub fn read_npz(path: &Path, wanted: impl Fn(&str) -> Result<()>) -> Result<Vec<(String, Array)>> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let mut magic = Vec::new();
    (&file).take(6).read_to_end(&mut magic).map_err(|error| Error::io(path, error))?;
    if magic == b"\x93NUMPY" {
        return Err(Bad::File("a single array, not an .npz archive".into())
            .error(path)
            .remedy("save it by the input's name in an .npz, or use run --input NAME=X.npy"));
    }
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| Bad::from(e).error(path))?;
    let (mut arrays, mut left) = (Vec::new(), MAX_BYTES);
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(|error| Bad::from(error).error(path))?;
        let file_name = entry.name().map_err(|error| Bad::from(error).error(path))?.into_owned();
        let Some(name) = file_name.strip_suffix(".npy") else {
            return Err(Bad::File(format!("{file_name:?} is not an array")).error(path));
        };
        wanted(name)?;
        let array = read_array(BufReader::new(entry), &mut left);
        arrays.push((name.to_owned(), array.map_err(|bad| bad.within(name).error(path))?));
    }
    arrays.sort_by(|(a, _), (b, _)| a.cmp(b));
    match arrays.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Bad::File(format!("{:?} is there twice", pair[0].0)).error(path)),
        None => Ok(arrays),
    }
}

/// Why an array could not be read.
enum Bad {
    Io(io::Error),
    File(String),
}

impl Bad {
    fn within(self, name: &str) -> Bad {
        match self {
            Bad::Io(error) => Bad::Io(error),
            Bad::File(why) => Bad::File(format!("array {name:?}: {why}")),
        }
    }

    fn error(self, path: &Path) -> Error {
        match self {
            Bad::Io(error) => Error::io(path, error),
            Bad::File(why) => Error::bad_file(why).within(path.display()),
        }
    }
}

impl From<ZipError> for Bad {
    fn from(error: ZipError) -> Bad {
        match error {
            ZipError::Io(error) => Bad::from(error),
            other => Bad::File(other.to_string()),
        }
    }
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Bad {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Bad::File("the file ends too early".into()),
            // What decoders say of damaged data.
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::Other => Bad::File(error.to_string()),
            _ => Bad::Io(error),
        }
    }
}

/// A vector with room for `len` elements.
fn with_room<T>(len: usize) -> Result<Vec<T>, Bad> {
    let mut vec = Vec::new();
    match vec.try_reserve_exact(len) {
        Ok(()) => Ok(vec),
        Err(_) => Err(Bad::Io(io::ErrorKind::OutOfMemory.into())),
    }
}

/// Reads an array of which the file may still have `left` bytes.
fn read_array(mut reader: impl Read, left: &mut u64) -> Result<Array, Bad> {
    let header = read_header(&mut reader)?;
    let header = npyz::NpyHeader::from_reader(&header[..])?;
    let DType::Plain(dtype) = header.dtype() else {
        return Err(Bad::File("structured arrays are not read".into()));
    };
    let unread = || {
        Bad::File(format!("arrays of type {dtype} are not read: save it as float32 or an integer"))
    };
    let element = dtype.num_bytes().ok_or_else(unread)? as u64;
    let bytes = header.len().checked_mul(element).filter(|bytes| bytes <= left);
    let (Some(bytes), Ok(dims)) = (
        bytes,
        header.shape().iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>(),
    ) else {
        return Err(Bad::File("the arrays of the file take more than 4 GiB".into()));
    };
    *left -= bytes;
    // Memory grows with what is there, not with what the header promises.
    let mut data = Vec::new();
    reader.by_ref().take(bytes).read_to_end(&mut data)?;
    if data.len() as u64 != bytes || reader.read(&mut [0])? != 0 {
        let (shape, found) = (header.shape(), data.len());
        let found = if (found as u64) < bytes { found.to_string() } else { "more".into() };
        return Err(Bad::File(format!("shape {shape:?} takes {bytes} bytes, there are {found}")));
    }
    let little = dtype.endianness() != Endianness::Big;
    let order = header.order();
    let halves = |to_f32: fn(u16) -> f32| -> Result<Values, Bad> {
        let bits = |pair: &[u8; 2]| match little {
            true => u16::from_le_bytes(*pair),
            false => u16::from_be_bytes(*pair),
        };
        let floats = data.as_chunks().0.iter().map(|pair| to_f32(bits(pair))).collect();
        Ok(Values::F32(rows_first(floats, &dims, order)?))
    };
    let file = NpyFile::with_header(header, &data[..]);
    let values = match (dtype.type_char(), element) {
        (TypeChar::Float, 2) => halves(|bits| f16::from_bits(bits).to_f32())?,
        // NumPy has no bfloat16; the package ml_dtypes saves it so.
        (TypeChar::RawData, 2) => halves(|bits| bf16::from_bits(bits).to_f32())?,
        (TypeChar::Float, 4) => Values::F32(elements_of(file, &dims)?),
        (TypeChar::Float, 8) => Values::F64(elements_of(file, &dims)?),
        (TypeChar::Bool, 1) => Values::Bool(elements_of(file, &dims)?),
        (TypeChar::Int, 1) => integers::<i8>(file, &dims)?,
        (TypeChar::Int, 2) => integers::<i16>(file, &dims)?,
        (TypeChar::Int, 4) => integers::<i32>(file, &dims)?,
        (TypeChar::Int, 8) => integers::<i64>(file, &dims)?,
        (TypeChar::Uint, 1) => integers::<u8>(file, &dims)?,
        (TypeChar::Uint, 2) => integers::<u16>(file, &dims)?,
        (TypeChar::Uint, 4) => integers::<u32>(file, &dims)?,
        (TypeChar::Uint, 8) => integers::<u64>(file, &dims)?,
        _ => return Err(unread()),
    };
    Ok(Array { dims, values })
}

/// Reads an `.npy` file up to its data, and refuses what the parser would not survive: nested
/// literals, and shapes whose product overflows.
fn read_header(reader: &mut impl Read) -> Result<Vec<u8>, Bad> {
    let mut header = vec![0; 8];
    reader.read_exact(&mut header)?;
    if &header[..6] != b"\x93NUMPY" {
        let archive = header.starts_with(b"PK");
        let hint = if archive { ", but an archive: --inputs takes those" } else { "" };
        return Err(Bad::File(format!("not an .npy array{hint}")));
    }
    let size = if header[6] == 1 { 2 } else { 4 };
    let mut length = [0; 4];
    reader.read_exact(&mut length[..size])?;
    header.extend_from_slice(&length[..size]);
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(Bad::File(format!("the array's header takes {length} bytes")));
    }
    let start = header.len();
    header.resize(start + length, 0);
    reader.read_exact(&mut header[start..])?;
    let text = &header[start..];
    let nested = text.iter().filter(|byte| b"([{".contains(byte)).count() > 2;
    let mut product = 1u64;
    let mut sane = !nested;
    let mut rest = text;
    while let Some(digit) = rest.iter().position(u8::is_ascii_digit) {
        let end = rest[digit..].iter().position(|byte| !byte.is_ascii_digit());
        let (number, after) = rest[digit..].split_at(end.unwrap_or(rest.len() - digit));
        let number = std::str::from_utf8(number).ok().and_then(|n| n.parse::<u64>().ok());
        match number.and_then(|number| product.checked_mul(number.max(1))) {
            // Neither hexadecimal, nor a float.
            Some(larger)
                if !after.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') =>
            {
                product = larger;
            }
            _ => sane = false,
        }
        rest = after;
    }
    if sane {
        Ok(header)
    } else {
        Err(Bad::File("the array's header is not one NumPy writes".into()))
    }
}

/// The elements of an array, row-major.
fn elements_of<T: npyz::Deserialize + Copy>(
    file: NpyFile<&[u8]>,
    dims: &[usize],
) -> Result<Vec<T>, Bad> {
    let order = file.order();
    let mut data = with_room(file.len() as usize)?;
    for element in file.data().map_err(|error| Bad::File(error.to_string()))? {
        data.push(element?);
    }
    rows_first(data, dims, order)
}

/// Puts elements that are stored with the first axis fastest into row-major order.
fn rows_first<T: Copy>(data: Vec<T>, dims: &[usize], order: Order) -> Result<Vec<T>, Bad> {
    if order == Order::C || dims.len() < 2 || data.is_empty() {
        return Ok(data);
    }
    let mut strides = Vec::with_capacity(dims.len());
    let mut stride = 1;
    for &dim in dims {
        strides.push(stride);
        stride *= dim;
    }
    let mut index = vec![0; dims.len()];
    let mut offset = 0;
    let mut out = with_room(data.len())?;
    for _ in 0..data.len() {
        out.push(data[offset]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
            offset -= strides[axis] * dims[axis];
        }
    }
    Ok(out)
}

fn integers<T>(file: NpyFile<&[u8]>, dims: &[usize]) -> Result<Values, Bad>
where
    T: npyz::Deserialize + Copy,
    i64: TryFrom<T>,
{
    let data = elements_of::<T>(file, dims)?;
    let mut wide = with_room(data.len())?;
    for value in data {
        let value = i64::try_from(value);
        wide.push(value.map_err(|_| Bad::File("an integer does not fit 63 bits".into()))?);
    }
    Ok(Values::Int(wide))
}

impl Array {
    fn type_name(&self) -> &'static str {
        match self.values {
            Values::F32(_) => "float32",
            Values::F64(_) => "float64",
            Values::Int(_) => "integer",
            Values::Bool(_) => "bool",
        }
    }

    /// The same values in the type that the input `name` takes, rounded where that is a float. Fails if one would be
    /// another number.
    pub fn into_tensor(self, name: &str, data_type: DataType) -> Result<Tensor> {
        let held = self.type_name();
        let refuse = |value: String| {
            let wanted = data_type.name();
            Error::bad_file(format!("{name}: {held} value {value} is not exactly a {wanted}"))
                .remedy(format!("save the array as {}", numpy_name(data_type)))
        };
        let data = match (data_type, self.values) {
            (DataType::F32, Values::F32(values)) => Data::F32(values),
            (DataType::F32, Values::F64(values)) => {
                // Rounded, as the model would; what is beyond f32 is another number.
                let narrow = |v: f64| match v.is_finite() && !(v as f32).is_finite() {
                    true => Err(Error::bad_file(format!("{name}: {v:e} is too large for float32"))
                        .remedy("the model takes that type: scale the input as it was trained")),
                    false => Ok(v as f32),
                };
                Data::F32(converted(name, values, narrow)?)
            }
            (DataType::F32, Values::Int(values)) => {
                Data::F32(converted(name, values, |v| Ok(v as f32))?)
            }
            (DataType::I64, Values::Int(values)) => Data::I64(values),
            (DataType::I32, Values::Int(values)) => {
                Data::I32(converted(name, values, narrow(refuse))?)
            }
            (DataType::U8, Values::Int(values)) => {
                Data::U8(converted(name, values, narrow(refuse))?)
            }
            (DataType::I8, Values::Int(values)) => {
                Data::I8(converted(name, values, narrow(refuse))?)
            }
            (DataType::I16, Values::Int(values)) => {
                Data::I16(converted(name, values, narrow(refuse))?)
            }
            (DataType::U16, Values::Int(values)) => {
                Data::U16(converted(name, values, narrow(refuse))?)
            }
            (DataType::U32, Values::Int(values)) => {
                Data::U32(converted(name, values, narrow(refuse))?)
            }
            (DataType::U64, Values::Int(values)) => {
                Data::U64(converted(name, values, narrow(refuse))?)
            }
            (DataType::Bool, Values::Bool(values)) => {
                Data::Bool(converted(name, values, |v| Ok(u8::from(v)))?)
            }
            (wanted, _) => {
                let wanted = numpy_name(wanted);
                return Err(Error::bad_file(format!(
                    "{name}: takes {wanted}, the array is {held}"
                ))
                .remedy(format!("save the array as {wanted}")));
            }
        };
        Ok(Tensor { dims: self.dims, data })
    }

    /// The type of the values, where one has digits that an f32 does not hold.
    pub fn finer_than_f32(&self) -> Option<&'static str> {
        let finer = match &self.values {
            Values::F64(values) => {
                values.iter().any(|&v| v.is_finite() && f64::from(v as f32) != v)
            }
            Values::Int(values) => values.iter().any(|&v| (v as f32) as i128 != i128::from(v)),
            Values::F32(_) | Values::Bool(_) => false,
        };
        finer.then(|| self.type_name())
    }

    /// The values as floats, if they are.
    pub fn floats(&self) -> Option<Vec<f64>> {
        match &self.values {
            Values::F32(values) => Some(values.iter().map(|&value| value.into()).collect()),
            Values::F64(values) => Some(values.clone()),
            _ => None,
        }
    }

    /// The values as integers, if they are.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.values {
            Values::Int(values) => Some(values),
            _ => None,
        }
    }
}

fn narrow<T: TryFrom<i64>>(refuse: impl Fn(String) -> Error) -> impl Fn(i64) -> Result<T> {
    move |v| T::try_from(v).map_err(|_| refuse(v.to_string()))
}

fn converted<T, R>(name: &str, values: Vec<T>, convert: impl Fn(T) -> Result<R>) -> Result<Vec<R>> {
    let mut out = with_room(values.len()).map_err(|bad| bad.error(Path::new(name)))?;
    for value in values {
        out.push(convert(value)?);
    }
    Ok(out)
}

fn numpy_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F32 => "float32",
        DataType::I64 => "int64",
        DataType::I32 => "int32",
        DataType::U8 => "uint8",
        DataType::I8 => "int8",
        DataType::I16 => "int16",
        DataType::U16 => "uint16",
        DataType::U32 => "uint32",
        DataType::U64 => "uint64",
        DataType::Bool => "bool",
    }
}

/// The tensor with its floats rounded to a type, as the model would round them.
///
/// # Errors
/// A number that the type does not hold.
pub fn rounded(mut tensor: Tensor, name: &str, precision: Precision) -> Result<Tensor> {
    let (round, wanted): (fn(f32) -> f32, _) = match precision {
        Precision::F32 => return Ok(tensor),
        Precision::F16 => (|x| f16::from_f32(x).to_f32(), "float16"),
        Precision::Bf16 => (|x| bf16::from_f32(x).to_f32(), "bfloat16"),
    };
    if let Data::F32(values) = &mut tensor.data {
        for value in values {
            let held = round(*value);
            if value.is_finite() && !held.is_finite() {
                return Err(Error::bad_file(format!("{name}: {value} is too large for {wanted}"))
                    .remedy("the model takes that type: scale the input as it was trained"));
            }
            *value = held;
        }
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests;
