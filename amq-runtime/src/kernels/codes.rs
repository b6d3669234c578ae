//! Products of multi-bit weights with coded activations, by counting differing bits.
//!
//! Weights lie as `[block][pair of words][plane][2]` lines of a word a row. Of a pair, 64 columns,
//! the first word and the exclusive or of both are kept, of weights and activations alike. With b
//! for weights and d for activations, x = b ^ d, the bits to count, enter a carry-save adder two
//! words at a time: the sum bit is `ones ^ x_0 ^ x_1`, of which `x_0 ^ x_1` needs no x at all, and
//! the carry, which alone is counted, is `x_0` where they agree, else `ones`.

use alloc::vec::Vec;

use super::lanes::{Lanes, Line};
use super::{BLOCK, Output, Target, Work};

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) cols: usize,
    /// Columns a group.
    pub(crate) group: usize,
    pub(crate) bits: usize,
    /// `[block][pair][plane]`
    pub(crate) lines: Vec<[Line; 2]>,
    /// `[block][group][plane]`
    pub(crate) coefficients: Vec<[f32; BLOCK]>,
    /// `[block][group]`
    pub(crate) offsets: Option<Vec<[f32; BLOCK]>>,
}

/// Coded vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    /// `[vector][set][pair][code]`. With one set the product is over all columns. With two, it is
    /// over the columns where the sets agree: it is the mean of the products with the sets, whose
    /// bits are opposite in the other columns.
    pub(crate) words: &'a [[u32; 2]],
    /// One or two.
    pub(crate) sets: usize,
    /// Codes a vector.
    pub(crate) codes: usize,
    /// `[vector]`; NaN makes every result NaN.
    pub(crate) coefficients: &'a [[f32; 4]],
    /// `[vector][group]`: what the columns' offsets are multiplied by; empty without offsets.
    pub(crate) sums: &'a [f32],
}

impl Weights {
    /// Multiplies each vector.
    pub(crate) fn multiply(&self, target: Target, vectors: Vectors<'_>, out: Output<'_>) {
        macro_rules! choose {
            ($(($bits:literal, $codes:literal))*) => {
                match (self.bits, vectors.codes) {
                    $(($bits, $codes) => {
                        target.run(Product::<$bits, $codes> { weights: self, vectors, out })
                    })*
                    // Packing and coding make no others.
                    _ => {}
                }
            };
        }
        choose!((1, 1)(1, 2)(1, 3)(1, 4)(2, 1)(2, 2)(2, 3)(2, 4)(3, 1)(3, 2)(3, 3)(3, 4)(4, 1)(
            4, 2
        )(4, 3)(4, 4));
    }
}

struct Product<'a, const BITS: usize, const CODES: usize> {
    weights: &'a Weights,
    vectors: Vectors<'a>,
    out: Output<'a>,
}

impl<const BITS: usize, const CODES: usize> Work for Product<'_, BITS, CODES> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Weights { cols, group, ref offsets, .. } = *self.weights;
        // Most products; the rest is known to be none of their business when they are compiled.
        if group >= cols && self.vectors.sets == 1 && offsets.is_none() {
            self.blocks::<L, true>(lanes);
        } else {
            self.blocks::<L, false>(lanes);
        }
    }
}

impl<const BITS: usize, const CODES: usize> Product<'_, BITS, CODES> {
    /// Multiplies all blocks; `PLAIN` says that there is one group, one set and no offset.
    #[inline(always)]
    fn blocks<L: Lanes, const PLAIN: bool>(mut self, lanes: L) {
        let Weights { cols, group, .. } = *self.weights;
        let (group, sets) = if PLAIN { (cols, 1) } else { (group, self.vectors.sets) };
        let ahead = self.out.order.ahead();
        let pairs = cols.div_ceil(64);
        let groups = if PLAIN { 1 } else { cols.div_ceil(group) };
        let lines = self.weights.lines.as_chunks::<BITS>().0;
        let coefficients = self.weights.coefficients.as_chunks::<BITS>().0;
        let blocks = lines.len() / pairs;
        let words = self.vectors.words.as_chunks::<CODES>().0;
        let vectors = words.chunks_exact(pairs * sets).zip(self.vectors.coefficients);
        for place in 0..blocks {
            let block = self.out.order.block(place, blocks);
            let lines = &lines[block * pairs..][..pairs];
            let coefficients = &coefficients[block * groups..][..groups];
            let offsets = match &self.weights.offsets {
                Some(offsets) if !PLAIN => Some(&offsets[block * groups..][..groups]),
                _ => None,
            };
            for (vector, (words, scales)) in vectors.clone().enumerate() {
                let (first, second) = words.split_at(pairs);
                let second = if PLAIN || second.is_empty() { None } else { Some(second) };
                let rows = Block { lines, coefficients, sets: (first, second), scales, ahead };
                let result = rows.multiply(lanes, cols, group, |group| {
                    let offset = lanes.load(&offsets?[group]);
                    let sum = self.vectors.sums[vector * groups + group];
                    Some(lanes.mul(offset, lanes.splat(sum)))
                });
                self.out.write(lanes, block, vector, result);
            }
        }
    }
}

/// Words of one coded vector: `[pair][code]`.
type Words<'a, const CODES: usize> = &'a [[[u32; 2]; CODES]];

