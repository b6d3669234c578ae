//! Activations made into codes or tables while a model runs.
//!
//! docs/format.md states the arithmetic to the bit.
#![allow(clippy::needless_range_loop, reason = "indices as in the formulas")]

use crate::kernels::lanes::{ENTRY_BIAS, Lanes, Tables};
use crate::kernels::{NAN, Work};

/// Rounds of codes and least squares: the start's codes and two cycles.
const ROUNDS: usize = 3;

/// Codes a vector by 1 to 4 codes.
pub(crate) struct Code<'a> {
    /// The vector, not empty.
    pub(crate) x: &'a [f32],
    /// How many codes.
    pub(crate) codes: usize,
    /// Receives the codes: a bit of `[code][column / 64]` words is set for +1.
    pub(crate) planes: &'a mut [u64],
}

impl Work for Code<'_> {
    /// The coefficients, all NaN if those to start from are not finite.
    type Output = [f32; 4];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f32; 4] {
        match self.codes {
            1 => self.code::<L, 1, 0>(lanes),
            2 => self.code::<L, 2, 1>(lanes),
            3 => self.code::<L, 3, 3>(lanes),
            _ => self.code::<L, 4, 7>(lanes),
        }
    }
}

impl Code<'_> {
    /// `T` thresholds divide the magnitudes that `K` codes give: `2^(K - 1) - 1`.
    #[inline(always)]
    fn code<L: Lanes, const K: usize, const T: usize>(self, lanes: L) -> [f32; 4] {
        let Code { x, planes, .. } = self;
        let n = x.len() as f32;
        let sum = magnitudes(lanes, x, |a| a);
        let mut c = [0.0; 4];
        c[0] = sum / n;
        for i in 1..K {
            let sum = magnitudes(lanes, x, |mut a| {
                for c in &c[..i] {
                    a = lanes.abs(lanes.sub(a, lanes.splat(*c)));
                }
                a
            });
            c[i] = sum / n;
        }
        if !c.iter().all(|c| c.is_finite()) {
            planes.fill(0);
            return [NAN; 4];
        }
        let words = x.len().div_ceil(64);
        for round in 1..=ROUNDS {
            let levels = Levels::<K>::new(&c);
            let mut thresholds = [lanes.splat(0.0); T];
            for h in 0..T {
                let middle = (levels.magnitudes[h] + levels.magnitudes[h + 1]) * 0.5;
                thresholds[h] = lanes.splat(middle);
            }
            let mut sums = [[lanes.splat(0.0); 2]; T];
            let mut counts = [0; T];
            let last = round == ROUNDS;
            units(lanes, x, |unit| {
                let mut reached = [0; T];
                for (part, a) in unit.magnitudes.into_iter().enumerate() {
                    for h in 0..T {
                        let mask = lanes.at_least(a, thresholds[h]);
                        sums[h][part % 2] = lanes.add_where(mask, sums[h][part % 2], a);
                        reached[h] |= u64::from(lanes.bits(mask)) << (16 * part);
                    }
                }
                for h in 0..T {
                    counts[h] += reached[h].count_ones();
                }
                if last {
                    let mut signs = 0;
                    for (part, x) in unit.values.into_iter().enumerate() {
                        let mask = lanes.at_least(x, lanes.splat(0.0));
                        signs |= u64::from(lanes.bits(mask)) << (16 * part);
                    }
                    for i in 0..K {
                        // A code's bit changes at some of the thresholds.
                        let mut flips = if levels.sign(0, i) > 0 { 0 } else { u64::MAX };
                        for h in 0..T {
                            if levels.sign(h, i) != levels.sign(h + 1, i) {
                                flips ^= reached[h];
                            }
                        }
                        planes[i * words + unit.index] = (signs ^ flips) & unit.valid;
                    }
                }
            });
            let mut above = [0.0; T];
            for h in 0..T {
                above[h] = tree(lanes, sums[h]);
            }
            levels.fit(&mut c, x.len(), sum, &above, &counts);
        }
        c
    }
}

/// The magnitudes that coefficients give, ascending, and the signs of the codes that give them.
struct Levels<const K: usize> {
    magnitudes: [f32; 8],
    /// Bit i is set where code i is +1.
    patterns: [u8; 8],
}

impl<const K: usize> Levels<K> {
    const COUNT: usize = 1 << (K - 1);

