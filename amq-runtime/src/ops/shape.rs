//! Operators that move elements and compute nothing: Reshape, Transpose, Expand, Slice, and Dims,
//! which gives sizes as data.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use amq_format::graph::{DataType, Dim, Dims, Expand, Reshape, Slice, Transpose};

use super::walk::{self, Walk};
use crate::call::{Call, Kernel, mismatch};
use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, broadcast, list};
use crate::shape::Shape;
use crate::view::{DataMut, with_same_type};

/// Elements in the same order in another shape: the plan makes it share its input's memory.
pub(super) fn reshape(op: &Reshape, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(1, 1)?;
    let x = inputs.get(0)?;
    if let (Some(before), Some(after)) = (elements(&x.dims)?, elements(&op.dims)?) {
        let (from, to) = (list(&x.dims), list(&op.dims));
        ensure!(before == after, "{from} cannot become {to}: {before} elements, not {after}");
    }
    Ok(Fact { data_type: x.data_type, dims: op.dims.clone() })
}

/// The number of elements, where every size is a number.
fn elements(dims: &[Dim]) -> Result<Option<i64>, Fault> {
    let Some(sizes) = dims.iter().map(Dim::as_size).collect::<Option<Vec<i64>>>() else {
        return Ok(None);
    };
    let product = sizes.iter().try_fold(1i64, |product, &size| product.checked_mul(size));
    product.map(Some).ok_or_else(|| fault!("{} is too large", list(dims)))
}

pub(super) fn transpose(op: &Transpose, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(1, 1)?;
    let x = inputs.get(0)?;
    let mut axes = op.perm.clone();
    axes.sort_unstable();
    let all = axes.iter().copied().eq(0..x.dims.len() as u32);
    ensure!(all, "perm {} does not order the axes of {}", list(&op.perm), list(&x.dims));
    let dims = op.perm.iter().map(|&axis| x.dims[axis as usize].clone()).collect();
    Ok(Fact { data_type: x.data_type, dims })
}

/// None where only axes of size 1 change places.
pub(super) fn transpose_kernel(op: &Transpose, x: &Shape, y: &Shape) -> Option<Box<dyn Kernel>> {
    let moving = |axis: &&u32| x.dims[**axis as usize] != 1;
    if op.perm.iter().filter(moving).is_sorted() {
        return None;
    }
    let own = walk::strides(&x.dims);
    let strides: Vec<isize> = op.perm.iter().map(|&axis| own[axis as usize]).collect();
    Some(Box::new(Move(Walk::new(&y.dims, [&strides], [0]))))
}

pub(super) fn expand(op: &Expand, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(1, 1)?;
    let x = inputs.get(0)?;
    Ok(Fact { data_type: x.data_type, dims: broadcast(&x.dims, &op.dims)? })
}

/// Also what gives a state its first value.
pub(crate) fn expand_kernel(x: &Shape, y: &Shape) -> Box<dyn Kernel> {
    Box::new(Move(Walk::new(&y.dims, [&walk::broadcast_strides(&x.dims, &y.dims)], [0])))
}

pub(super) fn slice(op: &Slice, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(1, 1)?;
    let x = inputs.get(0)?;
    let mut dims = x.dims.clone();
    for (axis, range) in ranges(op, &x.dims)? {
        dims[axis] = range.count;
    }
    Ok(Fact { data_type: x.data_type, dims })
}

/// What a slice takes of one axis.
struct Range {
    first: Dim,
    step: i64,
    count: Dim,
}

/// Bounds from here on mean "to the end" whatever the size: exporters write the largest or smallest
/// integer of 32 or 64 bits.
const TO_THE_END: i64 = i32::MAX as i64;

fn ranges(op: &Slice, dims: &[Dim]) -> Result<Vec<(usize, Range)>, Fault> {
    let axes = op.axes.len();
    let lens = [op.starts.len(), op.ends.len(), op.steps.len()];
    ensure!(lens == [axes; 3], "axes, starts, ends and steps differ in number");
    let mut seen = [false; crate::infer::MAX_RANK];
    let mut ranges = Vec::with_capacity(axes);
    for (i, &axis) in op.axes.iter().enumerate() {
        let axis = axis as usize;
        let size = dims
            .get(axis)
            .filter(|_| axis < seen.len() && !seen[axis])
            .ok_or_else(|| fault!("axis {axis} of {} is wrong or repeated", list(dims)))?;
        seen[axis] = true;
        ranges.push((axis, range(size, &op.starts[i], &op.ends[i], op.steps[i])?));
    }
    Ok(ranges)
}

