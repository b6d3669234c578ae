//! Products of coded activations for any numbers of planes and codes, a plane and a code at a time.
//!
//! WebAssembly's code: its hosts' registers hold no more, and a function for each pair of numbers, as
//! `codes` has, takes 180 kB of a module and is hardly faster.

use super::codes::{Vectors, Weights};
use super::lanes::{Lanes, Line};
use super::{Output, Target, Work, chain};

/// Multiplies each vector; of the weights no blocks lie together.
pub(crate) fn multiply(weights: &Weights, target: Target, vectors: Vectors<'_>, out: Output<'_>) {
    target.run(OneByOne { weights, vectors, out });
}

struct OneByOne<'a> {
    weights: &'a Weights,
    vectors: Vectors<'a>,
    out: Output<'a>,
}

impl Work for OneByOne<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let Weights { layout, bits, .. } = *self.weights;
        let codes = self.vectors.codes;
        let (taps, segments) = (layout.taps, layout.segments());
        let (pairs, groups) = (layout.pairs(), layout.groups());
        for place in 0..self.out.blocks.len() {
            let block = self.out.block(place, 1);
            let lines = &self.weights.lines[block * taps * pairs * bits..][..taps * pairs * bits];
            for (vector, places) in self.vectors.places.chunks_exact(taps).enumerate() {
                let mut result = lanes.splat(0.0);
                for (tap, lines) in lines.chunks_exact(pairs * bits).enumerate() {
                    let at = places[tap] as usize;
                    let words = &self.vectors.words[at * pairs * codes..][..pairs * codes];
                    let scales = &self.vectors.coefficients[at];
                    for segment in 0..segments {
                        let range = layout.pairs_of(segment);
                        let lines = &lines[range.start * bits..range.end * bits];
                        let words = &words[range.start * codes..range.end * codes];
                        let columns = layout.columns_of(segment).len() as u32;
                        let group = block * groups + layout.group(tap, segment);
                        let coefficients = &self.weights.coefficients[group * bits..][..bits];
                        let mut sum = None;
                        for (plane, coefficient) in coefficients.iter().enumerate() {
                            let mut dot = None;
                            if let Some(sums) = &self.weights.sums {
                                let part = (block * taps + tap) * segments + segment;
                                let sum = lanes.load(&sums[part * bits + plane]);
                                dot = Some(lanes.mul(lanes.splat(scales[0]), sum));
                            }
                            for code in 0..codes {
                                let count = count(lanes, lines, bits, plane, words, codes, code);
                                let scale = lanes.splat(scales[1 + code]);
                                dot = chain(lanes, scale, lanes.less_twice(columns, count), dot);
                            }
                            if let Some(dot) = dot {
                                sum = chain(lanes, lanes.load(coefficient), dot, sum);
                            }
                        }
                        if let Some(offsets) = &self.weights.offsets {
                            let by = self.vectors.sums[at * segments + segment];
                            sum = chain(lanes, lanes.load(&offsets[group]), lanes.splat(by), sum);
                        }
                        if let Some(sum) = sum {
                            result = lanes.add(result, sum);
                        }
                    }
                }
                self.out.write(lanes, block, vector, [result]);
            }
        }
    }
}

/// Counts the bits in which a plane and a code differ.
#[inline(always)]
fn count<L: Lanes>(
    lanes: L,
    lines: &[[Line; 2]],
    bits: usize,
    plane: usize,
    words: &[[u32; 2]],
    codes: usize,
    code: usize,
) -> L::U {
    let zero = lanes.splat_bits(0);
    let (mut ones, mut total) = (zero, zero);
    let steps = lines.chunks(L::COUNT_STEPS.saturating_mul(bits));
    for (lines, words) in steps.zip(words.chunks(L::COUNT_STEPS.saturating_mul(codes))) {
        let mut counts = zero;
        for (lines, words) in lines.chunks_exact(bits).zip(words.chunks_exact(codes)) {
            let ([word, both], [d, d_both]) = (&lines[plane], words[code]);
            let first = lanes.xor(lanes.load_bits(word), lanes.splat_bits(d));
            let sum = lanes.xor3(ones, lanes.load_bits(both), lanes.splat_bits(d_both));
            counts = lanes.add_counts(counts, lanes.carry(sum, ones, first));
            ones = sum;
        }
        total = lanes.add_integers(total, lanes.fold_counts(counts));
    }
    let odd = lanes.fold_counts(lanes.add_counts(zero, ones));
    lanes.add_integers(lanes.add_integers(total, total), odd)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::layout::Layout;
    use super::super::{Isa, Order};
    use super::*;

    const ROWS: usize = 40;
    const VECTORS: usize = 3;

    /// Other kernels are held to the definition, this one to them.
    #[test]
    fn it_gives_what_a_function_for_each_pair_of_numbers_gives() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32
        };
        let layouts =
            [(1, 50, 50), (1, 2100, 2100), (1, 192, 64), (3, 70, 70), (3, 70, 210), (2, 96, 32)];
        for (taps, columns, group) in layouts {
            let layout = Layout::new(taps, columns, group).unwrap();
            let parts = ROWS.div_ceil(16) * layout.groups();
            let segments = ROWS.div_ceil(16) * taps * layout.segments();
            for case in 0..64 {
                let (bits, codes) = (case % 4 + 1, case / 4 % 4 + 1);
                let (offsets, constant) = (case / 16 % 2 == 1, case / 32 == 1);
                let mut lanes = |n: usize| -> Vec<[f32; 16]> {
                    let mut lane = || random() as i32 as f32 * 1e-9;
                    (0..n).map(|_| core::array::from_fn(|_| lane())).collect()
                };
                let coefficients = lanes(parts * bits);
                let offsets = offsets.then(|| lanes(parts));
                let sums = constant.then(|| lanes(segments * bits));
                let plain = taps * layout.segments() == 1 && offsets.is_none() && sums.is_none();
                let lines = ROWS.div_ceil(16) * taps * layout.pairs() * bits;
                let mut line = || Line(core::array::from_fn(|_| random()));
                let lines = (0..lines).map(|_| [line(), line()]).collect();
                let weights = Weights { layout, bits, plain, lines, coefficients, offsets, sums };
                let words: Vec<_> = (0..VECTORS * taps * layout.pairs() * codes)
                    .map(|_| [random(), random()])
                    .collect();
                let places: Vec<_> = (0..(VECTORS * taps) as u32).rev().collect();
                let mut number = || random() as i32 as f32 * 1e-9;
                let scales: Vec<_> =
                    places.iter().map(|_| core::array::from_fn(|_| number())).collect();
                let by: Vec<_> = (0..places.len() * layout.segments()).map(|_| number()).collect();
                let vectors = Vectors {
                    words: &words,
                    codes,
                    coefficients: &scales,
                    sums: &by,
                    places: &places,
                };
                let run = |work: &dyn Fn(Output<'_>)| {
                    let mut data = vec![0.0; ROWS * VECTORS];
                    work(Output {
                        data: &mut data,
                        rows: ROWS,
                        row_stride: 1,
                        vector_stride: ROWS,
                        bias: None,
                        blocks: 0..ROWS.div_ceil(16),
                        order: Order::Forward,
                    });
                    data.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let scalar = Target::new(Isa::Scalar).unwrap();
                let expected = run(&|out| weights.multiply(scalar, vectors, out));
                for target in Isa::ALL.into_iter().filter_map(Target::new) {
                    let weights = &weights;
                    let found = run(&|out| multiply(weights, target, vectors, out));
                    assert_eq!(found, expected, "{target:?} {layout:?} {bits} {codes} {case}");
                }
            }
        }
    }
}
