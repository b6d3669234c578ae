//! Products of multi-bit weights with coded activations, by counting differing bits.
//!
//! Weights lie as `[block][pair of words][plane][2]` lines of a word a row. Of a pair, 64 columns,
//! the first word and the exclusive or of both are kept, of weights and activations alike. With b
//! for weights and d for activations, x = b ^ d, the bits to count, enter a carry-save adder two
//! words at a time: the sum bit is `ones ^ x_0 ^ x_1`, of which `x_0 ^ x_1` needs no x at all, and
//! the carry, which alone is counted, is `x_0` where they agree, else `ones`.

use alloc::vec::Vec;

use super::lanes::{Lanes, Line};
use super::layout::Layout;
use super::{BLOCK, Output, Target, Work, chain};

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) layout: Layout,
    pub(crate) bits: usize,
    /// `[block][tap][pair][plane]`
    pub(crate) lines: Vec<[Line; 2]>,
    /// `[block][group][plane]`
    pub(crate) coefficients: Vec<[f32; BLOCK]>,
    /// `[block][group]`
    pub(crate) offsets: Option<Vec<[f32; BLOCK]>>,
    /// `[block][tap][segment][plane]`: sums of the codes, where activations have an offset.
    pub(crate) sums: Option<Vec<[f32; BLOCK]>>,
}

/// The coefficients of a coded vector: that of the constant, 0 where there is none, and those of
/// its codes. NaN makes every result NaN.
pub(crate) type Coefficients = [f32; 5];

/// Coded vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    /// `[place][pair][code]`
    pub(crate) words: &'a [[u32; 2]],
    /// Codes a vector.
    pub(crate) codes: usize,
    /// `[place]`
    pub(crate) coefficients: &'a [Coefficients],
    /// `[place][segment]`: what the columns' offsets are multiplied by; empty without offsets.
    pub(crate) sums: &'a [f32],
    /// `[vector][tap]`
    pub(crate) places: &'a [u32],
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
        let Weights { layout, offsets, sums, .. } = self.weights;
        // Most products; the rest is known to be none of their business when they are compiled.
        let plain = layout.taps * layout.segments() == 1;
        if plain && offsets.is_none() && sums.is_none() {
            self.blocks::<L, true>(lanes);
        } else {
            self.blocks::<L, false>(lanes);
        }
    }
}

impl<const BITS: usize, const CODES: usize> Product<'_, BITS, CODES> {
    /// Multiplies all blocks; `PLAIN` says that there is one segment and no offset.
    #[inline(always)]
    fn blocks<L: Lanes, const PLAIN: bool>(mut self, lanes: L) {
        let layout = self.weights.layout;
        let ahead = self.out.order.ahead();
        let taps = if PLAIN { 1 } else { layout.taps };
        let segments = if PLAIN { 1 } else { layout.segments() };
        let (pairs, groups) = (layout.pairs(), layout.groups());
        let lines = self.weights.lines.as_chunks::<BITS>().0;
        let coefficients = self.weights.coefficients.as_chunks::<BITS>().0;
        let sums = self.weights.sums.as_ref().filter(|_| !PLAIN);
        let sums = sums.map(|sums| sums.as_chunks::<BITS>().0);
        let words = self.vectors.words.as_chunks::<CODES>().0;
        for place in 0..self.out.blocks.len() {
            let block = self.out.block(place, 1);
            let lines = &lines[block * taps * pairs..][..taps * pairs];
            for (vector, places) in self.vectors.places.chunks_exact(taps).enumerate() {
                let mut result = lanes.splat(0.0);
                let (mut group, mut left) = (block * groups, layout.shared);
                for (tap, lines) in lines.chunks_exact(pairs).enumerate() {
                    let at = places[tap] as usize;
                    let words = &words[at * pairs..][..pairs];
                    for segment in 0..segments {
                        let range = if PLAIN { 0..pairs } else { layout.pairs_of(segment) };
                        let part = Segment {
                            columns: layout.columns_of(segment).len() as u32,
                            lines: &lines[range.clone()],
                            coefficients: &coefficients[group],
                            sums: sums.map(|sums| &sums[(block * taps + tap) * segments + segment]),
                            words: &words[range],
                            scales: &self.vectors.coefficients[at],
                            ahead,
                        };
                        let mut sum = part.multiply::<L, PLAIN>(lanes);
                        if let Some(offsets) = self.weights.offsets.as_ref().filter(|_| !PLAIN) {
                            let by = self.vectors.sums[at * segments + segment];
                            let offset = lanes.load(&offsets[group]);
                            sum = chain(lanes, offset, lanes.splat(by), sum);
                        }
                        if let Some(sum) = sum {
                            result = lanes.add(result, sum);
                        }
                        left -= 1;
                        if left == 0 {
                            (group, left) = (group + 1, layout.shared);
                        }
                    }
                }
                self.out.write(lanes, block, vector, result);
            }
        }
    }
}

