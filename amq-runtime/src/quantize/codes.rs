//! Vectors as sums of a few scaled codes.
#![allow(clippy::needless_range_loop, reason = "indices as in the formulas")]

use crate::kernels::codes::Coefficients;
use crate::kernels::lanes::Lanes;
use crate::kernels::{NAN, Work};

/// Rounds of codes and least squares: the start's codes and two cycles.
const ROUNDS: usize = 3;

/// Coefficients of a vector, at most: a constant and four codes.
const MOST: usize = 5;

/// Levels that they give, at most.
const LEVELS: usize = 16;

/// What is less is the rounding of 0: codes then do not determine a coefficient. A pivot that is not
/// 0 is at least 1/5, a quotient of squared determinants of matrices of +1 and -1.
const DEPENDENT: f64 = 0.1;

/// Codes a vector by 1 to 4 codes, and a constant if asked for.
pub(crate) struct Code<'a> {
    /// The vector, not empty.
    pub(crate) x: &'a [f32],
    /// How many codes.
    pub(crate) codes: usize,
    /// Whether there is a constant beside them.
    pub(crate) constant: bool,
    /// Receives the codes: a bit of `[code][column / 64]` words is set for +1.
    pub(crate) planes: &'a mut [u64],
}

impl Work for Code<'_> {
    /// All NaN if the coefficients to start from are not finite.
    type Output = Coefficients;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Coefficients {
        match (self.constant, self.codes) {
            (false, 1) => self.code::<L, 1, 0, false>(lanes),
            (false, 2) => self.code::<L, 2, 1, false>(lanes),
            (false, 3) => self.code::<L, 3, 3, false>(lanes),
            (false, _) => self.code::<L, 4, 7, false>(lanes),
            (true, 1) => self.code::<L, 2, 1, true>(lanes),
            (true, 2) => self.code::<L, 3, 3, true>(lanes),
            (true, 3) => self.code::<L, 4, 7, true>(lanes),
            (true, _) => self.code::<L, 5, 15, true>(lanes),
        }
    }
}

impl Code<'_> {
    /// Without a constant, `K` codes approximate magnitudes, the first of them +1 everywhere, and all
    /// are turned where an element is negative. A constant is such a first code of the elements
    /// themselves. `T` thresholds divide the levels that the codes give: `2^(K - 1) - 1`.
    #[inline(always)]
    fn code<L: Lanes, const K: usize, const T: usize, const CONSTANT: bool>(
        self,
        lanes: L,
    ) -> Coefficients {
        let Code { x, planes, .. } = self;
        let n = x.len() as f32;
        let sum = keys::<L, CONSTANT>(lanes, x, |a| a);
        let mut c = [0.0; MOST];
        c[0] = sum / n;
        for i in 1..K {
            let sum = keys::<L, CONSTANT>(lanes, x, |mut a| {
                for c in &c[..i] {
                    a = lanes.abs(lanes.sub(a, lanes.splat(*c)));
                }
                a
            });
            c[i] = sum / n;
        }
        if !c.iter().all(|c| c.is_finite()) {
            planes.fill(0);
            return [NAN; MOST];
        }
        let words = x.len().div_ceil(64);
        for round in 1..=ROUNDS {
            let levels = Levels::<K>::new(&c, CONSTANT);
            let mut thresholds = [lanes.splat(0.0); T];
            for h in 0..T {
                let middle = (levels.values[h] + levels.values[h + 1]) * 0.5;
                thresholds[h] = lanes.splat(middle);
            }
            let mut sums = [[lanes.splat(0.0); 2]; T];
            let mut counts = [0; T];
            let last = round == ROUNDS;
            units::<L, CONSTANT>(lanes, x, |unit| {
                let mut reached = [0; T];
                for (part, a) in unit.keys.into_iter().enumerate() {
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
                    let mut signs = if CONSTANT { u64::MAX } else { 0 };
                    if !CONSTANT {
                        for (part, x) in unit.values.into_iter().enumerate() {
                            let mask = lanes.at_least(x, lanes.splat(0.0));
                            signs |= u64::from(lanes.bits(mask)) << (16 * part);
                        }
                    }
                    for i in usize::from(CONSTANT)..K {
                        // A code's bit changes at some of the thresholds.
                        let mut flips = if levels.sign(0, i) > 0 { 0 } else { u64::MAX };
                        for h in 0..T {
                            if levels.sign(h, i) != levels.sign(h + 1, i) {
                                flips ^= reached[h];
                            }
                        }
                        let plane = i - usize::from(CONSTANT);
                        planes[plane * words + unit.index] = (signs ^ flips) & unit.valid;
                    }
                }
            });
            let mut above = [0.0; T];
            for h in 0..T {
                above[h] = tree(lanes, sums[h]);
            }
            levels.fit(&mut c, x.len(), sum, &above, &counts);
        }
        if CONSTANT {
            return c;
        }
        // Those that there are not are 0.
        let [a, b, c, d, _] = c;
        [0.0, a, b, c, d]
    }
}