    fn new(c: &[f32; 4]) -> Levels<K> {
        let mut levels = Levels { magnitudes: [0.0; 8], patterns: [0; 8] };
        for number in 0..Self::COUNT {
            let mut pattern = (number << 1 | 1) as u8;
            let mut sum = c[0];
            for (i, c) in c.iter().enumerate().take(K).skip(1) {
                sum = if pattern >> i & 1 == 1 { sum + c } else { sum - c };
            }
            if sum < 0.0 {
                sum = -sum;
                pattern ^= (1 << K) - 1;
            }
            let mut at = number;
            while at > 0 && levels.magnitudes[at - 1] > sum {
                levels.magnitudes[at] = levels.magnitudes[at - 1];
                levels.patterns[at] = levels.patterns[at - 1];
                at -= 1;
            }
            levels.magnitudes[at] = sum;
            levels.patterns[at] = pattern;
        }
        levels
    }

    /// +1 or -1: code i at a level.
    #[inline(always)]
    fn sign(&self, level: usize, i: usize) -> i32 {
        2 * i32::from(self.patterns[level] >> i & 1) - 1
    }

    /// Least squares with the codes fixed. `sums` and `counts` are of the magnitudes from each
    /// level but the lowest upwards, `sum` is of all. Where there is no one solution, or it does
    /// not fit an `f32`, coefficients stay.
    fn fit(&self, c: &mut [f32; 4], n: usize, sum: f32, sums: &[f32], counts: &[u32]) {
        let mut gram = [[0.0; K]; K];
        let mut v = [0.0; K];
        let mut above = n as i64;
        for level in 0..Self::COUNT {
            let next = counts.get(level).map_or(0, |count| i64::from(*count));
            for i in 0..K {
                for j in 0..K {
                    let sign = self.sign(level, i) * self.sign(level, j);
                    gram[i][j] += (i64::from(sign) * (above - next)) as f64;
                }
                v[i] += match level {
                    0 => f64::from(self.sign(0, i)) * f64::from(sum),
                    _ => {
                        let step = self.sign(level, i) - self.sign(level - 1, i);
                        f64::from(step) * f64::from(sums[level - 1])
                    }
                };
            }
            above = next;
        }
        for p in 0..K {
            // Zero but for rounding: codes do not determine the coefficients. Any other is at least 1,
            // a quotient of the squared determinants of matrices of +1 and -1.
            if gram[p][p] < 0.5 {
                return;
            }
            for row in p + 1..K {
                let factor = gram[row][p] / gram[p][p];
                for col in p + 1..K {
                    gram[row][col] -= factor * gram[p][col];
                }
                v[row] -= factor * v[p];
            }
        }
        let mut fitted = [0.0; 4];
        for row in (0..K).rev() {
            for col in row + 1..K {
                v[row] -= gram[row][col] * v[col];
            }
            v[row] /= gram[row][row];
            fitted[row] = v[row] as f32;
        }
        if fitted.iter().all(|c| c.is_finite()) {
            *c = fitted;
        }
    }
}

/// Up to 64 elements of a vector.
struct Unit<L: Lanes> {
    index: usize,
    /// Elements, and zeros behind the vector's end.
    values: [L::F; 4],
    /// Magnitudes, and -1 behind the vector's end.
    magnitudes: [L::F; 4],
    /// Bits of the elements that are there.
    valid: u64,
}

/// Passes a vector in units. `f` is called in one place, so that it is inlined and compiled for
/// the instruction set; a closure that is not costs tenfold.
#[inline(always)]
fn units<L: Lanes>(lanes: L, x: &[f32], mut f: impl FnMut(Unit<L>)) {
    let (full, rest) = x.as_chunks::<64>();
    for index in 0..x.len().div_ceil(64) {
        let unit = match full.get(index) {
            Some(x) => {
                let values = load(lanes, x);
                let [a, b, c, d] = values;
                let magnitudes = [lanes.abs(a), lanes.abs(b), lanes.abs(c), lanes.abs(d)];
                Unit { index, values, magnitudes, valid: u64::MAX }
            }
            None => {
                let mut values = [0.0; 64];
                let mut magnitudes = [-1.0; 64];
                for (i, x) in rest.iter().enumerate() {
                    values[i] = *x;
                    magnitudes[i] = f32::from_bits(x.to_bits() & 0x7fff_ffff);
                }
                Unit {
                    index,
                    values: load(lanes, &values),
                    magnitudes: load(lanes, &magnitudes),
                    valid: (1 << rest.len()) - 1,
                }
            }
        };
        f(unit);
    }
}

#[inline(always)]
fn load<L: Lanes>(lanes: L, x: &[f32; 64]) -> [L::F; 4] {
    let (parts, _) = x.as_chunks::<16>();
    [lanes.load(&parts[0]), lanes.load(&parts[1]), lanes.load(&parts[2]), lanes.load(&parts[3])]
}

