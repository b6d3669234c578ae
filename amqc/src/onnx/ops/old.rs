//! Forms of opsets before 7.

use amq_format::graph::Dim;

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::onnx::proto::ElementType;

/// The second operand of a function of two tensors. Before opset 7, its axes stand where the attribute
/// axis says, if broadcast is set, and else it has the shape of the first.
pub(super) fn operand(r: &mut Reader<'_, '_>, a: Value, b: Value) -> Result<Value> {
    if r.opset >= 7 {
        return Ok(b);
    }
    let (broadcast, axis) = (r.flag("broadcast", false)?, r.int("axis")?);
    let (rank, own) = (r.rank(a), r.rank(b));
    if own > rank || !broadcast && own != rank {
        return Err(Error::bad_file(format!("its inputs have {rank} and {own} axes")));
    }
    let first = match axis.filter(|_| broadcast && own > 0) {
        Some(axis) => r.axis(axis, rank)?,
        None => rank - own,
    };
    if first + own > rank {
        return Err(Error::bad_file(format!("axis {first} of {rank} for {own} axes")));
    }
    let mut dims = r.dims(b);
    dims.resize(rank - first, Dim::from(1));
    r.reshape("aligned", b, dims)
}

/// Whether the node is to do what it does in training, which before opset 7 it does unless it is told
/// not to.
pub(super) fn trains(r: &mut Reader<'_, '_>) -> Result<bool> {
    Ok(r.opset < 7 && !r.flag("is_test", false)?)
}

/// A type by its name, as it was written before opset 6.
pub(super) fn type_named(name: &str) -> Result<i32> {
    let wanted = name.to_lowercase();
    let known = (1..=ElementType::Bfloat16 as i32).find(|&n| ElementType::name_of(n) == wanted);
    known.ok_or_else(|| Error::bad_file(format!("there is no type {name:?}")))
}

/// How often x stands along each axis: of opset 1, a number and an axis.
pub(super) fn repeats(r: &mut Reader<'_, '_>, x: Value) -> Result<Vec<Dim>> {
    let (count, axis) = (r.sizes_input(1)?, r.sizes_input(2)?);
    let mut repeats = vec![Dim::from(1); r.rank(x)];
    match (count.as_slice(), axis.as_slice()) {
        ([count], [axis]) => {
            let axis =
                axis.as_size().ok_or_else(|| Error::unsupported("its axis is no constant"))?;
            let axis = r.axis(axis, repeats.len())?;
            repeats[axis] = count.clone();
        }
        _ => return Err(Error::bad_file("its number of tiles or its axis is not one number")),
    }
    Ok(repeats)
}
