//! Products of float weights and activations: four partial sums a row, column j in sum j mod 4.

use alloc::vec::Vec;

use super::lanes::Lanes;
use super::{Output, Target, Work};

/// A column of a block.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Column(pub(crate) [f32; 16]);

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) cols: usize,
    /// `[block][column]`
    pub(crate) columns: Vec<Column>,
}

impl Weights {
    /// Multiplies each vector of x `[vector][column]`.
    pub(crate) fn multiply(&self, target: Target, x: &[f32], out: Output<'_>) {
        target.run(Product { weights: self, x, out });
    }
}

struct Product<'a> {
    weights: &'a Weights,
    x: &'a [f32],
    out: Output<'a>,
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let cols = self.weights.cols;
        let (blocks, ahead) = (self.weights.columns.len() / cols, self.out.order.ahead());
        for place in 0..blocks {
            let block = self.out.order.block(place, blocks);
            let columns = &self.weights.columns[block * cols..][..cols];
            let mut vector = 0;
            let mut x = self.x;
            if L::MANY_REGISTERS {
                while let Some((four, rest)) = x.split_at_checked(4 * cols) {
                    let four: [&[f32]; 4] = core::array::from_fn(|i| &four[i * cols..][..cols]);
                    self.write(lanes, block, vector, dot(lanes, columns, four, ahead));
                    (x, vector) = (rest, vector + 4);
                }
            }
            while let Some((one, rest)) = x.split_at_checked(cols) {
                self.write(lanes, block, vector, dot(lanes, columns, [one], ahead));
                (x, vector) = (rest, vector + 1);
            }
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn write<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        block: usize,
        vector: usize,
        results: [L::F; N],
    ) {
        for (i, result) in results.into_iter().enumerate() {
            self.out.write(lanes, block, vector + i, result);
        }
    }
}

#[inline(always)]
fn dot<L: Lanes, const N: usize>(
    lanes: L,
    columns: &[Column],
    x: [&[f32]; N],
    ahead: isize,
) -> [L::F; N] {
    let mut sums = [[lanes.splat(0.0); 4]; N];
    let (fours, rest) = columns.as_chunks::<4>();
    let chunks = x.map(|x| &x.as_chunks::<4>().0[..fours.len()]);
    for (four, columns) in fours.iter().enumerate() {
        for (part, column) in columns.iter().enumerate() {
            lanes.prefetch(core::ptr::from_ref(column).cast::<u8>().wrapping_offset(ahead));
            let column = lanes.load(&column.0);
            for v in 0..N {
                let term = lanes.mul(column, lanes.splat(chunks[v][four][part]));
                sums[v][part] = lanes.add(sums[v][part], term);
            }
        }
    }
    for (part, column) in rest.iter().enumerate() {
        let column = lanes.load(&column.0);
        for v in 0..N {
            let term = lanes.mul(column, lanes.splat(x[v][4 * fours.len() + part]));
            sums[v][part] = lanes.add(sums[v][part], term);
        }
    }
    let mut dots = [lanes.splat(0.0); N];
    for v in 0..N {
        let [a, b, c, d] = sums[v];
        dots[v] = lanes.add(lanes.add(a, b), lanes.add(c, d));
    }
    dots
}
