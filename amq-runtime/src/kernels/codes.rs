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
    /// Whether rows are one segment without offset or constant, as most are.
    pub(crate) plain: bool,
    /// `[blocks that lie together, see `together`][tap][pair][block][plane]`
    pub(crate) lines: Vec<[Line; 2]>,
    /// `[block][group][plane]`
    pub(crate) coefficients: Vec<[f32; BLOCK]>,
    /// `[block][group]`
    pub(crate) offsets: Option<Vec<[f32; BLOCK]>>,
    /// `[block][tap][segment][plane]`: sums of the codes, where activations have an offset.
    pub(crate) sums: Option<Vec<[f32; BLOCK]>>,
}

/// Blocks of plain rows that lie together, fewer at the end, where registers are many: a product of one
/// vector is bound by loads, and they share those of its words.
const BLOCKS: usize = 2;

/// Blocks of rows that lie together.
pub(crate) fn together(plain: bool, target: Target) -> usize {
    if plain && target.has_many_registers() { BLOCKS } else { 1 }
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
        // The rest is known to be none of their business when they are compiled.
        if self.weights.plain {
            self.plain(lanes);
        } else {
            self.segments(lanes);
        }
    }
}

impl<const BITS: usize, const CODES: usize> Product<'_, BITS, CODES> {
    /// Multiplies all blocks of plain weights.
    #[inline(always)]
    fn plain<L: Lanes>(mut self, lanes: L) {
        let together = if L::MANY_REGISTERS { BLOCKS } else { 1 };
        for place in 0..self.out.blocks.len().div_ceil(together) {
            let first = self.out.block(place, together);
            if L::MANY_REGISTERS && first + 1 < self.out.blocks.end {
                self.blocks::<L, BLOCKS>(lanes, first);
            } else {
                self.blocks::<L, 1>(lanes, first);
            }
        }
    }

    /// Multiplies `R` blocks that lie together with all vectors, as many of either at a time as counters
    /// fit in registers.
    #[inline(always)]
    fn blocks<L: Lanes, const R: usize>(&mut self, lanes: L, first: usize) {
        let vectors = self.vectors.places.len();
        let many = L::MANY_REGISTERS && BITS * CODES <= 4;
        let mut vector = 0;
        if many {
            while vectors - vector >= 2 {
                for block in 0..R {
                    self.tile::<L, R, 1, 2>(lanes, first, block, vector);
                }
                vector += 2;
            }
        }
        while vector < vectors {
            if many {
                self.tile::<L, R, R, 1>(lanes, first, 0, vector);
            } else {
                for block in 0..R {
                    self.tile::<L, R, 1, 1>(lanes, first, block, vector);
                }
            }
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
        let pairs = self.weights.layout.pairs();
        let lines = &self.weights.lines.as_chunks::<BITS>().0[first * pairs..][..R * pairs];
        let coefficients = &self.weights.coefficients.as_chunks::<BITS>().0[first + block..];
        let words = self.vectors.words.as_chunks::<CODES>().0;
        let places: [usize; V] = core::array::from_fn(|v| self.vectors.places[vector + v] as usize);
        let part: Segment<'_, BITS, CODES, R, B, V> = Segment {
            columns: self.weights.layout.columns as u32,
            lines: lines.as_chunks::<R>().0,
            block,
            coefficients: core::array::from_fn(|b| &coefficients[b]),
            sums: None,
            words: places.map(|place| &words[place * pairs..][..pairs]),
            scales: places.map(|place| &self.vectors.coefficients[place]),
            ahead: self.out.order.ahead(),
        };
        for (b, sums) in part.multiply(lanes).into_iter().enumerate() {
            // A sum of segments begins at +0, which is not -0. No closure: it would not have the
            // instruction set.
            let mut results = [lanes.splat(0.0); V];
            for (result, sum) in results.iter_mut().zip(sums) {
                if let Some(sum) = sum {
                    *result = lanes.add(*result, sum);
                }
            }
            self.out.write(lanes, first + block + b, vector, results);
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
                        let part: Segment<'_, BITS, CODES, 1, 1, 1> = Segment {
                            columns: layout.columns_of(segment).len() as u32,
                            lines: lines[range.clone()].as_chunks::<1>().0,
                            block: 0,
                            coefficients: [&coefficients[group]],
                            sums: sums.map(|sums| &sums[(block * taps + tap) * segments + segment]),
                            words: [&words[range]],
                            scales: [&self.vectors.coefficients[at]],
                            ahead,
                        };
                        let [[mut sum]] = part.multiply(lanes);
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
                self.out.write(lanes, block, vector, [result]);
            }
        }
    }
}

/// A segment of `B` blocks of rows, of `R` that lie together, and that of `V` vectors.
struct Segment<
    'a,
    const BITS: usize,
    const CODES: usize,
    const R: usize,
    const B: usize,
    const V: usize,