/// Sum of a function of magnitudes: element j is added to partial sum j mod 32.
#[inline(always)]
fn magnitudes<L: Lanes>(lanes: L, x: &[f32], f: impl Fn(L::F) -> L::F) -> f32 {
    let mut sums = [lanes.splat(0.0); 2];
    units(lanes, x, |unit| {
        for (part, a) in unit.magnitudes.into_iter().enumerate() {
            let a = f(a);
            sums[part % 2] = if unit.valid == u64::MAX {
                lanes.add(sums[part % 2], a)
            } else {
                let mask = lanes.mask((unit.valid >> (16 * part)) as u16);
                lanes.add_where(mask, sums[part % 2], a)
            };
        }
    });
    tree(lanes, sums)
}

/// Sum of 32 partial sums: sum i and sum i + h, for h = 16, 8, 4, 2, 1.
#[inline(always)]
fn tree<L: Lanes>(lanes: L, [low, high]: [L::F; 2]) -> f32 {
    let mut sums = [0.0; 16];
    lanes.store(lanes.add(low, high), &mut sums);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}

/// Magnitude of the largest sum of four magnitudes, as bits: those of infinity or more if any is
/// not finite.
#[inline(always)]
pub(crate) fn largest_four(x: &[f32]) -> u32 {
    let bits = |four: [f32; 4]| {
        let [a, b, c, d] = four.map(|x| f32::from_bits(x.to_bits() & 0x7fff_ffff));
        (((a + b) + c) + d).to_bits() & 0x7fff_ffff
    };
    let (fours, rest) = x.as_chunks::<4>();
    let mut tail = [0.0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    let mut largest = bits(tail);
    for four in fours {
        largest = largest.max(bits(*four));
    }
    largest
}

/// What a table's entries are multiplied by, from the bits of the largest sum: NaN if it is not
/// finite, 0 if the quotient is below the normal numbers.
pub(crate) fn scale(largest: u32) -> f32 {
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        return NAN;
    }
    let scale = largest / 127.0;
    if scale < f32::MIN_POSITIVE { 0.0 } else { scale }
}

/// Makes the tables of a vector.
pub(crate) struct Tabulate<'a> {
    /// The vector.
    pub(crate) x: &'a [f32],
    /// Its scale.
    pub(crate) scale: f32,
    /// Receives the tables of every 32 columns.
    pub(crate) tables: &'a mut [Tables],
}

impl Work for Tabulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        // Neither 0 nor NaN needs tables.
        if self.scale == 0.0 || self.scale.is_nan() {
            self.tables.fill(Tables([ENTRY_BIAS; 128]));
            return;
        }
        let (full, rest) = self.x.as_chunks::<32>();
        for (x, tables) in full.iter().zip(self.tables.iter_mut()) {
            tabulate(lanes, x, self.scale, tables);
        }
        if !rest.is_empty()
            && let Some(tables) = self.tables.last_mut()
        {
            let mut x = [0.0; 32];
            x[..rest.len()].copy_from_slice(rest);
            tabulate(lanes, &x, self.scale, tables);
        }
    }
}

#[inline(always)]
fn tabulate<L: Lanes>(lanes: L, x: &[f32; 32], scale: f32, tables: &mut Tables) {
    // The entries that have +x_3, of one group in lanes 0 to 7 and of another in lanes 8 to 15;
    // the others are their opposites in reverse. A zero that is added changes no entry.
    let mut signs = [[lanes.splat(0.0); 4]; 2];
    for (half, signs) in signs.iter_mut().enumerate() {
        for (bit, signs) in signs.iter_mut().enumerate() {
            let mut values = [0.0; 16];
            for lane in 0..8 {
                values[8 * half + lane] = if (lane + 8) >> bit & 1 == 1 { 1.0 } else { -1.0 };
            }
            *signs = lanes.load(&values);
        }
    }
    let scale = lanes.splat(scale);
    let (tables, _) = tables.0.as_chunks_mut::<16>();
    for (pair, x) in x.as_chunks::<8>().0.iter().enumerate() {
        let mut terms = [lanes.splat(0.0); 4];
        for (bit, term) in terms.iter_mut().enumerate() {
            let first = lanes.mul(signs[0][bit], lanes.splat(x[bit]));
            *term = lanes.add(first, lanes.mul(signs[1][bit], lanes.splat(x[4 + bit])));
        }
        let [a, b, c, d] = terms;
        let sum = lanes.add(lanes.add(lanes.add(a, b), c), d);
        let entries = lanes.entries(lanes.div(sum, scale));
        for (group, upper) in entries.as_chunks::<8>().0.iter().enumerate() {
            // With the bias, and since no entry is 0 then, an opposite is 256 less the entry.
            let lower = !u64::from_be_bytes(*upper) + 0x0101_0101_0101_0101;
            let table = &mut tables[pair + 4 * group];
            table[..8].copy_from_slice(&lower.to_le_bytes());
            table[8..].copy_from_slice(upper);
        }
    }
}
