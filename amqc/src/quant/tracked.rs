//! Codes that follow weights which move, as those of a network in training do.

mod bits;
mod cells;
mod scales;

use amq_format::graph::CoefficientType;
use amq_runtime::vectorize;
use rayon::prelude::*;

use super::coefficients::{Affine, Coefficients, MAX_LEVELS, MAX_PLANES, normalise, round, solve};
use super::matrix::QuantizedMatrix;
pub use bits::BitCodes;
use cells::{Cells, cells, cells_of};

/// Share of the distance between two levels by which a weight is kept off the middle between them.
const MARGIN: f64 = 0.02;

/// Share of a weight's distance from its level that stays when it is pulled to it.
const KEEP: f64 = 0.1;

/// The codes of a matrix, ready to be fitted again from where they are: half a cycle of the alternating method each
/// time, as weights move little from one to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracked {
    rows: usize,
    cols: usize,
    group: usize,
    planes: usize,
    coefficient_type: CoefficientType,
    /// `[row][column]`: bit `i` is set where plane `i` is +1.
    codes: Vec<u8>,
    /// `[row][group]`
    coefficients: Vec<Coefficients>,
    /// `[row][group]`; they stay.
    offsets: Option<Vec<f32>>,
}

impl Tracked {
    /// Starts from the codes of a matrix.
    pub fn new(matrix: &QuantizedMatrix) -> Tracked {
        let planes = usize::from(matrix.bits);
        let words = (matrix.rows * matrix.cols).div_ceil(64);
        let code = |at: usize| {
            (0..planes).fold(0, |code, plane| {
                code | ((matrix.planes[plane * words + at / 64] >> (at % 64) & 1) as u8) << plane
            })
        };
        let widened = |a: &[f32]| {
            let mut all = [0.0; MAX_PLANES];
            all.iter_mut().zip(a).for_each(|(to, &a)| *to = f64::from(a));
            all
        };
        Tracked {
            rows: matrix.rows,
            cols: matrix.cols,
            group: matrix.group.max(1),
            planes,
            coefficient_type: matrix.coefficient_type,
            codes: (0..matrix.rows * matrix.cols).map(code).collect(),
            coefficients: matrix.coefficients.chunks_exact(planes).map(widened).collect(),
            offsets: matrix.offsets.clone(),
        }
    }

    /// The matrix as a file holds it.
    pub fn matrix(&self) -> QuantizedMatrix {
        let words = self.codes.len().div_ceil(64);
        let mut planes = vec![0; self.planes * words];
        for (at, code) in self.codes.iter().enumerate() {
            for plane in 0..self.planes {
                planes[plane * words + at / 64] |= u64::from(code >> plane & 1) << (at % 64);
            }
        }
        let of_group = |a: &Coefficients| a[..self.planes].to_vec();
        QuantizedMatrix {
            rows: self.rows,
            cols: self.cols,
            group: self.group,
            bits: self.planes as u8,
            coefficient_type: self.coefficient_type,
            planes,
            coefficients: self.coefficients.iter().flat_map(of_group).map(|a| a as f32).collect(),
            offsets: self.offsets.clone(),
        }
    }

    /// Codes and coefficients as bytes, of a fixed length for a matrix.
    pub fn save(&self, to: &mut Vec<u8>) {
        to.extend(&self.codes);
        let coefficients = self.coefficients.iter().flat_map(|a| &a[..self.planes]);
        to.extend(coefficients.flat_map(|&a| (a as f32).to_le_bytes()));
    }

