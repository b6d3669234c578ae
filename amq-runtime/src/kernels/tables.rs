//! Products of multi-bit weights with 8-bit activations, by tables of signed sums.

use alloc::vec::Vec;

use super::codes::add;
use super::lanes::{ENTRY_BIAS, Lanes, Line, Tables};
use super::{BLOCK, Output, Target, Work};

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) cols: usize,
    /// Columns a group.
    pub(crate) group: usize,
    pub(crate) bits: usize,
    /// `[block][word][plane]`, arranged for the instruction set.
    pub(crate) lines: Vec<Line>,
    /// `[block][group][plane]`
    pub(crate) coefficients: Vec<[f32; BLOCK]>,
    /// `[block][group]`
    pub(crate) offsets: Option<Vec<[f32; BLOCK]>>,
}

/// Vectors as tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    /// `[vector][word]`
    pub(crate) tables: &'a [Tables],
    /// `[vector]`; 0 makes every result 0, NaN makes it NaN.
    pub(crate) scales: &'a [f32],
    /// `[vector][group]`: what the columns' offsets are multiplied by; empty without offsets.
    pub(crate) sums: &'a [f32],
}

impl Weights {
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
        let words = self.weights.cols.div_ceil(32);
        let blocks = self.weights.lines.len() / (words * self.weights.bits);
        let vectors = self.vectors.scales.len();
        for place in 0..blocks {
            let block = self.out.order.block(place, blocks);
            let mut vector = 0;
            if L::MANY_REGISTERS {
                while vector + 4 <= vectors {
                    self.vectors::<L, 4>(lanes, block, vector);
                    vector += 4;
                }
            }
            while vector < vectors {
                self.vectors::<L, 1>(lanes, block, vector);
                vector += 1;
            }
        }
    }
}

impl Product<'_> {
    /// Multiplies a block of rows and `N` vectors.
    #[inline(always)]
    fn vectors<L: Lanes, const N: usize>(&mut self, lanes: L, block: usize, vector: usize) {
        let Weights { cols, group, bits, .. } = *self.weights;
        let ahead = self.out.order.ahead();
        let words = cols.div_ceil(32);
        let groups = cols.div_ceil(group);
        let lines = &self.weights.lines[block * words * bits..][..words * bits];
        let tables: [&[Tables]; N] =
            core::array::from_fn(|i| &self.vectors.tables[(vector + i) * words..][..words]);
        let mut total = [None; N];
        for index in 0..groups {
            let start = index * group / 32;
            let end = words.min(start + group.div_ceil(32));
            let lines = &lines[start * bits..end * bits];
            let tables = tables.map(|tables| &tables[start..end]);
            let bias = (end - start) as u32 * 8 * u32::from(ENTRY_BIAS);
            let at = block * groups + index;
            let coefficients = &self.weights.coefficients[at * bits..][..bits];
            // Few enough planes at a time that the sums stay in registers.
            let most = match (L::MANY_REGISTERS, N) {
                (true, 1) => 4,
                (false, _) => 1,
                _ => 2,
            };
            let mut sum = [None; N];
            let mut plane = 0;
            while plane < bits {
                macro_rules! planes {
                    ($n:literal) => {{
                        let sums = look_up::<L, $n, N>(lanes, lines, bits, plane, tables, ahead);
                        for i in 0..$n {
                            let coefficient = lanes.load(&coefficients[plane + i]);
                            for v in 0..N {
                                let dot = lanes.excess(sums[i][v], bias);
                                sum[v] = add(lanes, sum[v], Some(lanes.mul(coefficient, dot)));
                            }
                        }
                        plane += $n;
                    }};
                }
                match most.min(bits - plane) {
                    4 => planes!(4),
                    3 => planes!(3),
                    2 => planes!(2),
                    _ => planes!(1),
                }
            }
            for v in 0..N {
                if let Some(offsets) = &self.weights.offsets {
                    let by = lanes.splat(self.vectors.sums[(vector + v) * groups + index]);
                    sum[v] = add(lanes, sum[v], Some(lanes.mul(lanes.load(&offsets[at]), by)));
                }
                total[v] = add(lanes, total[v], sum[v]);
            }
        }
        for (v, total) in total.into_iter().enumerate() {
            let scale = self.vectors.scales[vector + v];
            let result = match total {
                Some(total) if scale != 0.0 => lanes.mul(total, lanes.splat(scale)),
                _ => lanes.splat(0.0),
            };
            self.out.write(lanes, block, vector + v, result);
        }
    }
}

/// Sums the entries, biased, that weights of planes `plane..plane + N` select from each vector.
#[inline(always)]
fn look_up<L: Lanes, const N: usize, const V: usize>(
    lanes: L,
    lines: &[Line],
    bits: usize,
    plane: usize,
    tables: [&[Tables]; V],
    ahead: isize,
) -> [[L::U; V]; N] {
    let mut total = [[lanes.splat_bits(0); V]; N];
    for (step, lines) in lines.chunks(L::SUM_STEPS.saturating_mul(bits)).enumerate() {
        let count = lines.len() / bits;
        let tables = tables.map(|tables| &tables[step * L::SUM_STEPS..][..count]);
        let mut sums = [[lanes.zero_sum(); V]; N];
        for (word, lines) in lines.chunks_exact(bits).enumerate() {
            let lines = &lines[plane..plane + N];
            for i in 0..N {
                let line = core::ptr::from_ref(&lines[i]).cast::<u8>();
                lanes.prefetch(line.wrapping_offset(ahead));
                let index = lanes.index(&lines[i]);
                for v in 0..V {
                    sums[i][v] = lanes.look_up(sums[i][v], index, &tables[v][word]);
                }
            }
        }
        for i in 0..N {
            for v in 0..V {
                total[i][v] = lanes.add_integers(total[i][v], lanes.fold_sum(sums[i][v]));
            }
        }
    }
    total
}
