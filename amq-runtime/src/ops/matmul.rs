//! Products of two tensors of activations.
#![allow(clippy::needless_range_loop, reason = "indices as in the formulas")]

use alloc::boxed::Box;

use amq_format::graph::MatMul;

use super::walk::{Walk, broadcast_strides};
use crate::call::{Call, Kernel};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::lanes::Lanes;
use crate::kernels::{BLOCK, Work};

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
                call.target.run(Chains { a, b, y, n: *n, p: *p });
            }
        }
        Ok(())
    }
}

/// `y = a b`: each element is a chain of fused multiply-adds from +0, in the order of the terms.
struct Chains<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
    n: usize,
    p: usize,
}

impl Work for Chains<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let rows = self.y.len() / self.p;
        let mut row = 0;
        macro_rules! rows {
            ($rows:literal, $blocks:literal) => {
                while rows - row >= $rows {
                    self.rows::<L, $rows, $blocks>(lanes, row);
                    row += $rows;
                }
            };
        }
        if L::MANY_REGISTERS {
            rows!(6, 2);
        } else {
            rows!(6, 1);
        }
        rows!(1, 4);
    }
}

impl Chains<'_> {
    /// `R` rows, `B` blocks of columns at a time and those that are left one by one: as many
    /// accumulators as hide the time that one takes.
    #[inline(always)]
    fn rows<L: Lanes, const R: usize, const B: usize>(&mut self, lanes: L, row: usize) {
        let mut from = 0;
        while from + B * BLOCK <= self.p {
            self.tile::<L, R, B>(lanes, row, from);
            from += B * BLOCK;
        }
        while from < self.p {
            self.tile::<L, R, 1>(lanes, row, from);
            from += BLOCK;
        }
    }

    #[inline(always)]
    fn tile<L: Lanes, const R: usize, const B: usize>(
        &mut self,
        lanes: L,
        row: usize,
        from: usize,
    ) {
        let Chains { a, b, n, p, .. } = *self;
        let a: [&[f32]; R] = core::array::from_fn(|r| &a[(row + r) * n..][..n]);
        let width = (p - from).min(B * BLOCK);
        let mut sums = [[lanes.splat(0.0); R]; B];
        for j in 0..n {
            let line = &b[j * p + from..][..width];
            let mut terms = [lanes.splat(0.0); B];
            for block in 0..B {
                terms[block] = match line[block * BLOCK..].first_chunk() {
                    Some(whole) => lanes.load(whole),
                    None => {
                        let mut part = [0.0; BLOCK];
                        part[..width].copy_from_slice(line);
                        lanes.load(&part)
                    }
                };
            }
            for r in 0..R {
                let x = lanes.splat(a[r][j]);
                for block in 0..B {
                    sums[block][r] = lanes.fma(x, terms[block], sums[block][r]);
                }
            }
        }
        for r in 0..R {
            for block in 0..B {
                let mut values = [0.0; BLOCK];
                lanes.store(sums[block][r], &mut values);
                let to = &mut self.y[(row + r) * p + from..][..width][block * BLOCK..];
                let count = to.len().min(BLOCK);
                to[..count].copy_from_slice(&values[..count]);
            }
        }
    }
}
