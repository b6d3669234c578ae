//! Elements that indices choose or name: gathers, scatters, one-hot vectors, and where the largest are.

use amq_format::graph::{
    BinaryFunction as B, DataType, Dim, GatherElements, GatherNd, Op, ScatterElements, ScatterKind,
    ScatterNd, TopK,
};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::onnx::tensor::data_type;

pub(in crate::onnx) fn gather_elements(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))? as u32;
    let y = r.emit("", Op::GatherElements(GatherElements { axis }), &[x, indices])?;
    r.give(0, y)
}

pub(in crate::onnx) fn gather_nd(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    let batch = if r.opset < 12 { None } else { r.int("batch_dims")? }.unwrap_or(0);
    let batch_axes =
        u32::try_from(batch).map_err(|_| Error::bad_file(format!("batch_dims is {batch}")))?;
    let y = r.emit("", Op::GatherNd(GatherNd { batch_axes }), &[x, indices])?;
    r.give(0, y)
}

/// How what is written meets what is there: an attribute since opset 16.
fn kind(r: &mut Reader<'_, '_>) -> Result<ScatterKind> {
    let reduction = if r.opset < 16 { None } else { r.string("reduction")? };
    Ok(match reduction.unwrap_or("none") {
        "none" => ScatterKind::Replace,
        "add" => ScatterKind::Add,
        "mul" => ScatterKind::Mul,
        "max" if r.opset >= 18 => ScatterKind::Max,
        "min" if r.opset >= 18 => ScatterKind::Min,
        other => {
            return Err(Error::bad_file(format!("reduction {other:?} in opset {}", r.opset)));
        }
    })
}

pub(in crate::onnx) fn scatter_elements(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(inputs[0]))? as u32;
    let kind = kind(r)?.into();
    let y = r.emit("", Op::ScatterElements(ScatterElements { axis, kind }), &inputs)?;
    r.give(0, y)
}

pub(in crate::onnx) fn scatter_nd(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    let kind = kind(r)?.into();
    let y = r.emit("", Op::ScatterNd(ScatterNd { kind }), &inputs)?;
    r.give(0, y)
}

/// Where the first of the largest or smallest entries is along an axis, which stays.
pub(super) fn first_best(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    axis: usize,
    smallest: bool,
) -> Result<Value> {
    let best = TopK { axis: axis as u32, k: vec![Dim::from(1)], smallest, unsorted: false };
    let outputs = r.emit_many(part, Op::TopK(best), &[Some(x)], &[false, true])?;
    let place = outputs.into_iter().flatten().next();
    place.ok_or_else(|| Error::unsupported("its operator has no output here"))
}

/// ArgMax or ArgMin.
pub(in crate::onnx) fn arg_best(r: &mut Reader<'_, '_>, smallest: bool) -> Result<()> {
    let x = r.input(0)?;
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let keep_dims = r.flag("keepdims", true)?;
    let last = r.opset >= 12 && r.flag("select_last_index", false)?;
    let size = r.dims(x)[axis].clone();
    let mut y = if last {
        let all = (Dim::from(-1), Dim::from(i64::MIN), -1);
        let reversed = r.sliced("reversed", x, axis, all)?;
        let place = first_best(r, "from_the_end", reversed, axis, smallest)?;
        let most = r.dim(size.add(&Dim::from(-1)))?;
        let most =
            r.known(DataType::I64, amq_format::Elements { dims: vec![], values: vec![most] })?;
        r.binary("", B::Sub, most, place)?
    } else {
        first_best(r, "", x, axis, smallest)?
    };
    if !keep_dims {
        let mut dims = r.dims(y);
        dims.remove(axis);
        y = r.reshape("squeeze", y, dims)?;
    }
    r.give(0, y)
}

