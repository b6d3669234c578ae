//! Softmax along an axis, and its logarithm.

use alloc::boxed::Box;

use amq_format::graph::Softmax;

use super::binary::larger;
use super::reduce::{LANES, in_lanes};
use crate::call::{Call, Kernel};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::math;

impl Compute for Softmax {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, axis) = (shapes.input(0)?, self.axis as usize);
        let inner = x.dims[axis + 1..].iter().product();
        Ok(Computation::Kernel(Box::new(Along { size: x.dims[axis], inner, log: self.log })))
    }
}

struct Along {
    size: usize,
    inner: usize,
    log: bool,
}

impl Kernel for Along {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let Along { size, inner, log } = *self;
        if y.is_empty() {
            return Ok(());
        }
        let blocks = x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner));
        for (x, y) in blocks {
            call.target.vectorize(
                #[inline(always)]
                || {
                    if inner == 1 {
                        y.copy_from_slice(x);
                        row(y, log);
                    } else {
                        columns(x, y, inner, log);
                    }
                },
            );
        }
        Ok(())
    }
}

/// One row in place: its maximum, exponentials, their sum in lanes, quotients.
#[inline(always)]
fn row(y: &mut [f32], log: bool) {
    let most = in_lanes(y, f32::NEG_INFINITY, |x| x, larger);
    y.iter_mut().for_each(|y| *y -= most);
    if log {
        let ln = math::ln(in_lanes(y, 0.0, math::exp, |a, b| a + b));
        y.iter_mut().for_each(|y| *y -= ln);
    } else {
        y.iter_mut().for_each(|y| *y = math::exp(*y));
        let sum = in_lanes(y, 0.0, |x| x, |a, b| a + b);
        y.iter_mut().for_each(|y| *y /= sum);
    }
}

/// Columns that are worked on side by side.
const BLOCK: usize = 16;

/// The same for each column, with the same sums.
#[inline(always)]
fn columns(x: &[f32], y: &mut [f32], inner: usize, log: bool) {
    for first in (0..inner).step_by(BLOCK) {
        let block = first..inner.min(first + BLOCK);
        let mut lanes = [[f32::NEG_INFINITY; BLOCK]; LANES];
        for (j, x) in x.chunks_exact(inner).enumerate() {
            let lane = lanes[j % LANES].iter_mut();
            lane.zip(&x[block.clone()]).for_each(|(lane, &x)| *lane = larger(*lane, x));
        }
        let most = combine(lanes, larger);
        let mut lanes = [[0.0; BLOCK]; LANES];
        for (j, (x, y)) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)).enumerate() {
            let columns = x[block.clone()].iter().zip(&mut y[block.clone()]).zip(&most);
            for (((&x, y), most), sum) in columns.zip(&mut lanes[j % LANES]) {
                *y = x - most;
                let power = math::exp(*y);
                *sum += power;
                *y = if log { *y } else { power };
            }
        }
        let sums = combine(lanes, |a, b| a + b);
        for y in y.chunks_exact_mut(inner) {
            for (y, &sum) in y[block.clone()].iter_mut().zip(&sums) {
                *y = if log { *y - math::ln(sum) } else { *y / sum };
            }
        }
    }
}

/// Lane i with lane i + 8, and so on with 4, 2 and 1.
#[inline(always)]
fn combine(mut lanes: [[f32; BLOCK]; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; BLOCK] {
    for half in [8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            low.iter_mut().zip(high).for_each(|(a, b)| *a = f(*a, *b));
        }
    }
    lanes[0]
}
