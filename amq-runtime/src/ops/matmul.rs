//! Products of two tensors of activations.

use alloc::boxed::Box;

use amq_format::graph::MatMul;

use super::walk::{Walk, broadcast_strides};
use crate::call::{Call, Kernel};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::Fault;

impl Compute for MatMul {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (a, b, y) = (shapes.input(0)?, shapes.input(1)?, shapes.output()?);
        let (m, n, a_lead) = match a.dims.as_slice() {
            [lead @ .., m, n] => (*m, *n, lead),
            lead => (1, lead.first().copied().unwrap_or(1), &[][..]),
        };
        let (p, b_lead) = match b.dims.as_slice() {
            [lead @ .., _, p] => (*p, lead),
            _ => (1, &[][..]),
        };
        let axes = usize::from(a.dims.len() > 1) + usize::from(b.dims.len() > 1);
        let lead = &y.dims[..y.dims.len() - axes];
        let scaled = |dims: &[usize], by: usize| {
            let mut strides = broadcast_strides(dims, lead);
            strides.iter_mut().for_each(|stride| *stride *= by as isize);
            strides
        };
        let walk = Walk::new(lead, [&scaled(a_lead, m * n), &scaled(b_lead, n * p)], [0, 0]);
        Ok(Computation::Kernel(Box::new(Product { m, n, p, walk })))
    }
}

struct Product {
    m: usize,
    n: usize,
    p: usize,
    /// Through the pairs of matrices.
    walk: Walk<2>,
}

impl Kernel for Product {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (a, b, y) = (call.inputs.f32(0)?, call.inputs.f32(1)?, call.outputs.f32()?);
        let Product { m, n, p, walk } = self;
        if y.is_empty() {
            return Ok(());
        }
        let mut products = y.chunks_exact_mut(m * p);
        for [i, j] in walk.rows() {
            for (k, y) in products.by_ref().take(walk.inner).enumerate() {
                let [i, j] = [i + k * walk.strides[0] as usize, j + k * walk.strides[1] as usize];
                let (a, b) = (&a[i..i + m * n], &b[j..j + n * p]);
                call.target.vectorize(
                    #[inline(always)]
                    || multiply(a, b, y, *n, *p),
                );
            }
        }
        Ok(())
    }
}

/// Columns that are summed side by side.
const BLOCK: usize = 16;

/// `y = a b`. Each element is a sum of four partial sums, of the terms whose number is 0, 1, 2 or 3
/// modulo 4, each in ascending order: `(p0 + p1) + (p2 + p3)`.
#[inline(always)]
fn multiply(a: &[f32], b: &[f32], y: &mut [f32], n: usize, p: usize) {
    for (i, y) in y.chunks_exact_mut(p).enumerate() {
        let a = &a[i * n..(i + 1) * n];
        let mut blocks = y.chunks_exact_mut(BLOCK);
        let mut from = 0;
        for y in &mut blocks {
            columns::<BLOCK>(a, b, p, from, y);
            from += BLOCK;
        }
        for y in blocks.into_remainder().chunks_exact_mut(1) {
            columns::<1>(a, b, p, from, y);
            from += 1;
        }
    }
}

/// `W` columns of a row, from column `from`.
#[inline(always)]
fn columns<const W: usize>(a: &[f32], b: &[f32], p: usize, from: usize, y: &mut [f32]) {
    let mut partial = [[0.0f32; W]; 4];
    let (fours, rest) = a.as_chunks::<4>();
    let mut at = from;
    let mut add = |partial: &mut [f32; W], a: f32| {
        partial.iter_mut().zip(&b[at..at + W]).for_each(|(sum, b)| *sum += a * b);
        at += p;
    };
    for four in fours {
        for (partial, &a) in partial.iter_mut().zip(four) {
            add(partial, a);
        }
    }
    for (partial, &a) in partial.iter_mut().zip(rest) {
        add(partial, a);
    }
    let [p0, p1, p2, p3] = partial;
    for (i, y) in y.iter_mut().enumerate() {
        *y = (p0[i] + p1[i]) + (p2[i] + p3[i]);
    }
}