    /// Takes back what [`Tracked::save`] gave; `None` if the bytes end before.
    pub fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        let codes = from.split_off(..self.codes.len())?;
        self.codes.copy_from_slice(codes);
        let planes = self.planes;
        for a in self.coefficients.iter_mut().flat_map(|a| &mut a[..planes]) {
            *a = f64::from(f32::from_le_bytes(from.split_off(..4)?.try_into().ok()?));
        }
        Some(())
    }

    /// Moves each weight as little as it takes for its code to stay the nearest, and clear of the middle between two
    /// levels: codes that were fitted to what they meet are not those nearest to the weights.
    ///
    /// # Panics
    /// If there are not as many weights as codes.
    pub fn pull(&self, weights: &mut [f32]) {
        assert_eq!(weights.len(), self.codes.len(), "weights of the matrix");
        let groups = self.cols.div_ceil(self.group);
        let rows = self.codes.par_chunks(self.cols).zip(weights.par_chunks_mut(self.cols));
        rows.enumerate().with_min_len(16).for_each(|(row, (codes, weights))| {
            let parts = weights.chunks_mut(self.group).zip(codes.chunks(self.group));
            for (at, (weights, codes)) in parts.enumerate() {
                let group = row * groups + at;
                let levels = Affine::plain(self.coefficients[group]).levels(self.planes);
                let offset = self.offset(group);
                let sorted = levels.sorted();
                let mut cells = [(0.0, 0.0); MAX_LEVELS];
                for (at, &(level, code)) in sorted.iter().enumerate() {
                    let share = 0.5 - MARGIN;
                    let below = at.checked_sub(1).map_or(f64::NEG_INFINITY, |before| {
                        level - share * (level - sorted[before].0)
                    });
                    let above = sorted
                        .get(at + 1)
                        .map_or(f64::INFINITY, |next| level + share * (next.0 - level));
                    cells[usize::from(code)] = (below, above);
                }

                for (w, &code) in weights.iter_mut().zip(codes) {
                    let (below, above) = cells[usize::from(code)];
                    let level = levels.value(code);
                    let within = (f64::from(*w) - offset).clamp(below, above);
                    *w = (level + KEEP * (within - level) + offset) as f32;
                }
            }
        });
    }

    fn offset(&self, group: usize) -> f64 {
        self.offsets.as_ref().map_or(0.0, |offsets| f64::from(offsets[group]))
    }

    /// Bounds the weights of each row, gives each the nearest level, then fits the coefficients by least squares; writes
    /// what the codes stand for to `decoded`. A group whose codes do not determine all coefficients keeps them.
    ///
    /// # Panics
    /// If there are not as many weights and results as codes, and bounds as rows.
    pub fn follow(&mut self, weights: &mut [f32], bounds: &[f32], decoded: &mut [f32]) {
        assert_eq!(weights.len(), self.codes.len(), "weights of the matrix");
        assert_eq!(bounds.len(), self.rows, "bounds of the rows");
        assert_eq!(decoded.len(), self.codes.len(), "weights of the matrix");
        let (cols, width, planes) = (self.cols, self.group, self.planes);
        let (groups, kind) = (self.cols.div_ceil(self.group), self.coefficient_type);
        let offsets = self.offsets.as_deref();
        let rows = self.codes.par_chunks_mut(cols).zip(self.coefficients.par_chunks_mut(groups));
        let rows = rows.zip(weights.par_chunks_mut(cols).zip(bounds));
        let rows = rows.zip(decoded.par_chunks_mut(cols)).enumerate().with_min_len(16);
        rows.for_each(|(row, (((codes, all), (weights, bound)), decoded))| {
            vectorize(
                #[inline(always)]
                || weights.iter_mut().for_each(|w| *w = w.clamp(-bound, *bound)),
            );
            let parts = codes.chunks_mut(width).zip(weights.chunks(width));
            let parts = parts.zip(decoded.chunks_mut(width)).zip(all).enumerate();
            for (at, (((codes, weights), decoded), coefficients)) in parts {
                let offset = offsets.map_or(0.0, |offsets| offsets[row * groups + at]);
                fit(planes, kind, offset, (codes, coefficients), weights);
                decode(planes, offset, codes, coefficients, decoded);
            }
        });
    }

    /// Writes what the codes stand for.
    ///
    /// # Panics
    /// If there are not as many results as codes.
    pub fn decode(&self, decoded: &mut [f32]) {
        assert_eq!(decoded.len(), self.codes.len(), "weights of the matrix");
        let groups = self.cols.div_ceil(self.group);
        let rows = self.codes.chunks(self.cols.max(1)).zip(decoded.chunks_mut(self.cols.max(1)));
        for (row, (codes, decoded)) in rows.enumerate() {
            let parts = codes.chunks(self.group).zip(decoded.chunks_mut(self.group));
            for (at, (codes, decoded)) in parts.enumerate() {
                let group = row * groups + at;
                let coefficients = &self.coefficients[group];
                decode(self.planes, self.offset(group) as f32, codes, coefficients, decoded);
            }
        }
    }
}

