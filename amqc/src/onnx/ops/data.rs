//! Constants, shapes as data, types, and what passes its input on.

use amq_format::graph::{Cast, DataType, Dim, Expand, Op};
use amq_format::{Elements, MAX_KNOWN};

use super::layout::product;
use super::{old, quantized};
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::onnx::proto::ElementType;
use crate::onnx::tensor::{Precision, data_type};
use crate::tensor::{Data, Tensor};

pub(in crate::onnx) fn constant(r: &mut Reader<'_, '_>) -> Result<()> {
    let vector = |data: Data| Tensor { dims: vec![data.len()], data };
    let scalar = |data: Data| Tensor { dims: Vec::new(), data };
    let constant = if let Some(tensor) = r.tensor("value")? {
        tensor
    } else if let Some(tensor) = r.sparse_tensor("sparse_value")? {
        tensor
    } else if let Some(value) = r.float("value_float")? {
        Tensor::scalar(value)
    } else if let Some(values) = r.floats("value_floats")? {
        vector(Data::F32(values.to_vec()))
    } else if let Some(value) = r.int("value_int")? {
        scalar(Data::I64(vec![value]))
    } else if let Some(values) = r.ints("value_ints")? {
        vector(Data::I64(values.to_vec()))
    } else {
        return Err(Error::unsupported("it has no value that is a tensor, float or integer"));
    };
    let value = r.constant("", constant)?;
    r.give(0, value)
}

pub(in crate::onnx) fn constant_of_shape(r: &mut Reader<'_, '_>) -> Result<()> {
    let dims = r.sizes_input(0)?;
    let mut value = match r.tensor("value")? {
        Some(value) if value.data.len() == 1 => value,
        Some(value) => {
            return Err(Error::bad_file(format!("value has {} elements", value.data.len())));
        }
        None => Tensor::scalar(0.0),
    };
    value.dims.clear();
    let value = r.constant("value", value)?;
    let y = r.emit("", Op::Expand(Expand { dims }), &[value])?;
    r.give(0, y)
}

pub(in crate::onnx) fn shape(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let dims = r.dims(x);
    let rank = dims.len() as i64;
    let (start, end) = if r.opset < 15 {
        (0, rank)
    } else {
        (r.int("start")?.unwrap_or(0), r.int("end")?.unwrap_or(rank))
    };
    let place = |axis: i64| {
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        axis.clamp(0, rank) as usize
    };
    let dims = dims.get(place(start)..place(end)).unwrap_or_default().to_vec();
    let y = r.known(DataType::I64, Elements::vector(dims))?;
    r.give(0, y)
}

pub(in crate::onnx) fn size(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let count = product(&r.dims(x))?;
    let y = r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![count] })?;
    r.give(0, y)
}

pub(in crate::onnx) fn identity(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    r.give(0, x)
}

/// Dropout as it is outside training, or with nothing to drop: nothing. Its mask keeps all.
pub(in crate::onnx) fn dropout(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    r.int("seed")?;
    if old::trains(r)? {
        return Err(Error::unsupported("is_test is 0, which means training")
            .remedy("export the model for inference"));
    }
    if r.opset < 12 {
        r.float("ratio")?;
    } else {
        let ratio = r.optional_input(1);
        let nothing = ratio.is_some_and(|ratio| r.constant_scalar(ratio) == Some(0.0));
        let training = r.optional_known_input(2)?;
        let no = |t: Elements| t.numbers().is_some_and(|n| n.iter().all(|&n| n == 0));
        if !nothing && !training.is_none_or(no) {
            return Err(Error::unsupported("training_mode is true")
                .remedy("export the model for inference"));
        }
    }
    if r.wants(1) {
        // Nothing is dropped.
        let to = if r.opset < 10 { r.data_type(x) } else { DataType::Bool };
        let one = r.number("kept", to, 1)?;
        let dims = r.dims(x);
        let mask = r.expanded("mask", one, dims)?;
        r.give(1, mask)?;
    }
    r.give(0, x)
}

