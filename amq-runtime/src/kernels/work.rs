//! What the products of all instruction sets share: how their work is run, in which order, and where
//! results go.

use core::ops::Range;

use super::lanes::Lanes;

/// Rows that kernels take together.
pub(crate) const BLOCK: usize = 16;

/// Work that is compiled for each instruction set. Mark `run` and what it calls
/// `#[inline(always)]`. Operations of lanes stand in no closure: one that is not inlined does not have
/// the instructions, and is many times slower.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// `a * b + sum`, fused; `a * b` where there is no sum yet.
#[inline(always)]
pub(crate) fn chain<L: Lanes>(lanes: L, a: L::F, b: L::F, sum: Option<L::F>) -> Option<L::F> {
    Some(match sum {
        Some(sum) => lanes.fma(a, b, sum),
        None => lanes.mul(a, b),
    })
}

/// Which end of its weights a product starts from. Weights that together are about as large as a
/// cache are evicted just before they are needed, if each step reads them in the same order; read
/// in turns from either end, most are still there. Results are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Forward,
    Backward,
}

impl Order {
    /// The other order.
    pub(crate) fn reversed(self) -> Order {
        match self {
            Order::Forward => Order::Backward,
            Order::Backward => Order::Forward,
        }
    }

    /// The block to visit at a place in this order.
    #[inline(always)]
    pub(crate) fn block(self, place: usize, blocks: usize) -> usize {
        match self {
            Order::Forward => place,
            Order::Backward => blocks - 1 - place,
        }
    }

    /// Bytes from weights in use to those that are needed some hundred cycles later, nearly.
    #[inline(always)]
    pub(super) fn ahead(self) -> isize {
        match self {
            Order::Forward => 8192,
            Order::Backward => -8192,
        }
    }
}

/// Where the results of a product go: row r of vector v to `data[r * row_stride + v * vector_stride]`.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    pub(crate) vector_stride: usize,
    /// What is added to the results of each row of the weights.
    pub(crate) bias: Option<&'a [f32]>,
    /// The blocks of rows that are computed, of the weights'; the first is written to row 0.
    pub(crate) blocks: Range<usize>,
    /// In which blocks of rows are computed.
    pub(crate) order: Order,
}

impl Output<'_> {
    /// The block to visit at a place, in units of `together` blocks.
    #[inline(always)]
    pub(super) fn block(&self, place: usize, together: usize) -> usize {
        let units = self.blocks.len().div_ceil(together);
        self.blocks.start + self.order.block(place, units) * together
    }

    /// Adds the bias of a block's first rows.
    #[inline(always)]
    fn bias<L: Lanes, const N: usize>(
        &self,
        lanes: L,
        block: usize,
        rows: usize,
        results: &mut [L::F; N],
    ) {
        let Some(bias) = self.bias else { return };
        let bias = &bias[block * BLOCK..][..rows];
        let mut values = [0.0; BLOCK];
        let bias = match bias.first_chunk() {
            Some(bias) => bias,
            None => {
                values[..rows].copy_from_slice(bias);
                &values
            }
        };
        let bias = lanes.load(bias);
        for result in results {
            *result = lanes.add(*result, bias);
        }
    }

    /// Writes the rows of a block for `N` vectors from number `vector` on.
    #[inline(always)]
    pub(super) fn write<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        block: usize,
        vector: usize,
        results: [L::F; N],
    ) {
        let first = (block - self.blocks.start) * BLOCK;
        let rows = BLOCK.min(self.rows - first);
        let mut results = results;
        self.bias(lanes, block, rows, &mut results);
        for result in &mut results {
            *result = lanes.canonical(*result);
        }
        let at = first * self.row_stride + vector * self.vector_stride;
        let data = &mut self.data[at..];
        if rows == BLOCK && self.row_stride == 1 {
            for (v, result) in results.into_iter().enumerate() {
                let to = &mut data[v * self.vector_stride..][..BLOCK];
                if let Some(to) = to.first_chunk_mut() {
                    lanes.store(result, to);
                }
            }
            return;
        }
        if rows == BLOCK
            && self.vector_stride == 1
            && let (fours, []) = results.as_chunks::<4>()
        {
            for (i, four) in fours.iter().enumerate() {
                lanes.store_across(*four, &mut data[4 * i..], self.row_stride);
            }
            return;
        }
        let mut values = [[0.0; BLOCK]; N];
        for (result, values) in results.into_iter().zip(&mut values) {
            lanes.store(result, values);
        }
        for row in 0..rows {
            for (v, values) in values.iter().enumerate() {
                data[row * self.row_stride + v * self.vector_stride] = values[row];
            }
        }
    }
}
