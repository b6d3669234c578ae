//! The least error that several starts find, for one row.
//!
//! Nearest levels cut the sorted weights into intervals, so prefix sums of the sorted weights give an
//! assignment's error and normal equations in time that depends on the levels, hardly on the columns.

use amq_format::graph::CoefficientType;

use super::coefficients::{Affine, Coefficients, MAX_LEVELS, MAX_PLANES, round, solve};

/// Ladders that are tried: each reaches this share of the one before, the first the largest weight.
const CLIP: f64 = 0.88;
const CLIPS: usize = 20;
/// A gain below this share of the error ends a fit.
const GAIN: f64 = 1e-3;
/// Planes from which the ladder is so near that greedy coefficients lead nowhere better, and a few
/// steps suffice.
const MANY_PLANES: usize = 5;
const FEW_STEPS: usize = 8;
/// Offsets that are tried first, in standard deviations of the weights.
const MIDDLE: f64 = 0.35;

/// Coefficients, rounded to their type, whose nearest levels leave the least error of those that are
/// found from ladders of equal steps and from `greedy` coefficients; `None` if they need a wider type.
///
/// Two planes have the least error that they can have, but for rounding. The error is never above
/// that of equally spaced levels up to the largest magnitude.
pub(super) fn best(
    weights: &[f32],
    greedy: &Coefficients,
    planes: usize,
    coefficient_type: CoefficientType,
) -> Option<Coefficients> {
    let row = Sorted::new(weights, planes, coefficient_type);
    let largest = row.values.first().map_or(0.0, |w| w.abs());
    let largest = row.values.last().map_or(0.0, |w| w.abs()).max(largest);
    let mut ladders = Vec::with_capacity(CLIPS);
    for clip in 0..CLIPS {
        let ladder = round(&ladder(largest * CLIP.powi(clip as i32), planes), coefficient_type);
        // A clipped ladder that is out of range is none of those that are wanted.
        match (clip, ladder) {
            (0, None) => return None,
            (_, None) => break,
            (_, Some(ladder)) => {
                let affine = Affine::plain(ladder);
                ladders.push(Found { error: row.assign(&affine).error, affine });
            }
        }
    }
    let whole = ladders[0];
    let nearest = ladders.into_iter().min_by(|a, b| a.error.total_cmp(&b.error)).unwrap_or(whole);
    let nearest = nearest.affine.coefficients;
    let starts = match planes {
        2 => vec![row.two_planes()],
        MANY_PLANES.. => vec![nearest],
        _ => vec![nearest, *greedy],
    };
    let mut best = whole;
    for start in starts {
        let found = row.improve(&Affine::plain(start), false)?;
        if found.error < best.error {
            best = found;
        }
    }
    Some(best.affine.coefficients)
}

/// Coefficients and an offset whose nearest levels leave the least error of those that are found from `plain`
/// coefficients around several middles; `None` if they need a wider type.
pub(super) fn best_affine(
    weights: &[f32],
    plain: &Coefficients,
    planes: usize,
    coefficient_type: CoefficientType,
) -> Option<Affine> {
    let row = Sorted::new(weights, planes, coefficient_type);
    let count = weights.len().max(1) as f64;
    let mean = row.sums[weights.len()] / count;
    let deviation = (row.energy / count - mean * mean).max(0.0).sqrt();
    let mut best: Option<Found> = None;
    for offset in [0.0, mean, MIDDLE * deviation, -MIDDLE * deviation] {
        let found = row.improve(&Affine { coefficients: *plain, offset }, true)?;
        if best.as_ref().is_none_or(|best| found.error < best.error) {
            best = Some(found);
        }
    }
    best.map(|found| found.affine)
}

/// Coefficients of `2^planes` levels equally spaced from `-largest` to `largest`.
pub(super) fn ladder(largest: f64, planes: usize) -> Coefficients {
    let steps = ((1 << planes) - 1) as f64;
    let mut coefficients = [0.0; MAX_PLANES];
    for (plane, a) in coefficients[..planes].iter_mut().enumerate() {
        *a = largest * (1 << (planes - 1 - plane)) as f64 / steps;
    }
    coefficients
}

/// A row's weights in ascending order.
struct Sorted {
    values: Vec<f64>,
    /// Of the first so many of them.
    sums: Vec<f64>,
    energy: f64,
    planes: usize,
    coefficient_type: CoefficientType,
}

/// Levels, and the sum of squared errors that they leave.
#[derive(Clone, Copy, Debug)]
struct Found {
    error: f64,
    affine: Affine,
}

/// What of the weights the nearest levels take.
struct Assigned {
    /// Weights by code.
    counts: [f64; MAX_LEVELS],
    /// Their sums.
    sums: [f64; MAX_LEVELS],
    /// Sum of squared errors.
    error: f64,
}

impl Sorted {
    fn new(weights: &[f32], planes: usize, coefficient_type: CoefficientType) -> Sorted {
        let mut values: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let sums = running_sums(&values);
        let energy = values.iter().map(|w| w * w).sum();
        Sorted { values, sums, energy, planes, coefficient_type }
    }

