//! Products of multi-bit weights with 8-bit activations, by tables of sums of four.

use super::lanes::{Lanes, SHORT, Tables};
use super::{Output, Target, Work, chain};

mod parts;
mod whole;

use parts::{IS_MODULE, Product, look_up};
pub(crate) use parts::{Totals, Vectors, Weights};
use whole::Whole;

impl Weights {
    /// Multiplies each vector.
    pub(crate) fn multiply(&self, target: Target, vectors: Vectors<'_>, out: Output<'_>) {
        let product = Product { weights: self, vectors, out };
        let layout = &self.layout;
        // Each is a function of its own, in which constants stay in registers. Convolutions have many
        // short taps: what is done for each must be little.
        let short = layout.segments() == 1 && layout.words() <= SHORT;
        let one = layout.taps * layout.segments() == 1;
        let several = vectors.places.len() >= 4 * layout.taps;
        match self.bits {
            _ if short && IS_MODULE => target.run(ShortTaps::<0>(product)),
            2 if one && several && !IS_MODULE => target.run(Whole::<2>(product)),
            _ if one && several => target.run(Whole::<0>(product)),
            1 if short => target.run(ShortTaps::<1>(product)),
            2 if short => target.run(ShortTaps::<2>(product)),
            3 if short => target.run(ShortTaps::<3>(product)),
            4 if short => target.run(ShortTaps::<4>(product)),
            _ if several || IS_MODULE => target.run(product),
            _ => target.run(Few(product)),
        }
    }
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let vectors = self.vectors.places.len() / self.weights.layout.taps;
        for place in 0..self.out.blocks.len() {
            let block = self.out.block(place, 1);
            let mut vector = 0;
            while vectors - vector >= 4 {
                self.vectors::<L, 4>(lanes, block, vector);
                vector += 4;
            }
            while vector < vectors {
                self.vectors::<L, 1>(lanes, block, vector);
                vector += 1;
            }
        }
    }
}

/// A product with fewer than four vectors.
struct Few<'a>(Product<'a>);

impl Work for Few<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let vectors = self.0.vectors.places.len() / self.0.weights.layout.taps;
        for place in 0..self.0.out.blocks.len() {
            let block = self.0.out.block(place, 1);
            for vector in 0..vectors {
                self.0.vectors::<L, 1>(lanes, block, vector);
            }
        }
    }
}

/// A product where each tap is a segment of at most [`SHORT`] words, with so many planes, or any number for 0.
struct ShortTaps<'a, const BITS: usize>(Product<'a>);

impl<const BITS: usize> Work for ShortTaps<'_, BITS> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let Product { weights, vectors, .. } = &self.0;
        let vectors = vectors.places.len() / weights.layout.taps;
        for place in 0..self.0.out.blocks.len() {
            let block = self.0.out.block(place, 1);
            let mut vector = 0;
            while vectors - vector >= 4 {
                self.0.short_taps::<L, BITS, 4>(lanes, block, vector);
                vector += 4;
            }
            while vector < vectors {
                self.0.short_taps::<L, BITS, 1>(lanes, block, vector);
                vector += 1;
            }
        }
    }
}

