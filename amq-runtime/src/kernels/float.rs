//! Products of float weights and activations: a chain of fused multiply-adds a row, in the order of
//! the columns.

use alloc::vec::Vec;

use super::lanes::Lanes;
use super::{BLOCK, Output, Target, Work};

/// Blocks of rows whose weights lie together, so that a product of one vector reads one stream.
pub(crate) const BLOCKS: usize = 4;

/// A column of a block.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Column(pub(crate) [f32; 16]);

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) taps: usize,
    /// Columns of a tap.
    pub(crate) columns: usize,
    /// `[four blocks, fewer at the end][tap][column][block]`
    pub(crate) lines: Vec<Column>,
}

/// Vectors, and where those of a window lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    /// `[place][column of a tap]`
    pub(crate) x: &'a [f32],
    /// `[vector][tap]`
    pub(crate) places: &'a [u32],
}

impl Weights {
    /// The weight at a row and column.
    pub(crate) fn weight(&self, row: usize, col: usize) -> f32 {
        let cols = self.taps * self.columns;
        let block = row / BLOCK;
        let first = block - block % BLOCKS;
        let together = (self.lines.len() / cols - first).min(BLOCKS);
        self.lines[first * cols + col * together + block % BLOCKS].0[row % BLOCK]
    }

    /// Multiplies each vector.
    pub(crate) fn multiply(&self, target: Target, vectors: Vectors<'_>, out: Output<'_>) {
        target.run(Product { weights: self, vectors, out });
    }
}

struct Product<'a> {
    weights: &'a Weights,
    vectors: Vectors<'a>,
    out: Output<'a>,
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        for place in 0..self.out.blocks.len().div_ceil(BLOCKS) {
            let first = self.out.block(place, BLOCKS);
            match (self.out.blocks.end - first).min(BLOCKS) {
                4 => self.blocks::<L, 4>(lanes, first),
                3 => self.blocks::<L, 3>(lanes, first),
                2 => self.blocks::<L, 2>(lanes, first),
                _ => self.blocks::<L, 1>(lanes, first),
            }
        }
    }
}

impl Product<'_> {
    /// Multiplies `R` blocks that lie together with all vectors: as many vectors and blocks at a time
    /// as accumulators fit in registers, and one vector with all blocks.
    #[inline(always)]
    fn blocks<L: Lanes, const R: usize>(&mut self, lanes: L, first: usize) {
        let vectors = self.vectors.places.len() / self.weights.taps;
        let mut vector = 0;
        macro_rules! tiles {
            ($n:literal) => {
                while vectors - vector >= $n {
                    if L::MANY_REGISTERS {
                        self.tile::<L, R, R, $n>(lanes, first, 0, vector);
                    } else {
                        for block in 0..R {
                            self.tile::<L, R, 1, $n>(lanes, first, block, vector);
                        }
                    }
                    vector += $n;
                }
            };
        }
        tiles!(6);
        tiles!(4);
        tiles!(2);
        while vector < vectors {
            self.tile::<L, R, R, 1>(lanes, first, 0, vector);
            vector += 1;
        }
    }

    /// Multiplies `B` of `R` blocks, from number `block` on, and `V` vectors.
    #[inline(always)]
    fn tile<L: Lanes, const R: usize, const B: usize, const V: usize>(
        &mut self,
        lanes: L,
        first: usize,
        block: usize,
        vector: usize,
    ) {
        let Weights { taps, columns, lines } = self.weights;
        let lines = &lines[first * taps * columns..][..R * taps * columns];
        let lines = lines.as_chunks::<R>().0;
        let mut sums = [[lanes.splat(0.0); V]; B];
        for (tap, lines) in lines.chunks_exact(*columns).enumerate() {
            let x: [&[f32]; V] = core::array::from_fn(|v| {
                let place = self.vectors.places[(vector + v) * taps + tap] as usize;
                &self.vectors.x[place * columns..][..lines.len()]
            });
            for j in 0..lines.len() {
                let line = &lines[j];
                let mut weights = [lanes.splat(0.0); B];
                for b in 0..B {
                    weights[b] = lanes.load(&line[block + b].0);
                }
                for v in 0..V {
                    let x = lanes.splat(x[v][j]);
                    for b in 0..B {
                        sums[b][v] = lanes.fma(weights[b], x, sums[b][v]);
                    }
                }
            }
        }
        for (b, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                self.out.write(lanes, first + block + b, vector + v, [sum]);
            }
        }
    }
}