/// The values that coefficients give, ascending, and the signs of the codes that give them.
struct Levels<const K: usize> {
    values: [f32; LEVELS],
    /// Bit i is set where code i is +1.
    patterns: [u8; LEVELS],
}

impl<const K: usize> Levels<K> {
    const COUNT: usize = 1 << (K - 1);

    /// Those of magnitudes, or of elements where the first coefficient is a constant.
    fn new(c: &Coefficients, constant: bool) -> Levels<K> {
        let mut levels = Levels { values: [0.0; LEVELS], patterns: [0; LEVELS] };
        for number in 0..Self::COUNT {
            let mut pattern = (number << 1 | 1) as u8;
            let mut sum = c[0];
            for (i, c) in c.iter().enumerate().take(K).skip(1) {
                sum = if pattern >> i & 1 == 1 { sum + c } else { sum - c };
            }
            if sum < 0.0 && !constant {
                sum = -sum;
                pattern ^= (1 << K) - 1;
            }
            let mut at = number;
            while at > 0 && levels.values[at - 1] > sum {
                levels.values[at] = levels.values[at - 1];
                levels.patterns[at] = levels.patterns[at - 1];
                at -= 1;
            }
            levels.values[at] = sum;
            levels.patterns[at] = pattern;
        }
        levels
    }

    /// +1 or -1: code i at a level.
    #[inline(always)]
    fn sign(&self, level: usize, i: usize) -> i32 {
        2 * i32::from(self.patterns[level] >> i & 1) - 1
    }

    /// Least squares with the codes fixed; a code that depends linearly on those before it gets the
    /// coefficient 0. `sums` and `counts` are of the magnitudes or elements from each level but the
    /// lowest upwards, `sum` is of all. Where a solution does not fit an `f32`, coefficients stay.
    fn fit(&self, c: &mut Coefficients, n: usize, sum: f32, sums: &[f32], counts: &[u32]) {
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
        let mut dependent = [false; K];
        for p in 0..K {
            dependent[p] = gram[p][p] < DEPENDENT;
            if dependent[p] {
                continue;
            }
            for row in p + 1..K {
                let factor = gram[row][p] / gram[p][p];
                for col in p + 1..K {
                    gram[row][col] -= factor * gram[p][col];
                }
                v[row] -= factor * v[p];
            }
        }
        let mut fitted = [0.0; MOST];
        for row in (0..K).rev() {
            if dependent[row] {
                v[row] = 0.0;
                continue;
            }
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
    /// Elements; what is behind the vector's end is not used.
    values: [L::F; 4],
    /// What is compared: magnitudes, or elements where there is a constant. NaN, which is not at least
    /// anything, behind the vector's end.
    keys: [L::F; 4],
    /// Bits of the elements that are there.
    valid: u64,
}

/// Passes a vector in units. `f` is called in one place, so that it is inlined and compiled for
/// the instruction set; a closure that is not costs tenfold.
#[inline(always)]
fn units<L: Lanes, const CONSTANT: bool>(lanes: L, x: &[f32], mut f: impl FnMut(Unit<L>)) {
    let (full, rest) = x.as_chunks::<64>();
    for index in 0..x.len().div_ceil(64) {
        let (values, valid) = match full.get(index) {
            Some(x) => (load(lanes, x), u64::MAX),
            None => {
                let mut values = [NAN; 64];
                values[..rest.len()].copy_from_slice(rest);
                (load(lanes, &values), (1 << rest.len()) - 1)
            }
        };
        let [a, b, c, d] = values;
        let keys = if CONSTANT {
            values
        } else {
            [lanes.abs(a), lanes.abs(b), lanes.abs(c), lanes.abs(d)]
        };
        f(Unit { index, values, keys, valid });
    }
}

#[inline(always)]
fn load<L: Lanes>(lanes: L, x: &[f32; 64]) -> [L::F; 4] {
    let (parts, _) = x.as_chunks::<16>();
    [lanes.load(&parts[0]), lanes.load(&parts[1]), lanes.load(&parts[2]), lanes.load(&parts[3])]
}

/// Sum of a function of the keys: element j is added to partial sum j mod 32.
#[inline(always)]
fn keys<L: Lanes, const CONSTANT: bool>(lanes: L, x: &[f32], f: impl Fn(L::F) -> L::F) -> f32 {
    let mut sums = [lanes.splat(0.0); 2];
    units::<L, CONSTANT>(lanes, x, |unit| {
        for (part, a) in unit.keys.into_iter().enumerate() {
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