impl Product<'_> {
    /// Multiplies a block of rows and `N` vectors of [`ShortTaps`].
    #[inline(always)]
    fn short_taps<L: Lanes, const BITS: usize, const N: usize>(
        &mut self,
        lanes: L,
        block: usize,
        vector: usize,
    ) {
        let Weights { layout, bits, .. } = *self.weights;
        let bits = if BITS == 0 { bits } else { BITS };
        let (taps, words) = (layout.taps, layout.words());
        let lines = &self.weights.lines[block * taps * words * bits..][..taps * words * bits];
        let groups = layout.groups();
        let coefficients = &self.weights.coefficients[block * groups * bits..][..groups * bits];
        let places: [&[u32]; N] =
            core::array::from_fn(|v| &self.vectors.places[(vector + v) * taps..][..taps]);
        let mut results = [lanes.splat(0.0); N];
        let (mut group, mut left) = (0, layout.shared);
        for (tap, lines) in lines.chunks_exact(words * bits).enumerate() {
            let coefficients = &coefficients[group * bits..][..bits];
            let at = places.map(|places| places[tap] as usize);
            let tables: [&[Tables]; N] =
                core::array::from_fn(|v| &self.vectors.tables[at[v] * words..][..words]);
            let totals = at.map(|at| self.vectors.totals[at]);
            let mut dots = [lanes.splat(0.0); N];
            let mut plane = 0;
            // As many planes at a time as sums fit in registers.
            macro_rules! planes {
                ($n:literal) => {{
                    let mut sums = [[lanes.less_short(0); N]; $n];
                    for v in 0..N {
                        let sum = lanes.less_short(totals[v].magnitudes);
                        for i in 0..$n {
                            sums[i][v] = sum;
                        }
                    }
                    let (mut word, mut rest) = (0, lines);
                    while let Some((lines, others)) = rest.split_at_checked(bits) {
                        for (sums, line) in sums.iter_mut().zip(&lines[plane..plane + $n]) {
                            let index = lanes.index(line);
                            for v in 0..N {
                                sums[v] = lanes.look_up_short(sums[v], index, &tables[v][word]);
                            }
                        }
                        (word, rest) = (word + 1, others);
                    }
                    for i in 0..$n {
                        let coefficient = lanes.load(&coefficients[plane + i]);
                        for v in 0..N {
                            let dot = lanes.short(sums[i][v], totals[v].magnitudes);
                            dots[v] = if plane + i == 0 {
                                lanes.mul(coefficient, dot)
                            } else {
                                lanes.fma(coefficient, dot, dots[v])
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
            for v in 0..N {
                if let Some(offsets) = &self.weights.offsets {
                    let offset = lanes.load(&offsets[block * groups + group]);
                    dots[v] = lanes.fma(offset, lanes.splat(totals[v].values as f32), dots[v]);
                }
                let scale = lanes.splat(self.vectors.scales[at[v]]);
                results[v] = lanes.fma(scale, dots[v], results[v]);
            }
            left -= 1;
            if left == 0 {
                (group, left) = (group + 1, layout.shared);
            }
        }
        self.out.write(lanes, block, vector, results);
    }

    /// Multiplies a block of rows and `N` vectors.
    #[inline(always)]
    fn vectors<L: Lanes, const N: usize>(&mut self, lanes: L, block: usize, vector: usize) {
        let Weights { layout, bits, .. } = *self.weights;
        let ahead = self.out.order.ahead();
        let (words, segments, groups) = (layout.words(), layout.segments(), layout.groups());
        let lines = &self.weights.lines[block * layout.taps * words * bits..];
        let lines = &lines[..layout.taps * words * bits];
        let mut results = [lanes.splat(0.0); N];
        for (tap, lines) in lines.chunks_exact(words * bits).enumerate() {
            let places: [usize; N] = core::array::from_fn(|v| {
                self.vectors.places[(vector + v) * layout.taps + tap] as usize
            });
            for segment in 0..segments {
                let range = layout.words_of(segment);
                let lines = &lines[range.start * bits..range.end * bits];
                let tables: [&[Tables]; N] = core::array::from_fn(|v| {
                    &self.vectors.tables[places[v] * words..][range.clone()]
                });
                let at = block * groups + layout.group(tap, segment);
                let coefficients = &self.weights.coefficients[at * bits..][..bits];
                // Few enough planes at a time that the sums stay in registers.
                let most = match (L::MANY_REGISTERS, N) {
                    (true, 1) => 4,
                    (true, _) | (false, 1) => 2,
                    (false, _) => 1,
                };
                let mut dots = [None; N];
                let mut plane = 0;
                while plane < bits {
                    macro_rules! planes {
                        ($n:literal) => {{
                            let sums =
                                look_up::<L, $n, N>(lanes, lines, bits, plane, tables, ahead);
                            for i in 0..$n {
                                let coefficient = lanes.load(&coefficients[plane + i]);
                                for v in 0..N {
                                    let totals =
                                        self.vectors.totals[places[v] * segments + segment];
                                    let dot = lanes.twice_less(sums[i][v], totals.magnitudes);
                                    dots[v] = chain(lanes, coefficient, dot, dots[v]);
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
                        let totals = self.vectors.totals[places[v] * segments + segment];
                        let sum = lanes.splat(totals.values as f32);
                        dots[v] = chain(lanes, lanes.load(&offsets[at]), sum, dots[v]);
                    }
                    if let Some(dot) = dots[v] {
                        let scale = lanes.splat(self.vectors.scales[places[v]]);
                        results[v] = lanes.fma(scale, dot, results[v]);
                    }
                }
            }
        }
        self.out.write(lanes, block, vector, results);
    }
}
