//! The same elements in another shape or order.

use amq_format::Elements;
use amq_format::graph::{BinaryFunction as B, DataType, Dim, Expand, Op, ReduceKind};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::{Origin, Value};

/// Product of dimensions.
pub(super) fn product(dims: &[Dim]) -> Result<Dim> {
    Dim::product(dims).map_err(|error| Error::unsupported(error.to_string()))
}

pub(in crate::onnx) fn reshape(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let shape = match r.opset {
        ..5 => {
            let shape = r.ints("shape")?.ok_or_else(|| Error::bad_file("its shape is missing"))?;
            let shape = shape.iter().copied().map(Dim::from).collect();
            r.known(DataType::I64, Elements::vector(shape))?
        }
        _ => r.input(1)?,
    };
    let wanted = r.partly_known(shape)?;
    let zero_is_zero = r.opset >= 14 && r.flag("allowzero", false)?;
    let wanted = match wanted.iter().cloned().collect() {
        Some(wanted) => wanted,
        None => computed_shape(r, x, shape, wanted, zero_is_zero)?,
    };
    let from = r.dims(x);
    let mut dims = Vec::with_capacity(wanted.len());
    let mut inferred = None;
    for (i, dim) in wanted.into_iter().enumerate() {
        dims.push(match dim.as_size() {
            Some(0) if !zero_is_zero => from.get(i).cloned().ok_or_else(|| {
                Error::bad_file(format!("axis {i} of the shape is 0, and x has no such axis"))
            })?,
            Some(-1) => {
                if inferred.replace(i).is_some() {
                    return Err(Error::bad_file("-1 is twice in the shape"));
                }
                Dim::from(1)
            }
            Some(size) if size < -1 => {
                return Err(Error::bad_file(format!("{size} is in the shape")));
            }
            _ => dim,
        });
    }
    if let Some(i) = inferred {
        let others = product(&dims)?;
        dims[i] = product(&from)?
            .floor_div(&others)
            .map_err(|error| Error::bad_file(format!("-1 in the shape: {error}")))?;
    }
    let y = r.reshape("", x, dims.clone())?;
    if let Some(Origin::Product { float, scale }) = r.builder.origin(x) {
        let float = r.reshape("float", float, dims)?;
        r.builder.set_origin(y, Origin::Product { float, scale });
    }
    r.give(0, y)
}

/// A shape of which data decide a part. Where a number is -1 or 0 when the model runs, it means what it
/// means in a constant.
fn computed_shape(
    r: &mut Reader<'_, '_>,
    x: Value,
    shape: Value,
    known: Vec<Option<Dim>>,
    zero_is_zero: bool,
) -> Result<Vec<Dim>> {
    let mut shape = r.cast_to("shape", shape, DataType::I64)?;
    let from = r.dims(x);
    if !zero_is_zero {
        let own = (0..known.len()).map(|i| from.get(i).cloned().unwrap_or(Dim::from(0)));
        let own = r.known(DataType::I64, Elements::vector(own.collect()))?;
        let zero = r.number("zero", DataType::I64, 0)?;
        let kept = r.binary("kept", B::Equal, shape, zero)?;
        shape = r.select("shape_kept", kept, own, shape)?;
    }
    let (minus, one) = (r.number("minus", DataType::I64, -1)?, r.number("one", DataType::I64, 1)?);
    let left = r.binary("left", B::Equal, shape, minus)?;
    let others = r.select("others", left, one, shape)?;
    let others = r.reduced("others_product", ReduceKind::Product, others, &[0], true)?;
    let others = r.binary("others_least", B::Max, others, one)?;
    let all = r.known(DataType::I64, Elements::vector(vec![product(&from)?]))?;
    let rest = r.binary("rest", B::Div, all, others)?;
    let shape = r.select("shape_full", left, rest, shape)?;
    let found = r.sizes("sizes", shape)?;
    let decided = |dim: &Dim| dim.as_size().is_none_or(|size| size >= 0);
    let dims = known.into_iter().zip(found);
    Ok(dims.map(|(known, found)| known.filter(decided).unwrap_or(found)).collect())
}

