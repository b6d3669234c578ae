//! Reductions over axes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::{DataType, Reduce, ReduceKind};

use super::binary::{Integer, larger, smaller};
use super::walk::{self, Walk};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::view::{Data, DataMut};

impl Compute for Reduce {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let x = shapes.input(0)?;
        let kept = x.dims.len() - self.axes.len();
        // The order of sums must not follow from the sizes, which batches change: only the numbers of
        // the axes decide.
        let last = self.axes.first().is_none_or(|&axis| axis as usize == kept);
        let count = self.axes.iter().map(|&axis| x.dims[axis as usize]).product();
        if last && x.data_type == DataType::F32 {
            return Ok(Computation::Kernel(Box::new(Rows { kind: self.kind(), count })));
        }
        let reduced = |axis: usize| self.axes.contains(&(axis as u32));
        let sizes: Vec<usize> =
            (0..x.dims.len()).map(|axis| if reduced(axis) { 1 } else { x.dims[axis] }).collect();
        let to = walk::broadcast_strides(&sizes, &x.dims);
        // An axis of size 1 that stays has a stride that no one uses.
        let walk = Walk::new(&x.dims, [&walk::strides(&x.dims), &to], [0, 0]);
        Ok(Computation::Kernel(Box::new(Scattered { kind: self.kind(), count, walk })))
    }
}

/// What a reduction starts from.
fn start(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Sum | ReduceKind::Mean => 0.0,
        ReduceKind::Product => 1.0,
        ReduceKind::Max => f32::NEG_INFINITY,
        ReduceKind::Min => f32::INFINITY,
    }
}

pub(super) const LANES: usize = 16;

/// Combines elements in 16 lanes, element j in lane j mod 16, each in ascending order; then lane i
/// with lane i + 8, and so on with 4, 2 and 1.
#[inline(always)]
pub(super) fn in_lanes(
    x: &[f32],
    start: f32,
    map: impl Fn(f32) -> f32,
    combine: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane = combine(*lane, map(x)));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane = combine(*lane, map(x)));
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// As [`in_lanes`] of each row, of at most as many elements as there are lanes: 16 rows at once, each step
/// of theirs one of vectors.
#[inline(always)]
fn short_rows(
    x: &[f32],
    y: &mut [f32],
    count: usize,
    start: f32,
    combine: impl Fn(f32, f32) -> f32,
) {
    const ROWS: usize = 16;
    for (x, y) in x.chunks(ROWS * count).zip(y.chunks_mut(ROWS)) {
        let mut lanes = [[start; ROWS]; LANES];
        for (r, row) in x.chunks_exact(count).enumerate() {
            lanes.iter_mut().zip(row).for_each(|(lane, &x)| lane[r] = combine(start, x));
        }
        for half in [8, 4, 2, 1] {
            let (low, high) = lanes.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                low.iter_mut().zip(high).for_each(|(low, &mut high)| *low = combine(*low, high));
            }
        }
        y.copy_from_slice(&lanes[0][..y.len()]);
    }
}

/// The reduced axes are the last: each result is of a row, combined in lanes.
struct Rows {
    kind: ReduceKind,
    count: usize,
}

impl Kernel for Rows {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let Rows { kind, count } = *self;
        macro_rules! each {
            ($f:expr) => {
                call.target.vectorize(
                    #[inline(always)]
                    || {
                        if (1..=LANES).contains(&count) {
                            return short_rows(x, y, count, start(kind), $f);
                        }
                        for (i, y) in y.iter_mut().enumerate() {
                            *y = in_lanes(&x[i * count..][..count], start(kind), |x| x, $f);
                        }
                    },
                )
            };
        }
        match kind {
            ReduceKind::Sum | ReduceKind::Mean => each!(|a, b| a + b),
            ReduceKind::Product => each!(|a, b| a * b),
            ReduceKind::Max => each!(larger),
            ReduceKind::Min => each!(smaller),
        }
        finish(kind, count, y);
        Ok(())
    }
}

/// Other axes are reduced: each result is combined one by one, in ascending order.
struct Scattered {
    kind: ReduceKind,
    count: usize,
    walk: Walk<2>,
}

impl Kernel for Scattered {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match (call.inputs.data(0)?, call.outputs.data()?) {
            (Data::F32(x), DataMut::F32(y)) => {
                call.target.vectorize(
                    #[inline(always)]
                    || self.floats(x, y),
                );
                finish(self.kind, self.count, y);
            }
            (Data::I64(x), DataMut::I64(y)) => self.integers(x, y),
            (Data::I32(x), DataMut::I32(y)) => self.integers(x, y),
            (Data::U8(x), DataMut::U8(y)) => self.integers(x, y),
            (Data::I8(x), DataMut::I8(y)) => self.integers(x, y),
            (Data::I16(x), DataMut::I16(y)) => self.integers(x, y),
            (Data::U16(x), DataMut::U16(y)) => self.integers(x, y),
            (Data::U32(x), DataMut::U32(y)) => self.integers(x, y),
            (Data::U64(x), DataMut::U64(y)) => self.integers(x, y),
            (Data::Bool(x), DataMut::Bool(y)) => {
                let all = self.kind == ReduceKind::Min;
                y.fill(u8::from(all));
                scatter(&self.walk, x, y, |a, b| if all { a & b } else { a | b });
            }
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}

impl Scattered {
    #[inline(always)]
    fn floats(&self, x: &[f32], y: &mut [f32]) {
        y.fill(start(self.kind));
        match self.kind {
            ReduceKind::Sum | ReduceKind::Mean => scatter(&self.walk, x, y, |a, b| a + b),
            ReduceKind::Product => scatter(&self.walk, x, y, |a, b| a * b),
            ReduceKind::Max => scatter(&self.walk, x, y, larger),
            ReduceKind::Min => scatter(&self.walk, x, y, smaller),
        }
    }

    fn integers<T: Integer>(&self, x: &[T], y: &mut [T]) {
        let (start, combine): (T, fn(T, T) -> T) = match self.kind {
            ReduceKind::Sum | ReduceKind::Mean => (T::default(), T::add),
            ReduceKind::Product => (T::ONE, T::mul),
            ReduceKind::Max => (T::LEAST, T::max),
            ReduceKind::Min => (T::MOST, T::min),
        };
        y.fill(start);
        scatter(&self.walk, x, y, combine);
    }
}

#[inline(always)]
fn scatter<T: Copy>(walk: &Walk<2>, x: &[T], y: &mut [T], f: impl Fn(T, T) -> T) {
    let inner = walk.inner;
    for [i, j] in walk.rows() {
        let x = &x[i..i + inner];
        if walk.strides[1] == 0 {
            y[j] = x.iter().fold(y[j], |sum, &x| f(sum, x));
        } else {
            y[j..j + inner].iter_mut().zip(x).for_each(|(y, &x)| *y = f(*y, x));
        }
    }
}

fn finish(kind: ReduceKind, count: usize, y: &mut [f32]) {
    if kind == ReduceKind::Mean {
        y.iter_mut().for_each(|y| *y /= count as f32);
    }
}