fn range(size: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<Range, Fault> {
    ensure!(step != 0, "a step is 0");
    let zero = Dim::from(0);
    // ONNX keeps a start within the axis for a negative step; only an end may lie before it. On an
    // empty axis, where most is -1 then, both do and nothing is taken.
    let (first, least, most) = if step > 0 {
        (zero.clone(), zero.clone(), size.clone())
    } else {
        let most = size.add(&Dim::from(-1))?;
        (zero.smaller(&most)?, Dim::from(-1), most)
    };
    let clamp = |bound: &Dim, low: &Dim| -> Result<Dim, Fault> {
        let number = bound.as_size();
        match (number, size.as_size()) {
            (Some(number), None) if number >= TO_THE_END => return Ok(most.clone()),
            (Some(number), None) if number <= -TO_THE_END => return Ok(low.clone()),
            _ => {}
        }
        // No size is as large as a quarter of all numbers, and sums of such do not overflow.
        let bound = &number
            .map_or(bound.clone(), |number| Dim::from(number.clamp(-i64::MAX / 4, i64::MAX / 4)));
        let from_start = if bound.larger(&zero)? == *bound {
            bound.clone()
        } else if bound.smaller(&Dim::from(-1))? == *bound {
            size.add(bound)?
        } else {
            return Err(fault!("the bound {bound} may be negative or not, which is not supported"));
        };
        // Expressions do not show that most is at least low.
        if from_start == most {
            return Ok(most.clone());
        }
        Ok(from_start.larger(low)?.smaller(&most)?)
    };
    let (first, last) = (clamp(start, &first)?, clamp(end, &least)?);
    let length = last.sub(&first)?.ceil_div(&Dim::from(step))?;
    Ok(Range { first, step, count: length.larger(&zero)? })
}

pub(super) fn slice_kernel(op: &Slice, x: &Shape, y: &Shape) -> Result<Box<dyn Kernel>, Fault> {
    let sizes: Vec<Dim> = x.dims.iter().map(|&size| Dim::from(size as i64)).collect();
    let mut strides = walk::strides(&x.dims);
    let mut start = 0usize;
    // Where nothing is taken the first entry may not exist, and nothing is read.
    if y.len() > 0 {
        for (axis, range) in ranges(op, &sizes)? {
            let first = range.first.as_size().and_then(|first| usize::try_from(first).ok());
            let first = first.ok_or_else(|| fault!("the bound {} is no number", range.first))?;
            start += first * strides[axis].unsigned_abs();
            let step = if y.dims[axis] > 1 { range.step as isize } else { 0 };
            strides[axis] *= step;
        }
    }
    Ok(Box::new(Move(Walk::new(&y.dims, [&strides], [start]))))
}

/// Copies what is walked.
struct Move(Walk<1>);

impl Kernel for Move {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.data(0)?, call.outputs.data()?);
        with_same_type!(x, y, |x, y| walk::copy(&self.0, x, y), else return Err(mismatch()));
        Ok(())
    }
}

pub(super) fn dims(op: &Dims, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(0, 0)?;
    Ok(Fact { data_type: DataType::I64, dims: vec![Dim::from(op.dims.len() as i64)] })
}

pub(super) fn dims_kernel(op: &Dims) -> Result<Box<dyn Kernel>, Fault> {
    let sizes = op.dims.iter().map(|dim| dim.as_size().ok_or_else(|| fault!("{dim} has no size")));
    Ok(Box::new(Sizes(sizes.collect::<Result<_, _>>()?)))
}

/// Gives sizes as data.
struct Sizes(Vec<i64>);

impl Kernel for Sizes {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match call.outputs.data()? {
            DataMut::I64(y) => y.copy_from_slice(&self.0),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}