pub(in crate::onnx) fn flatten(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let dims = r.dims(x);
    let axis = match r.int("axis")?.unwrap_or(1) {
        axis if axis == dims.len() as i64 => dims.len(),
        axis => r.axis(axis, dims.len())?,
    };
    let (before, after) = dims.split_at(axis);
    let shape = vec![product(before)?, product(after)?];
    let y = r.reshape("", x, shape)?;
    r.give(0, y)
}

/// Axes, which are an attribute before opset 13 and an input since.
fn axes(r: &mut Reader<'_, '_>) -> Result<Option<Vec<i64>>> {
    if r.opset < 13 { Ok(r.ints("axes")?.map(<[i64]>::to_vec)) } else { r.optional_numbers(1) }
}

pub(in crate::onnx) fn squeeze(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let mut dims = r.dims(x);
    let removed = match axes(r)? {
        Some(axes) => r.axes(&axes, dims.len())?,
        None => {
            dims = others_than_one(r, dims)?;
            (0..dims.len()).filter(|&axis| dims[axis].as_size() == Some(1)).collect()
        }
    };
    if let Some(axis) = removed.iter().find(|&&axis| dims[axis].as_size().is_some_and(|d| d != 1)) {
        return Err(Error::bad_file(format!("axis {axis} has size {}, not 1", dims[*axis])));
    }
    let kept = dims.into_iter().enumerate().filter(|(axis, _)| !removed.contains(axis));
    let shape = kept.map(|(_, dim)| dim).collect();
    let y = r.reshape("", x, shape)?;
    r.give(0, y)
}

/// What a node is called beside that of a Squeeze that names no axes: the node fails where one would go that stays here.
pub(crate) const OPEN_SQUEEZE: &str = "squeeze_without_axes_needs_sizes_other_than_1";

/// Sizes with those that are not known in terms of what they are above 2, so that one of 1 is an error
/// when the model runs: the axis would go then, and it stays here.
fn others_than_one(r: &mut Reader<'_, '_>, mut dims: Vec<Dim>) -> Result<Vec<Dim>> {
    let open: Vec<usize> = (0..dims.len()).filter(|&i| dims[i].as_size().is_none()).collect();
    if open.is_empty() {
        return Ok(dims);
    }
    let less = open.iter().map(|&i| r.dim(dims[i].add(&Dim::from(-2))));
    let less = Elements::vector(less.collect::<Result<_>>()?);
    let less = r.known(DataType::I64, less)?;
    for (axis, above) in open.into_iter().zip(r.sizes(OPEN_SQUEEZE, less)?) {
        dims[axis] = r.dim(above.add(&Dim::from(2)))?;
    }
    Ok(dims)
}

pub(in crate::onnx) fn unsqueeze(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axes = axes(r)?.ok_or_else(|| Error::bad_file("axes are missing"))?;
    let mut shape = r.dims(x);
    let mut added = r.axes(&axes, shape.len() + axes.len())?;
    added.sort_unstable();
    added.into_iter().for_each(|axis| shape.insert(axis, Dim::from(1)));
    let y = r.reshape("", x, shape)?;
    r.give(0, y)
}

pub(in crate::onnx) fn transpose(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let rank = r.rank(x);
    let perm: Vec<u32> = match r.ints("perm")? {
        None => (0..rank as u32).rev().collect(),
        Some(perm) => {
            let axes = r.axes(perm, rank)?;
            if axes.len() != rank {
                return Err(Error::bad_file(format!("perm is {perm:?} for {rank} axes")));
            }
            axes.into_iter().map(|axis| axis as u32).collect()
        }
    };
    let y = r.transpose("", x, &perm)?;
    r.give(0, y)
}

pub(in crate::onnx) fn expand(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let dims = r.sizes_input(1)?;
    let y = r.emit("", Op::Expand(Expand { dims }), &[x])?;
    r.give(0, y)
}
