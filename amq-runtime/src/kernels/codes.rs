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
        if layout.taps * layout.segments() == 1 && offsets.is_none() && sums.is_none() {
            self.plain(lanes);
        } else {
            self.segments(lanes);
        }
    }
}

impl<const BITS: usize, const CODES: usize> Product<'_, BITS, CODES> {
    /// Multiplies all blocks where there is one segment and no offset.
    #[inline(always)]
    fn plain<L: Lanes>(mut self, lanes: L) {
        let Vectors { words, coefficients: scales, places, .. } = self.vectors;
        let (columns, pairs) = (self.weights.layout.columns as u32, self.weights.layout.pairs());
        let lines = self.weights.lines.as_chunks::<BITS>().0;
        let coefficients = self.weights.coefficients.as_chunks::<BITS>().0;
        let words = words.as_chunks::<CODES>().0;
        let ahead = self.out.order.ahead();
        for at in 0..self.out.blocks.len() {
            let block = self.out.block(at, 1);
            let lines = &lines[block * pairs..][..pairs];
            let coefficients = &coefficients[block];
            let mut vector = 0;
            macro_rules! tiles {
                ($n:literal) => {
                    while let Some(places) = places[vector..].first_chunk::<$n>() {
                        let places = places.map(|place| place as usize);
                        let words = places.map(|place| &words[place * pairs..][..pairs]);
                        let scales = places.map(|place| &scales[place]);
                        let part = Segment {
                            columns,
                            lines,
                            coefficients,
                            sums: None,
                            words,
                            scales,
                            ahead,
                        };
                        // A sum of segments begins at +0, which is not -0. No closure: it would not
                        // have the instruction set.
                        let mut results = [lanes.splat(0.0); $n];
                        for (result, sum) in results.iter_mut().zip(part.multiply(lanes)) {
                            if let Some(sum) = sum {
                                *result = lanes.add(*result, sum);
                            }
                        }
                        self.out.write_all(lanes, block, vector, results);
                        vector += $n;
                    }
                };
            }
            if L::MANY_REGISTERS && BITS * CODES <= 4 {
                tiles!(2);
            }
            tiles!(1);
        }
    }

    /// Multiplies all blocks, segment by segment.
    #[inline(always)]
    fn segments<L: Lanes>(mut self, lanes: L) {
        let layout = self.weights.layout;
        let ahead = self.out.order.ahead();
        let (taps, segments) = (layout.taps, layout.segments());
        let (pairs, groups) = (layout.pairs(), layout.groups());
        let lines = self.weights.lines.as_chunks::<BITS>().0;
        let coefficients = self.weights.coefficients.as_chunks::<BITS>().0;
        let sums = self.weights.sums.as_ref().map(|sums| sums.as_chunks::<BITS>().0);
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
                        let range = layout.pairs_of(segment);
                        let part = Segment {
                            columns: layout.columns_of(segment).len() as u32,
                            lines: &lines[range.clone()],
                            coefficients: &coefficients[group],
                            sums: sums.map(|sums| &sums[(block * taps + tap) * segments + segment]),
                            words: [&words[range]],
                            scales: [&self.vectors.coefficients[at]],
                            ahead,
                        };
                        let [mut sum] = part.multiply(lanes);
                        if let Some(offsets) = &self.weights.offsets {
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

/// A segment of a block of rows, and that of `V` vectors.
struct Segment<'a, const BITS: usize, const CODES: usize, const V: usize> {
    columns: u32,
    /// `[pair][plane]`
    lines: &'a [[[Line; 2]; BITS]],
    coefficients: &'a [[f32; BLOCK]; BITS],
    /// Sums of the codes of each plane, if the vector has a constant part.
    sums: Option<&'a [[f32; BLOCK]; BITS]>,
    /// `[pair][code]`, as many pairs as of lines.
    words: [&'a [[[u32; 2]; CODES]]; V],
    scales: [&'a Coefficients; V],
    /// Bytes from the lines in use to those to prefetch.
    ahead: isize,
}

/// Counts of differing bits: `[plane][vector][code]`.
type Counts<L, const CODES: usize, const V: usize, const N: usize> =
    [[[<L as Lanes>::U; CODES]; V]; N];

impl<const BITS: usize, const CODES: usize, const V: usize> Segment<'_, BITS, CODES, V> {
    #[inline(always)]
    fn multiply<L: Lanes>(&self, lanes: L) -> [Option<L::F>; V] {
        // Few enough planes at a time that the counters stay in registers.
        let most = if !L::MANY_REGISTERS {
            1
        } else if BITS * CODES <= 9 {
            BITS
        } else {
            2
        };
        let mut results = [None; V];
        let mut plane = 0;
        while plane < BITS {
            macro_rules! planes {
                ($n:literal) => {{
                    let counts: Counts<L, CODES, V, $n> = self.count(lanes, plane);
                    for i in 0..$n {
                        for v in 0..V {
                            let mut dot = None;
                            if let Some(sums) = self.sums {
                                let sum = lanes.load(&sums[plane + i]);
                                dot = Some(lanes.mul(lanes.splat(self.scales[v][0]), sum));
                            }
                            for j in 0..CODES {
                                let scale = lanes.splat(self.scales[v][1 + j]);
                                let term = lanes.less_twice(self.columns, counts[i][v][j]);
                                dot = chain(lanes, scale, term, dot);
                            }
                            if let Some(dot) = dot {
                                let coefficient = lanes.load(&self.coefficients[plane + i]);
                                results[v] = chain(lanes, coefficient, dot, results[v]);
                            }
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
        results
    }

    /// Counts the bits in which weights of planes `plane..plane + N` and codes differ.
    #[inline(always)]
    fn count<L: Lanes, const N: usize>(&self, lanes: L, plane: usize) -> Counts<L, CODES, V, N> {
        match self.lines {
            // An adder does not pay: it would be emptied after its first step.
            [lines] => {
                let lines = &lines[plane..plane + N];
                let mut counts = [[[lanes.splat_bits(0); CODES]; V]; N];
                for (v, words) in self.words.iter().enumerate() {
                    let of_vector = count_pair::<L, CODES, N>(lanes, lines, &words[0]);
                    for i in 0..N {
                        counts[i][v] = of_vector[i];
                    }
                }
                counts
            }
            _ => self.count_pairs(lanes, plane),
        }
    }

    #[inline(always)]
    fn count_pairs<L: Lanes, const N: usize>(
        &self,
        lanes: L,
        plane: usize,
    ) -> Counts<L, CODES, V, N> {
        let zero = lanes.splat_bits(0);
        let mut ones = [[[zero; CODES]; V]; N];
        let mut total = [[[zero; CODES]; V]; N];
        for (step, lines) in self.lines.chunks(L::COUNT_STEPS).enumerate() {
            let words = self.words.map(|words| &words[step * L::COUNT_STEPS..][..lines.len()]);
            let mut counts = [[[zero; CODES]; V]; N];
            for (pair, lines) in lines.iter().enumerate() {
                let lines = &lines[plane..plane + N];
                for i in 0..N {
                    let [b, both] = &lines[i];
                    for line in [b, both] {
                        lanes.prefetch(
                            core::ptr::from_ref(line).cast::<u8>().wrapping_offset(self.ahead),
                        );
                    }
                    let (b, both) = (lanes.load_bits(b), lanes.load_bits(both));
                    for v in 0..V {
                        for j in 0..CODES {
                            // Loaded one by one, words are broadcast by the load itself.
                            let [d, d_both] = &words[v][pair][j];
                            let (d, d_both) = (lanes.splat_bits(*d), lanes.splat_bits(*d_both));
                            let ones = &mut ones[i][v][j];
                            let sum = lanes.xor3(*ones, both, d_both);
                            let carry = lanes.carry(sum, *ones, lanes.xor(b, d));
                            counts[i][v][j] = lanes.add_counts(counts[i][v][j], carry);
                            *ones = sum;
                        }
                    }
                }
            }
            for i in 0..N {
                for v in 0..V {
                    for j in 0..CODES {
                        let counts = lanes.fold_counts(counts[i][v][j]);
                        total[i][v][j] = lanes.add_integers(total[i][v][j], counts);
                    }
                }
            }
        }
        for i in 0..N {
            for v in 0..V {
                for j in 0..CODES {
                    let odd = lanes.fold_counts(lanes.add_counts(zero, ones[i][v][j]));
                    let twice = lanes.add_integers(total[i][v][j], total[i][v][j]);
                    total[i][v][j] = lanes.add_integers(twice, odd);
                }
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