/// A block of rows and a vector.
struct Block<'a, const BITS: usize, const CODES: usize> {
    lines: &'a [[[Line; 2]; BITS]],
    coefficients: &'a [[[f32; BLOCK]; BITS]],
    sets: (Words<'a, CODES>, Option<Words<'a, CODES>>),
    scales: &'a [f32; 4],
    /// Bytes from the lines in use to those to prefetch.
    ahead: isize,
}

impl<const BITS: usize, const CODES: usize> Block<'_, BITS, CODES> {
    #[inline(always)]
    fn multiply<L: Lanes>(
        &self,
        lanes: L,
        cols: usize,
        group: usize,
        offset: impl Fn(usize) -> Option<L::F>,
    ) -> L::F {
        let mut total = None;
        // The pairs of a group.
        let pairs = group.min(cols).div_ceil(64);
        let groups = self.lines.chunks(pairs).zip(self.sets.0.chunks(pairs));
        let groups = groups.zip(self.coefficients);
        for (index, ((lines, first), coefficients)) in groups.enumerate() {
            let n = group.min(cols - index * group) as u32;
            let second = self.sets.1.map(|set| &set[index * pairs..][..lines.len()]);
            // Few enough planes at a time that the counters stay in registers.
            let most = if !L::MANY_REGISTERS {
                1
            } else if BITS * CODES <= 9 {
                BITS
            } else {
                2
            };
            let mut sum = None;
            let mut plane = 0;
            while plane < BITS {
                macro_rules! planes {
                    ($n:literal) => {{
                        let counts =
                            count::<L, BITS, CODES, $n>(lanes, lines, first, plane, self.ahead);
                        let other = match second {
                            None => counts,
                            Some(set) => {
                                count::<L, BITS, CODES, $n>(lanes, lines, set, plane, self.ahead)
                            }
                        };
                        for i in 0..$n {
                            let mut dot = None;
                            for j in 0..CODES {
                                let differing = lanes.add_integers(counts[i][j], other[i][j]);
                                let term = lanes.mul(
                                    lanes.splat(self.scales[j]),
                                    lanes.difference(n, differing),
                                );
                                dot = add(lanes, dot, Some(term));
                            }
                            if let Some(dot) = dot {
                                let coefficient = lanes.load(&coefficients[plane + i]);
                                sum = add(lanes, sum, Some(lanes.mul(coefficient, dot)));
                            }
                        }
                        plane += $n;
                    }};
                }
                match most.min(BITS - plane) {
                    4 => planes!(4),
                    3 => planes!(3),
                    2 => planes!(2),
                    _ => planes!(1),
                }
            }
            sum = add(lanes, sum, offset(index));
            total = add(lanes, total, sum);
        }
        total.unwrap_or(lanes.splat(0.0))
    }
}

/// `a + b`, where both are there.
#[inline(always)]
pub(super) fn add<L: Lanes>(lanes: L, a: Option<L::F>, b: Option<L::F>) -> Option<L::F> {
    match (a, b) {
        (Some(a), Some(b)) => Some(lanes.add(a, b)),
        (a, b) => a.or(b),
    }
}

/// Counts the bits in which weights of planes `plane..plane + N` and codes differ.
#[inline(always)]
fn count<L: Lanes, const BITS: usize, const CODES: usize, const N: usize>(
    lanes: L,
    lines: &[[[Line; 2]; BITS]],
    words: Words<'_, CODES>,
    plane: usize,
    ahead: isize,
) -> [[L::U; CODES]; N] {
    let zero = lanes.splat_bits(0);
    let mut ones = [[zero; CODES]; N];
    let mut total = [[zero; CODES]; N];
    for (lines, words) in lines.chunks(L::COUNT_STEPS).zip(words.chunks(L::COUNT_STEPS)) {
        let mut counts = [[zero; CODES]; N];
        for (lines, words) in lines.iter().zip(words) {
            let lines = &lines[plane..plane + N];
            for i in 0..N {
                let [b, both] = &lines[i];
                for line in [b, both] {
                    lanes.prefetch(core::ptr::from_ref(line).cast::<u8>().wrapping_offset(ahead));
                }
                let (b, both) = (lanes.load_bits(b), lanes.load_bits(both));
                for j in 0..CODES {
                    // Loaded one by one, words are broadcast by the load itself.
                    let [d, d_both] = &words[j];
                    let (d, d_both) = (lanes.splat_bits(*d), lanes.splat_bits(*d_both));
                    let sum = lanes.xor3(ones[i][j], both, d_both);
                    let carry = lanes.carry(sum, ones[i][j], lanes.xor(b, d));
                    counts[i][j] = lanes.add_counts(counts[i][j], carry);
                    ones[i][j] = sum;
                }
            }
        }
        for i in 0..N {
            for j in 0..CODES {
                total[i][j] = lanes.add_integers(total[i][j], lanes.fold_counts(counts[i][j]));
            }
        }
    }
    for i in 0..N {
        for j in 0..CODES {
            let odd = lanes.fold_counts(lanes.add_counts(zero, ones[i][j]));
            let twice = lanes.add_integers(total[i][j], total[i][j]);
            total[i][j] = lanes.add_integers(twice, odd);
        }
    }
    total
}