/// Whether each of the numbers from 0 on, along an axis that is put in, is the integer there.
fn matches(r: &mut Reader<'_, '_>, integers: Value, axis: usize, depth: &Dim) -> Result<Value> {
    let mut dims = r.dims(integers);
    let behind = dims.len() - axis;
    dims.insert(axis, Dim::from(1));
    let integers = r.reshape("unsqueeze", integers, dims)?;
    let numbers = r.count_up("numbers", depth)?;
    let mut shape = vec![depth.clone()];
    shape.resize(behind + 1, Dim::from(1));
    let numbers = r.reshape("numbers_reshape", numbers, shape)?;
    r.binary("matches", B::Equal, integers, numbers)
}

/// OneHot. Negative indices count from the end, others beyond the depth match nothing.
pub(in crate::onnx) fn one_hot(r: &mut Reader<'_, '_>) -> Result<()> {
    let indices = r.input(0)?;
    let values = r.input(2)?;
    r.precision = Some(r.builder.precision(values));
    let depth = depth(r)?;
    let rank = r.rank(indices);
    let axis = r.int("axis")?.unwrap_or(-1);
    let axis = r.axis(axis, rank + 1)?;
    let indices = r.cast_to("cast", indices, DataType::I64)?;
    let zero = r.number("zero", DataType::I64, 0)?;
    let size = amq_format::Elements { dims: vec![], values: vec![depth.clone()] };
    let size = r.known(DataType::I64, size)?;
    let negative = r.binary("negative", B::Less, indices, zero)?;
    let wrapped = r.binary("from_the_end", B::Add, indices, size)?;
    let indices = r.select("indices", negative, wrapped, indices)?;
    let matches = matches(r, indices, axis, &depth)?;
    let off = r.sliced("off", values, 0, (Dim::from(0), Dim::from(1), 1))?;
    let on = r.sliced("on", values, 0, (Dim::from(1), Dim::from(2), 1))?;
    let off = r.reshape("off_scalar", off, Vec::new())?;
    let on = r.reshape("on_scalar", on, Vec::new())?;
    let y = r.select("", matches, on, off)?;
    r.give(0, y)
}

/// The depth of one-hot vectors, which some exporters write as a float or as a vector of one.
fn depth(r: &mut Reader<'_, '_>) -> Result<Dim> {
    let depth = r.input(1)?;
    if let Some(depth) = r.constant_scalar(depth) {
        return Ok(Dim::from(depth as i64));
    }
    let depth = r.cast_to("depth", depth, DataType::I64)?;
    match r.sizes_of("depth_size", depth)?.as_slice() {
        [depth] => Ok(depth.clone()),
        other => Err(Error::bad_file(format!("its depth has {} elements", other.len()))),
    }
}

/// 1 at the first of the largest entries along an axis, else 0. Before opset 13 all axes from the
/// given one on count as one.
pub(in crate::onnx) fn hard_max(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let dims = r.dims(x);
    let axis = r.int("axis")?.unwrap_or(if r.opset < 13 { 1 } else { -1 });
    let mut axis = r.axis(axis, dims.len())?;
    let mut flat = x;
    if r.opset < 13 {
        let (before, after) = dims.split_at(axis);
        let shape = vec![super::layout::product(before)?, super::layout::product(after)?];
        flat = r.reshape("flatten", x, shape)?;
        axis = 1;
    }
    let size = r.dims(flat)[axis].clone();
    let place = first_best(r, "place", flat, axis, false)?;
    let mut kept = r.dims(place);
    kept.remove(axis);
    let place = r.reshape("squeeze", place, kept)?;
    let matches = matches(r, place, axis, &size)?;
    let y = r.cast_to("", matches, DataType::F32)?;
    let y = r.reshape("unflatten", y, dims)?;
    r.give(0, y)
}

/// An input of one integer, as a scalar of i64.
fn integer(r: &mut Reader<'_, '_>, part: &str, value: Value) -> Result<Value> {
    let scalar = r.reshape(part, value, Vec::new())?;
    r.cast_to(&format!("{part}_cast"), scalar, DataType::I64)
}