    /// Coefficients, and an offset if it may change, by least squares and nearest levels in turn, for as long as
    /// the error falls by much.
    fn improve(&self, start: &Affine, shifts: bool) -> Option<Found> {
        let mut affine = start.round(self.coefficient_type)?;
        let mut best = Found { error: f64::INFINITY, affine };
        let steps = if self.planes < MANY_PLANES { usize::MAX } else { FEW_STEPS };
        for _ in 0..steps {
            let mut assigned = self.assign(&affine);
            let gain = best.error - assigned.error;
            if gain > 0.0 {
                best = Found { error: assigned.error, affine };
            }
            // Not a number, or infinite, for weights that are not finite.
            if gain.is_nan() || gain <= GAIN * best.error {
                return Some(best);
            }
            let least = self.least_squares(&mut assigned, shifts);
            affine = least.round(self.coefficient_type)?;
        }
        Some(best)
    }

    /// The nearest levels, the upper one of two.
    fn assign(&self, affine: &Affine) -> Assigned {
        let mut assigned =
            Assigned { counts: [0.0; MAX_LEVELS], sums: [0.0; MAX_LEVELS], error: self.energy };
        let levels = affine.levels(self.planes);
        let levels = levels.sorted();
        let mut start = 0;
        for (index, &(level, code)) in levels.iter().enumerate() {
            let end = match levels.get(index + 1) {
                Some((next, _)) => {
                    let threshold = 0.5 * (level + next);
                    start + self.values[start..].partition_point(|&w| w < threshold)
                }
                None => self.values.len(),
            };
            let (count, sum) = ((end - start) as f64, self.sums[end] - self.sums[start]);
            assigned.counts[usize::from(code)] = count;
            assigned.sums[usize::from(code)] = sum;
            assigned.error += level * (level * count - 2.0 * sum);
            start = end;
        }
        // A row that is met exactly leaves less than nothing, by rounding; not a number stays.
        if assigned.error < 0.0 {
            assigned.error = 0.0;
        }
        assigned
    }

    fn least_squares(&self, assigned: &mut Assigned, shifts: bool) -> Affine {
        let all = 1 << self.planes;
        hadamard(&mut assigned.counts[..all]);
        hadamard(&mut assigned.sums[..all]);
        let mut gram = [[0.0; MAX_PLANES]; MAX_PLANES];
        let mut right = [0.0; MAX_PLANES];
        for (i, (row, right)) in gram.iter_mut().zip(&mut right).take(self.planes).enumerate() {
            *right = -assigned.sums[1 << i];
            for (j, entry) in row.iter_mut().take(self.planes).enumerate() {
                *entry = assigned.counts[1 << i ^ 1 << j];
            }
        }
        if shifts {
            // The offset is the coefficient of a plane of ones.
            right[self.planes] = assigned.sums[0];
            for (i, row) in gram.iter_mut().enumerate().take(self.planes) {
                row[self.planes] = -assigned.counts[1 << i];
            }
            gram[self.planes] = std::array::from_fn(|i| match i < self.planes {
                true => -assigned.counts[1 << i],
                false => 0.0,
            });
            gram[self.planes][self.planes] = assigned.counts[0];
        }
        let full = self.values.len() as f64;
        let unknown = self.planes + usize::from(shifts);
        let mut found = solve(&mut gram, &mut right, unknown, full);
        let offset = if shifts { std::mem::take(&mut found[self.planes]) } else { 0.0 };
        let mut coefficients = found.map(f64::abs);
        coefficients[..self.planes].sort_by(|a, b| b.total_cmp(a));
        Affine { coefficients, offset }
    }

    /// The best two coefficients: their levels are `±u` and `±v`, so the magnitudes are cut in two.
    fn two_planes(&self) -> Coefficients {
        let mut magnitudes: Vec<f64> = self.values.iter().map(|w| w.abs()).collect();
        magnitudes.sort_unstable_by(f64::total_cmp);
        let sums = running_sums(&magnitudes);
        let (count, total) = (magnitudes.len(), sums[magnitudes.len()]);
        let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        let mut best = (f64::NEG_INFINITY, [0.0; 2]);
        for (cut, &sum) in sums.iter().enumerate() {
            let [below, above] = [mean(sum, cut), mean(total - sum, count - cut)];
            let explained = below * sum + above * (total - sum);
            if explained > best.0 {
                best = (explained, if cut == 0 { [above, above] } else { [below, above] });
            }
        }
        let (_, [v, u]) = best;
        let mut coefficients = [0.0; MAX_PLANES];
        coefficients[0] = 0.5 * (u + v);
        coefficients[1] = 0.5 * (u - v);
        coefficients
    }
}

/// The sum of the first so many values.
fn running_sums(values: &[f64]) -> Vec<f64> {
    let sums = values.iter().scan(0.0, |sum, w| {
        *sum += w;
        Some(*sum)
    });
    [0.0].into_iter().chain(sums).collect()
}

/// The Walsh-Hadamard transform: entry `m` becomes the sum of all entries `c`, negated where `c & m`
/// has an odd number of bits.
fn hadamard(values: &mut [f64]) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}