/// A segment of a block of rows, and that of a vector.
struct Segment<'a, const BITS: usize, const CODES: usize> {
    columns: u32,
    /// `[pair][plane]`
    lines: &'a [[[Line; 2]; BITS]],
    coefficients: &'a [[f32; BLOCK]; BITS],
    /// Sums of the codes of each plane, if the vector has a constant part.
    sums: Option<&'a [[f32; BLOCK]; BITS]>,
    /// `[pair][code]`
    words: &'a [[[u32; 2]; CODES]],
    scales: &'a Coefficients,
    /// Bytes from the lines in use to those to prefetch.
    ahead: isize,
}

impl<const BITS: usize, const CODES: usize> Segment<'_, BITS, CODES> {
    #[inline(always)]
    fn multiply<L: Lanes, const PLAIN: bool>(&self, lanes: L) -> Option<L::F> {
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
                    let counts = self.count::<L, $n, PLAIN>(lanes, plane);
                    for i in 0..$n {
                        let mut dot = None;
                        if let Some(sums) = self.sums.filter(|_| !PLAIN) {
                            let sum = lanes.load(&sums[plane + i]);
                            dot = Some(lanes.mul(lanes.splat(self.scales[0]), sum));
                        }
                        for j in 0..CODES {
                            let scale = lanes.splat(self.scales[1 + j]);
                            let term = lanes.less_twice(self.columns, counts[i][j]);
                            dot = chain(lanes, scale, term, dot);
                        }
                        if let Some(dot) = dot {
                            sum = chain(lanes, lanes.load(&self.coefficients[plane + i]), dot, sum);
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
        sum
    }

    /// Counts the bits in which weights of planes `plane..plane + N` and codes differ.
    #[inline(always)]
    fn count<L: Lanes, const N: usize, const PLAIN: bool>(
        &self,
        lanes: L,
        plane: usize,
    ) -> [[L::U; CODES]; N] {
        match (self.lines, self.words) {
            // An adder does not pay: it would be emptied after its first step.
            ([lines], [words]) if !PLAIN => count_pair(lanes, &lines[plane..plane + N], words),
            _ => self.count_pairs(lanes, plane),
        }
    }

    #[inline(always)]
    fn count_pairs<L: Lanes, const N: usize>(&self, lanes: L, plane: usize) -> [[L::U; CODES]; N] {
        let zero = lanes.splat_bits(0);
        let mut ones = [[zero; CODES]; N];
        let mut total = [[zero; CODES]; N];
        for (lines, words) in
            self.lines.chunks(L::COUNT_STEPS).zip(self.words.chunks(L::COUNT_STEPS))
        {
            let mut counts = [[zero; CODES]; N];
            for (lines, words) in lines.iter().zip(words) {
                let lines = &lines[plane..plane + N];
                for i in 0..N {
                    let [b, both] = &lines[i];
                    for line in [b, both] {
                        lanes.prefetch(
                            core::ptr::from_ref(line).cast::<u8>().wrapping_offset(self.ahead),
                        );
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
}

/// Counts differing bits in one pair of words.
#[inline(always)]
fn count_pair<L: Lanes, const CODES: usize, const N: usize>(
    lanes: L,
    lines: &[[Line; 2]],
    words: &[[u32; 2]; CODES],
) -> [[L::U; CODES]; N] {
    let zero = lanes.splat_bits(0);
    let mut total = [[zero; CODES]; N];
    for i in 0..N {
        let [b, both] = &lines[i];
        let (b, both) = (lanes.load_bits(b), lanes.load_bits(both));
        for j in 0..CODES {
            let [d, d_both] = &words[j];
            let first = lanes.xor(b, lanes.splat_bits(*d));
            let second = lanes.xor3(first, both, lanes.splat_bits(*d_both));
            let counts = lanes.add_counts(lanes.add_counts(zero, first), second);
            total[i][j] = lanes.fold_counts(counts);
        }
    }
    total
}
