//! Products of many vectors, each of which is one segment: what is the same for all rows is prepared once.

use super::parts::{IS_MODULE, Product, Totals, Vectors, Weights, look_up};
use crate::kernels::Work;
use crate::kernels::lanes::{Lanes, Line, Tables};

/// Bytes of weights that meet a few vectors before the next ones: enough that preparing these takes little, few enough
/// that the next find them in a near cache.
const LINES_BYTES: usize = 1 << 15;

/// A product of many vectors, each of which is one segment, with so many planes, or any number for 0.
pub(super) struct Whole<'a, const BITS: usize>(pub(super) Product<'a>);

impl<const BITS: usize> Work for Whole<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let Weights { layout, bits, .. } = self.0.weights;
        let (vectors, blocks) = (self.0.vectors.places.len(), self.0.out.blocks.len());
        let words = layout.words();
        let bytes = words * bits * size_of::<Line>();
        let together = (LINES_BYTES / bytes.max(1)).max(1);
        for first in (0..blocks).step_by(together) {
            let places = first..blocks.min(first + together);
            let mut vector = 0;
            macro_rules! vectors {
                ($n:literal) => {
                    while vectors - vector >= $n {
                        let several = Several::<L, $n>::new(lanes, words, self.0.vectors, vector);
                        for place in places.clone() {
                            let block = self.0.out.block(place, 1);
                            self.0.whole::<L, BITS, $n>(lanes, block, vector, &several);
                        }
                        vector += $n;
                    }
                };
            }
            if L::MANY_REGISTERS {
                vectors!(8);
            }
            vectors!(4);
            vectors!(1);
        }
    }
}

/// What is the same for all rows of `N` vectors of [`Whole`].
struct Several<'a, L: Lanes, const N: usize> {
    words: usize,
    /// Of so many words each.
    tables: [&'a [Tables]; N],
    magnitudes: [u32; N],
    /// What short sums begin with.
    begun: [L::Short; N],
    /// What offsets are multiplied by.
    sums: [L::F; N],
    scales: [L::F; N],
}

impl<'a, L: Lanes, const N: usize> Several<'a, L, N> {
    /// Those from number `vector` on.
    #[inline(always)]
    fn new(lanes: L, words: usize, vectors: Vectors<'a>, vector: usize) -> Several<'a, L, N> {
        let Vectors { tables, scales, totals, places } = vectors;
        let mut several = Several {
            words,
            tables: [&[]; N],
            magnitudes: [0; N],
            begun: [lanes.less_short(0); N],
            sums: [lanes.splat(0.0); N],
            scales: [lanes.splat(0.0); N],
        };
        // No closures: they would not have the instruction set.
        for v in 0..N {
            let place = places[vector + v] as usize;
            let Totals { magnitudes, values } = totals[place];
            several.tables[v] = &tables[place * words..][..words];
            several.magnitudes[v] = magnitudes;
            several.begun[v] = lanes.less_short(magnitudes);
            several.sums[v] = lanes.splat(values as f32);
            several.scales[v] = lanes.splat(scales[place]);
        }
        several
    }

    /// Twice the sums of the entries that weights of planes `plane..plane + P` select, less the magnitudes.
    #[inline(always)]
    fn dots<const P: usize>(
        &self,
        lanes: L,
        lines: &[Line],
        bits: usize,
        plane: usize,
        ahead: isize,
    ) -> [[L::F; N]; P] {
        let mut dots = [[lanes.splat(0.0); N]; P];
        if IS_MODULE || self.words > L::SHORT {
            let sums = look_up::<L, P, N>(lanes, lines, bits, plane, self.tables, ahead);
            for (dots, sums) in dots.iter_mut().zip(sums) {
                for (v, dot) in dots.iter_mut().enumerate() {
                    *dot = lanes.twice_less(sums[v], self.magnitudes[v]);
                }
            }
            return dots;
        }
        let mut sums = [self.begun; P];
        let Several { words, tables, .. } = *self;
        let mut rest = lines;
        for word in 0..words {
            let Some((lines, others)) = rest.split_at_checked(bits) else { break };
            rest = others;
            let lines = &lines[plane..plane + P];
            let mut indices = [lanes.index(&lines[0]); P];
            for i in 1..P {
                indices[i] = lanes.index(&lines[i]);
            }
            // All that meets a vector's tables at once: those of many do not stay in registers.
            for v in 0..N {
                let tables = &tables[v][word];
                for i in 0..P {
                    sums[i][v] = lanes.look_up_short(sums[i][v], indices[i], tables);
                }
            }
        }
        for (dots, sums) in dots.iter_mut().zip(sums) {
            for (v, dot) in dots.iter_mut().enumerate() {
                *dot = lanes.short(sums[v], self.magnitudes[v]);
            }
        }
        dots
    }
}

impl Product<'_> {
    /// Multiplies a block of rows and the `N` vectors of [`Whole`] from number `vector` on.
    #[inline(always)]
    fn whole<L: Lanes, const BITS: usize, const N: usize>(
        &mut self,
        lanes: L,
        block: usize,
        vector: usize,
        several: &Several<'_, L, N>,
    ) {
        let bits = if BITS == 0 { self.weights.bits } else { BITS };
        let ahead = self.out.order.ahead();
        let each = several.words * bits;
        let lines = &self.weights.lines[block * each..][..each];
        let coefficients = &self.weights.coefficients[block * bits..][..bits];
        let mut dots = [lanes.splat(0.0); N];
        let mut plane = 0;
        macro_rules! planes {
            ($n:literal) => {{
                let planes = several.dots::<$n>(lanes, lines, bits, plane, ahead);
                for i in 0..$n {
                    let coefficient = lanes.load(&coefficients[plane + i]);
                    for v in 0..N {
                        dots[v] = if plane + i == 0 {
                            lanes.mul(coefficient, planes[i][v])
                        } else {
                            lanes.fma(coefficient, planes[i][v], dots[v])
                        };
                    }
                }
                plane += $n;
            }};
        }
        if L::MANY_REGISTERS {
            while bits - plane >= 2 {
                planes!(2);
            }
        }
        while plane < bits {
            planes!(1);
        }
        if let Some(offsets) = &self.weights.offsets {
            let offset = lanes.load(&offsets[block]);
            for (dot, sum) in dots.iter_mut().zip(several.sums) {
                *dot = lanes.fma(offset, sum, *dot);
            }
        }
        let mut results = [lanes.splat(0.0); N];
        for v in 0..N {
            results[v] = lanes.fma(several.scales[v], dots[v], results[v]);
        }
        self.out.write(lanes, block, vector, results);
    }
}