/// What each code stands for, in the order of a file's sums.
fn decode(planes: usize, offset: f32, codes: &[u8], a: &Coefficients, decoded: &mut [f32]) {
    let mut levels = [0.0f32; MAX_LEVELS];
    for (code, level) in levels[..1 << planes].iter_mut().enumerate() {
        for (plane, &a) in a[..planes].iter().enumerate() {
            let term = if code >> plane & 1 == 1 { a as f32 } else { -a as f32 };
            *level = if plane == 0 { term } else { *level + term };
        }
        *level += offset;
    }
    let all = decoded.iter_mut().zip(codes);
    vectorize(
        #[inline(always)]
        || match planes {
            1 | 2 => all.for_each(|(to, &code)| *to = pick(&levels, code)),
            _ => all.for_each(|(to, &code)| *to = levels[usize::from(code)]),
        },
    );
}

/// Of up to four what stands at a code, by choices that run in lanes.
#[inline(always)]
fn pick<T: Copy>(table: &[T; MAX_LEVELS], code: u8) -> T {
    let [a, b, c, d, ..] = *table;
    let low = if code & 1 == 0 { a } else { b };
    let high = if code & 1 == 0 { c } else { d };
    if code & 2 == 0 { low } else { high }
}

/// The nearest code of each weight, then the coefficients of these codes.
fn fit(
    planes: usize,
    kind: CoefficientType,
    offset: f32,
    (codes, coefficients): (&mut [u8], &mut Coefficients),
    weights: &[f32],
) {
    let levels = Affine::plain(*coefficients).levels(planes);
    let sorted = levels.sorted();
    let mut thresholds = [f32::INFINITY; MAX_LEVELS];
    for (to, pair) in thresholds.iter_mut().zip(sorted.windows(2)) {
        *to = (0.5 * (pair[0].0 + pair[1].0)) as f32;
    }
    let mut by_place = [0u8; MAX_LEVELS];
    by_place.iter_mut().zip(sorted).for_each(|(to, &(_, code))| *to = code);
    let cells = match planes {
        1 => cells_of::<1>(&thresholds, offset, weights, codes),
        2 => cells_of::<3>(&thresholds, offset, weights, codes),
        3 => cells_of::<7>(&thresholds, offset, weights, codes),
        _ => cells(planes, &thresholds, offset, weights, codes),
    };
    vectorize(
        #[inline(always)]
        || match planes {
            1 | 2 => codes.iter_mut().for_each(|code| *code = pick(&by_place, *code)),
            _ => codes.iter_mut().for_each(|code| *code = by_place[usize::from(*code)]),
        },
    );
    let Cells { sums, counts } = cells;
    let mut gram = [[0.0; MAX_PLANES]; MAX_PLANES];
    let mut right = [0.0; MAX_PLANES];
    let sign = |code: u8, plane: usize| if code >> plane & 1 == 1 { 1.0 } else { -1.0 };
    for place in 0..1 << planes {
        let code = by_place[place];
        for (i, gram) in gram[..planes].iter_mut().enumerate() {
            right[i] += sign(code, i) * sums[place];
            for (j, sum) in gram[..planes].iter_mut().enumerate() {
                *sum += sign(code, i) * sign(code, j) * f64::from(counts[place]);
            }
        }
    }
    let solved = solve(&mut gram, &mut right, planes, weights.len() as f64);
    let Some(mut found) = round(&solved, kind) else { return };
    if found[..planes].iter().any(|&a| a == 0.0 || !a.is_finite()) {
        return;
    }
    let recode = normalise(&mut found, planes);
    *coefficients = found;
    if recode[..1 << planes].iter().enumerate().any(|(code, &new)| code != usize::from(new)) {
        codes.iter_mut().for_each(|code| *code = recode[usize::from(*code)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Cycles, Method, Options, quantize};

    fn largest(row: &[f32]) -> f32 {
        row.iter().fold(0.0, |most, w| most.max(w.abs()))
    }

    pub(super) fn weights(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0).powi(3)).collect()
    }

    pub(super) fn coded(weights: &[f32], cols: usize, bits: u8, group: usize) -> QuantizedMatrix {
        let cycles = Cycles::Count(2);
        let method = Method::Alternating;
        let options = Options { bits, method, group, cycles, keeps_sums: false, shifts: false };
        quantize(weights, weights.len() / cols, cols, &options, &|_| ())
    }

    #[test]
    fn what_is_not_followed_stays_as_it_was() {
        for (bits, group) in [(1, 0), (2, 0), (3, 32), (8, 0)] {
            let matrix = coded(&weights(5 * 70), 70, bits, group);
            let tracked = Tracked::new(&matrix);
            assert_eq!(tracked.matrix(), matrix);
            let (mut found, mut expected) = (vec![0.0; 5 * 70], vec![0.0; 70]);
            tracked.decode(&mut found);
            for (row, found) in found.chunks(70).enumerate() {
                matrix.decode_row(row, &mut expected);
                assert_eq!(found, expected);
            }
        }
    }

    /// Following the same weights is alternating: the error falls, and never below that of convergence.
    #[test]
    fn following_alternates() {
        let mut weights = weights(4 * 96);
        for bits in [1, 2, 3] {
            let mut tracked = Tracked::new(&coded(&weights, 96, bits, 0));
            let mut decoded = vec![0.0; weights.len()];
            let mut last = f64::INFINITY;
            for _ in 0..6 {
                tracked.follow(&mut weights, &[f32::INFINITY; 4], &mut decoded);
                let error = tracked.matrix().relative_mse(&weights);
                assert!(error <= last * (1.0 + 1e-3), "{bits}: {error} after {last}");
                last = error;
            }
            let mut again = vec![0.0; weights.len()];
            tracked.decode(&mut again);
            assert_eq!(decoded, again);
        }
    }

    /// Weights that are pulled have the codes that they had, and those that are where they belong stay.
    #[test]
    fn pulled_weights_keep_their_codes() {
        let original = weights(3 * 64);
        let matrix = coded(&original, 64, 2, 0);
        let tracked = Tracked::new(&matrix);
        let mut pulled: Vec<f32> = original.iter().map(|w| -w).collect();
        tracked.pull(&mut pulled);
        let mut followed = tracked.clone();
        followed.follow(&mut pulled, &[f32::INFINITY; 3], &mut vec![0.0; original.len()]);
        assert_eq!(followed.codes, tracked.codes);
        let mut decoded = vec![0.0; original.len()];
        tracked.decode(&mut decoded);
        let levels = decoded.clone();
        tracked.pull(&mut decoded);
        assert_eq!(decoded, levels);
    }

    #[test]
    fn what_is_saved_comes_back() {
        let weights = weights(2 * 40);
        let matrix = coded(&weights, 40, 2, 0);
        let mut tracked = Tracked::new(&matrix);
        let mut other = Tracked::new(&matrix);
        let mut moved: Vec<f32> = weights.iter().map(|w| w * 1.5 - 0.1).collect();
        tracked.follow(&mut moved, &[0.75, 1.0], &mut vec![0.0; weights.len()]);
        assert_eq!([&moved[..40], &moved[40..]].map(largest), [0.75, 1.0]);
        assert_ne!(tracked, other);
        let mut bytes = Vec::new();
        tracked.save(&mut bytes);
        other.restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(tracked, other);
        assert!(other.restore(&mut &bytes[1..]).is_none());
    }
}