/// How each column lies to each row: where `comparison` holds of the column and row + k.
fn triangle(
    r: &mut Reader<'_, '_>,
    rows: &Dim,
    columns: &Dim,
    k: Value,
    comparison: B,
) -> Result<Value> {
    let numbers = r.count_up("rows", rows)?;
    let numbers = r.reshape("rows_reshape", numbers, vec![rows.clone(), Dim::from(1)])?;
    let diagonal = r.binary("diagonal", B::Add, numbers, k)?;
    let columns = r.count_up("columns", columns)?;
    r.binary("triangle", comparison, columns, diagonal)
}

pub(in crate::onnx) fn triangular(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let upper = r.flag("upper", true)?;
    let dims = r.dims(x);
    let [.., rows, columns] = dims.as_slice() else {
        return Err(Error::bad_file(format!("its input has {} axes, not 2 or more", dims.len())));
    };
    let k = match r.optional_input(1) {
        Some(k) => integer(r, "k", k)?,
        None => r.number("k", DataType::I64, 0)?,
    };
    let comparison = if upper { B::GreaterOrEqual } else { B::LessOrEqual };
    let kept = triangle(r, rows, columns, k, comparison)?;
    let zero = r.number("zero", r.data_type(x), 0)?;
    let y = r.select("", kept, x, zero)?;
    r.give(0, y)
}

pub(in crate::onnx) fn eye_like(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let to = match r.int("dtype")? {
        None => r.data_type(x),
        Some(to) => {
            let found = data_type(i32::try_from(to).unwrap_or_default());
            let (to, precision) =
                found.ok_or_else(|| Error::unsupported(format!("dtype {to} is not supported")))?;
            r.precision = Some(precision);
            to
        }
    };
    let k = r.int("k")?.unwrap_or(0);
    let dims = r.dims(x);
    let [rows, columns] = dims.as_slice() else {
        return Err(Error::bad_file(format!("its input has {} axes instead of 2", dims.len())));
    };
    let k = r.number("k", DataType::I64, k)?;
    let diagonal = triangle(r, rows, columns, k, B::Equal)?;
    let y = r.cast_to("", diagonal, to)?;
    r.give(0, y)
}

/// TensorScatter: a cache with new entries written along an axis from given places on.
pub(in crate::onnx) fn cache_update(r: &mut Reader<'_, '_>) -> Result<()> {
    let (cache, update) = (r.input(0)?, r.input(1)?);
    let axis = r.int("axis")?.unwrap_or(-2);
    let axis = r.axis(axis, r.rank(cache))?;
    let circular = match r.string("mode")?.unwrap_or("linear") {
        "linear" => false,
        "circular" => true,
        other => return Err(Error::bad_file(format!("mode {other:?}"))),
    };
    if axis == 0 {
        return Err(Error::bad_file("its axis is that of the batch"));
    }
    let dims = r.dims(update);
    let rank = dims.len();
    if rank != r.rank(cache) {
        let axes = r.rank(cache);
        return Err(Error::bad_file(format!("its update has {rank} axes, its cache {axes}")));
    }
    let steps = r.count_up("steps", &dims[axis])?;
    let mut along = vec![dims[axis].clone()];
    along.resize(rank - axis, Dim::from(1));
    let mut places = r.reshape("steps_reshape", steps, along)?;
    if let Some(first) = r.optional_input(2) {
        let first = r.cast_to("first", first, DataType::I64)?;
        let mut batch = r.dims(first);
        batch.resize(rank, Dim::from(1));
        let first = r.reshape("first_reshape", first, batch)?;
        places = r.binary("places", B::Add, first, places)?;
    }
    if circular {
        let size = r.dims(cache)[axis].clone();
        let size = amq_format::Elements { dims: vec![], values: vec![size] };
        let size = r.known(DataType::I64, size)?;
        places = r.binary("around", B::Modulo, places, size)?;
    }
    let places = r.expanded("indices", places, dims)?;
    let op = ScatterElements { axis: axis as u32, kind: ScatterKind::Replace.into() };
    let y = r.emit("", Op::ScatterElements(op), &[cache, places, update])?;
    r.give(0, y)
}