pub(in crate::onnx) fn cast(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let to = match r.opset {
        ..6 => r.string("to")?.map(old::type_named).transpose()?.map(i64::from),
        _ => r.int("to")?,
    };
    let to = to.ok_or_else(|| Error::bad_file("attribute \"to\" is missing"))?;
    // Concerns 8-bit floats alone.
    r.int("saturate")?;
    let to = i32::try_from(to).unwrap_or_default();
    let (to, precision) = data_type(to).ok_or_else(|| {
        Error::unsupported(format!("a cast to {} is not supported", ElementType::name_of(to)))
    })?;
    let y = converted(r, x, to, precision)?;
    r.give(0, y)
}

/// The bits of an integer or bool type of the model, whose values are all that a type of the vocabulary
/// has.
fn bits(element: ElementType) -> Option<u32> {
    match element {
        ElementType::Int8 | ElementType::Uint8 | ElementType::Bool => Some(8),
        ElementType::Int16 | ElementType::Uint16 => Some(16),
        ElementType::Int32 | ElementType::Uint32 => Some(32),
        ElementType::Int64 | ElementType::Uint64 => Some(64),
        _ => None,
    }
}

/// The same bits in another type: between integers a cast, which keeps the lower bits.
pub(in crate::onnx) fn bit_cast(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let to = r.int("to")?.ok_or_else(|| Error::bad_file("attribute \"to\" is missing"))?;
    let to = i32::try_from(to).unwrap_or_default();
    let from = r.builder.element(x);
    let wanted = ElementType::try_from(to).ok().filter(|&to| to != ElementType::Bool);
    let same = wanted.and_then(bits).is_some_and(|bits_of_y| bits(from) == Some(bits_of_y));
    let Some((to, precision)) = data_type(to).filter(|_| same) else {
        let (from, to) = (ElementType::name_of(from as i32), ElementType::name_of(to));
        return Err(Error::unsupported(format!("the bits of {from} as {to} are not supported")));
    };
    let y = converted(r, x, to, precision)?;
    r.give(0, y)
}

/// Cast to the type of another tensor.
pub(in crate::onnx) fn cast_like(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, like) = (r.input(0)?, r.input(1)?);
    // Concern 8-bit floats alone.
    r.int("saturate")?;
    let element = r.builder.element(like);
    let (to, precision) = data_type(element as i32).ok_or_else(|| {
        let name = ElementType::name_of(element as i32);
        Error::unsupported(format!("a cast to {name} is not supported"))
    })?;
    let y = converted(r, x, to, precision)?;
    r.give(0, y)
}

fn converted(
    r: &mut Reader<'_, '_>,
    x: Value,
    to: DataType,
    precision: Precision,
) -> Result<Value> {
    r.precision = Some(precision);
    if r.data_type(x) == to {
        Ok(x)
    } else if let Some(known) = integers_of(r, x, to) {
        r.known(to, known)
    } else if let Some(floats) = floats_of(r, x, to) {
        r.constant("", floats)
    } else {
        let y = r.emit("", Op::Cast(Cast { to: to.into() }), &[x])?;
        if matches!(to, DataType::F32 | DataType::I32) {
            quantized::keep_origin(r, x, y);
        }
        Ok(y)
    }
}

/// Integers that are known as a constant of floats.
fn floats_of(r: &Reader<'_, '_>, x: Value, to: DataType) -> Option<Tensor> {
    let elements = r.builder.elements_of(x).filter(|_| to == DataType::F32)?;
    let dims = elements.dims.clone();
    let floats = elements.numbers()?.iter().map(|&number| number as f32).collect();
    Some(Tensor { dims, data: Data::F32(floats) })
}

/// The elements of a constant of floats in an integer type or bool, if it is one and small.
fn integers_of(r: &Reader<'_, '_>, x: Value, to: DataType) -> Option<Elements> {
    let constant = r.builder.constant_of(x)?;
    let Data::F32(floats) = &constant.data else { return None };
    if floats.len() > MAX_KNOWN {
        return None;
    }
    let integer = |&float: &f32| {
        // Beyond these bounds conversion saturates, and the runtime decides.
        let in_range = (-9.2e18..9.2e18).contains(&float);
        let number = if to == DataType::Bool { i64::from(float != 0.0) } else { float as i64 };
        let fits = Data::from_integers(to, &[number]).is_some();
        (in_range && fits).then(|| Dim::from(number))
    };
    let values = floats.iter().map(integer).collect::<Option<_>>()?;
    Some(Elements { dims: constant.dims.clone(), values })
}