> {
    columns: u32,
    /// `[pair][block][plane]`
    lines: &'a [[[[Line; 2]; BITS]; R]],
    /// The first of the blocks.
    block: usize,
    coefficients: [&'a [[f32; BLOCK]; BITS]; B],
    /// Sums of the codes of each plane of the first block, if the vector has a constant part; there is
    /// one block then.
    sums: Option<&'a [[f32; BLOCK]; BITS]>,
    /// `[pair][code]`, as many pairs as of lines.
    words: [&'a [[[u32; 2]; CODES]]; V],
    scales: [&'a Coefficients; V],
    /// Bytes from the lines in use to those to prefetch.
    ahead: isize,
}

/// Counts of differing bits: `[block][plane][vector][code]`.
type Counts<L, const CODES: usize, const B: usize, const V: usize, const N: usize> =
    [[[[<L as Lanes>::U; CODES]; V]; N]; B];

impl<const BITS: usize, const CODES: usize, const R: usize, const B: usize, const V: usize>
    Segment<'_, BITS, CODES, R, B, V>
{
    /// `[block][vector]`
    #[inline(always)]
    fn multiply<L: Lanes>(&self, lanes: L) -> [[Option<L::F>; V]; B] {
        // Few enough planes at a time that the counters stay in registers.
        let most = if L::MANY_REGISTERS && BITS * CODES <= 9 { BITS } else { 2 };
        let mut results = [[None; V]; B];
        let mut plane = 0;
        while plane < BITS {
            macro_rules! planes {
                ($n:literal) => {{
                    let counts: Counts<L, CODES, B, V, $n> = self.count(lanes, plane);
                    for b in 0..B {
                        for i in 0..$n {
                            for v in 0..V {
                                let mut dot = None;
                                if let Some(sums) = self.sums {
                                    let sum = lanes.load(&sums[plane + i]);
                                    dot = Some(lanes.mul(lanes.splat(self.scales[v][0]), sum));
                                }
                                for j in 0..CODES {
                                    let scale = lanes.splat(self.scales[v][1 + j]);
                                    let term = lanes.less_twice(self.columns, counts[b][i][v][j]);
                                    dot = chain(lanes, scale, term, dot);
                                }
                                if let Some(dot) = dot {
                                    let coefficient = lanes.load(&self.coefficients[b][plane + i]);
                                    results[b][v] = chain(lanes, coefficient, dot, results[b][v]);
                                }
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
    fn count<L: Lanes, const N: usize>(&self, lanes: L, plane: usize) -> Counts<L, CODES, B, V, N> {
        let [only] = self.lines else {
            if L::MANY_REGISTERS {
                return self.count_pairs::<L, true, CODES, N>(lanes, plane, 0);
            }
            let mut counts = [[[[lanes.splat_bits(0); CODES]; V]; N]; B];
            #[expect(clippy::needless_range_loop, reason = "the number is of words, too")]
            for code in 0..CODES {
                // Lines of the codes after the first are near already.
                let of_code = match code {
                    0 => self.count_pairs::<L, true, 1, N>(lanes, plane, 0),
                    _ => self.count_pairs::<L, false, 1, N>(lanes, plane, code),
                };
                for b in 0..B {
                    for i in 0..N {
                        for v in 0..V {
                            counts[b][i][v][code] = of_code[b][i][v][0];
                        }
                    }
                }
            }
            return counts;
        };
        // An adder does not pay: it would be emptied after its first step.
        let mut counts = [[[[lanes.splat_bits(0); CODES]; V]; N]; B];
        for b in 0..B {
            let lines = &only[self.block + b][plane..plane + N];
            for (v, words) in self.words.iter().enumerate() {
                let of_vector = count_pair::<L, CODES, N>(lanes, lines, &words[0]);
                for i in 0..N {
                    counts[b][i][v] = of_vector[i];
                }
            }
        }
        counts
    }

    /// Counts for `C` codes from number `code` on; with or without a prefetch.
    #[inline(always)]
    fn count_pairs<L: Lanes, const PREFETCH: bool, const C: usize, const N: usize>(
        &self,
        lanes: L,
        plane: usize,
        code: usize,
    ) -> Counts<L, C, B, V, N> {
        let zero = lanes.splat_bits(0);
        let mut ones = [[[[zero; C]; V]; N]; B];
        let mut total = [[[[zero; C]; V]; N]; B];
        for (step, lines) in self.lines.chunks(L::COUNT_STEPS).enumerate() {
            let words = self.words.map(|words| &words[step * L::COUNT_STEPS..][..lines.len()]);
            let mut counts = [[[[zero; C]; V]; N]; B];
            // No iterator: the compiler would not see that there are as many words.
            for pair in 0..lines.len() {
                let lines = &lines[pair];
                for b in 0..B {
                    let lines = &lines[self.block + b][plane..plane + N];
                    for i in 0..N {
                        let [word, both] = &lines[i];
                        if PREFETCH {
                            for line in [word, both] {
                                let line = core::ptr::from_ref(line).cast::<u8>();
                                lanes.prefetch(line.wrapping_offset(self.ahead));
                            }
                        }
                        let (word, both) = (lanes.load_bits(word), lanes.load_bits(both));
                        for v in 0..V {
                            for j in 0..C {
                                let [d, d_both] = &words[v][pair][code + j];
                                let (d, d_both) = (lanes.splat_bits(*d), lanes.splat_bits(*d_both));
                                let ones = &mut ones[b][i][v][j];
                                let sum = lanes.xor3(*ones, both, d_both);
                                let carry = lanes.carry(sum, *ones, lanes.xor(word, d));
                                let counts = &mut counts[b][i][v][j];
                                *counts = lanes.add_counts(*counts, carry);
                                *ones = sum;
                            }
                        }
                    }
                }
            }
            for b in 0..B {
                for i in 0..N {
                    for v in 0..V {
                        for j in 0..C {
                            let counts = lanes.fold_counts(counts[b][i][v][j]);
                            let total = &mut total[b][i][v][j];
                            *total = lanes.add_integers(*total, counts);
                        }
                    }
                }
            }
        }
        for b in 0..B {
            for i in 0..N {
                for v in 0..V {
                    for j in 0..C {
                        let odd = lanes.fold_counts(lanes.add_counts(zero, ones[b][i][v][j]));
                        let total = &mut total[b][i][v][j];
                        *total = lanes.add_integers(lanes.add_integers(*total, *total), odd);
                    }
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
