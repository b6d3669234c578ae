//! Codes and coefficients of rows in a norm of their products: error feedback and coordinate descent.
//!
//! Rows that share a norm go together, block by block of columns: what a block's codes leave reaches the
//! other columns as one product of matrices.

use std::ops::Range;

use amq_format::graph::CoefficientType;

use super::coefficients::{Affine, Coefficients, Levels, MAX_PLANES, normalise, round, solve};
use super::norm::{BLOCK, Norm};

/// Rows that go together.
pub(super) const BATCH: usize = 32;
/// Shares of the coefficients that feedback starts from, of which the best is kept, row by row. Levels that lie
/// closer than those of least error of the weights often end with less error of the products.
pub(super) const STARTS: &[f64] = &[1.0, 0.85, 0.75];
/// Rounds of feedback from each start, each followed by a fit of the coefficients.
const FEEDBACK: usize = 2;
/// Rounds of coordinate descent, each followed by a fit of the coefficients.
const DESCENTS: usize = 6;
/// Sweeps of a round at most.
const SWEEPS: usize = 8;
/// Planes from which coefficients stay as they are: the levels lie so close that codes make good for it.
const MANY_PLANES: usize = 6;
/// A gain below this share of the error ends the rounds.
const GAIN: f64 = 1e-3;
/// A change of one code must gain so much of the error: less is lost in rounding.
const LEAST_GAIN: f64 = 1e-6;

/// Rows that are fitted in a norm.
pub(super) struct Batch<'a> {
    norm: &'a Norm,
    planes: usize,
    coefficient_type: CoefficientType,
    columns: usize,
    /// Columns that have coefficients of their own, in the norm's order.
    group: usize,
    starts: &'a [f64],
}

/// A row that is fitted.
pub(super) struct Problem {
    /// In the norm's order of columns.
    weights: Vec<f32>,
    /// `H w`
    product: Vec<f32>,
    /// The best that was found.
    best: Fit,
    /// What is tried.
    next: Fit,
    done: bool,
}

/// Codes and coefficients, and what they leave.
#[derive(Clone, Debug, Default)]
struct Fit {
    codes: Vec<u8>,
    /// Of each group.
    coefficients: Vec<Coefficients>,
    /// `H e` of the error `e`.
    slope: Vec<f32>,
    error: f64,
}

impl Problem {
    /// A row, and where to start from.
    pub(super) fn new(
        weights: &[f32],
        codes: &[u8],
        coefficients: Vec<Coefficients>,
        norm: &Norm,
    ) -> Problem {
        let codes = norm.order().iter().map(|&column| codes[column]).collect();
        let weights = norm.order().iter().map(|&column| weights[column]).collect();
        let next = Fit { codes, coefficients, ..Fit::default() };
        Problem { weights, product: Vec::new(), best: Fit::default(), next, done: false }
    }

    /// The best codes and coefficients.
    pub(super) fn found(self, norm: &Norm) -> (Vec<u8>, Vec<Coefficients>) {
        let mut codes = vec![0; self.best.codes.len()];
        for (&column, code) in norm.order().iter().zip(&self.best.codes) {
            codes[column] = *code;
        }
        (codes, self.best.coefficients)
    }

    /// Keeps what was tried if it is better; tells by what share of the error.
    fn keep(&mut self) -> f64 {
        let gain = (self.best.error - self.next.error) / self.best.error;
        if gain > 0.0 {
            self.best.clone_from(&self.next);
        }
        gain
    }

    /// What the codes leave of each weight.
    fn errors(&self, planes: usize, group: usize, out: &mut [f32]) {
        let groups = self.next.levels(planes).into_iter().zip(out.chunks_mut(group));
        let groups = groups.zip(self.weights.chunks(group)).zip(self.next.codes.chunks(group));
        for (((levels, out), weights), codes) in groups {
            for ((out, &w), &code) in out.iter_mut().zip(weights).zip(codes) {
                *out = (f64::from(w) - levels.value(code)) as f32;
            }
        }
    }
}

impl Fit {
    /// The levels of each group.
    fn levels(&self, planes: usize) -> Vec<Levels> {
        self.coefficients.iter().map(|group| Affine::plain(*group).levels(planes)).collect()
    }
}

impl<'a> Batch<'a> {
    /// Rows that have coefficients of their own for each so many columns.
    pub(super) fn new(
        norm: &'a Norm,
        group: usize,
        planes: usize,
        coefficient_type: CoefficientType,
        starts: &'a [f64],
    ) -> Batch<'a> {
        let columns = norm.order().len();
        Batch { norm, planes, coefficient_type, columns, group: group.max(1), starts }
    }

    /// Groups of a row.
    pub(super) fn groups(&self) -> usize {
        self.columns.div_ceil(self.group).max(1)
    }

    /// Finds the least error for each row; `None` if coefficients need a wider type.
    pub(super) fn solve(&self, problems: &mut [Problem]) -> Option<()> {
        let mut rows: Vec<&mut Problem> = problems.iter_mut().collect();
        let products = self.images(&rows, |row, out| out.copy_from_slice(&row.weights));
        for (row, product) in rows.iter_mut().zip(products.chunks_exact(self.columns)) {
            row.product = product.to_vec();
        }
        self.weigh(&mut rows);
        for row in &mut rows {
            row.best = row.next.clone();
        }
        let first: Vec<_> = rows.iter().map(|row| row.next.coefficients.clone()).collect();
        for &start in self.starts {
            for (row, first) in rows.iter_mut().zip(&first) {
                row.next.coefficients =
                    first.iter().map(|group| group.map(|a| start * a)).collect();
            }
            for _ in 0..FEEDBACK {
                self.feed_back(&mut rows);
                self.fit_coefficients(&mut rows)?;
                rows.iter_mut().for_each(|row| {
                    row.keep();
                });
            }
        }
        for row in &mut rows {
            row.next.clone_from(&row.best);
        }
        for _ in 0..DESCENTS {
            self.descend(&mut rows);
            self.fit_coefficients(&mut rows)?;
            for row in &mut rows {
                let gain = row.keep();
                row.done = gain.is_nan() || gain <= GAIN;
            }
            rows.retain(|row| !row.done);
            if rows.is_empty() {
                break;
            }
        }
        Some(())
    }

    /// `H` times a vector of each row, `[row][column]`.
    fn images(&self, rows: &[&mut Problem], vector: impl Fn(&Problem, &mut [f32])) -> Vec<f32> {
        let mut vectors = vec![0.0; rows.len() * self.columns];
        for (row, out) in rows.iter().zip(vectors.chunks_exact_mut(self.columns)) {
            vector(row, out);
        }
        let mut images = vec![0.0; vectors.len()];
        self.norm.apply(&vectors, &mut images);
        images
    }

    /// Computes what is left of each row, and its error.
    fn weigh(&self, rows: &mut [&mut Problem]) {
        let slopes = self.images(rows, |row, out| row.errors(self.planes, self.group, out));
        let mut errors = vec![0.0; self.columns];
        for (row, slope) in rows.iter_mut().zip(slopes.chunks_exact(self.columns)) {
            row.errors(self.planes, self.group, &mut errors);
            row.next.error =
                errors.iter().zip(slope).map(|(&e, &x)| f64::from(e) * f64::from(x)).sum();
            row.next.slope = slope.to_vec();
        }
    }

    /// Column by column: the nearest level to the weight and what earlier columns' errors ask of it.
    fn feed_back(&self, rows: &mut [&mut Problem]) {
        let mut wanted: Vec<f32> =
            rows.iter().flat_map(|row| row.weights.iter().copied()).collect();
        let levels: Vec<Vec<Levels>> =
            rows.iter().map(|row| row.next.levels(self.planes)).collect();
        for block in self.norm.blocks() {
            let (columns, wide) = (block.columns.clone(), block.columns.len());
            let mut errors = vec![0.0; rows.len() * wide];
            let wanted_of_rows = wanted.chunks_exact(self.columns);
            for (((row, levels), wanted), errors) in
                rows.iter_mut().zip(&levels).zip(wanted_of_rows).zip(errors.chunks_exact_mut(wide))
            {
                let mut wanted_here = [0.0; BLOCK];
                wanted_here[..wide].copy_from_slice(&wanted[columns.clone()]);
                for (index, column) in columns.clone().enumerate() {
                    let levels = &levels[column / self.group];
                    let (level, code) = levels.nearest(wanted_here[index].into());
                    row.next.codes[column] = code;
                    errors[index] = (f64::from(row.weights[column]) - level) as f32;
                    let later = &block.later[index * wide..(index + 1) * wide];
                    add_scaled(
                        &mut wanted_here[index + 1..wide],
                        errors[index],
                        &later[index + 1..],
                    );
                }
            }
            self.norm.feed_later(block, &errors, &mut wanted);
        }
    }

    /// Changes one code after another where that lowers the error, until none does or often enough.
    fn descend(&self, rows: &mut [&mut Problem]) {
        let levels: Vec<Vec<Levels>> =
            rows.iter().map(|row| row.next.levels(self.planes)).collect();
        let mut slopes: Vec<f32> =
            rows.iter().flat_map(|row| row.next.slope.iter().copied()).collect();
        for _ in 0..SWEEPS {
            let mut settled = true;
            for block in self.norm.blocks() {
                let (columns, wide) = (block.columns.clone(), block.columns.len());
                let mut steps = vec![0.0; rows.len() * wide];
                let slopes_of_rows = slopes.chunks_exact(self.columns);
                for (((row, levels), slope), steps) in rows
                    .iter_mut()
                    .zip(&levels)
                    .zip(slopes_of_rows)
                    .zip(steps.chunks_exact_mut(wide))
                {
                    let mut slope_here = [0.0; BLOCK];
                    slope_here[..wide].copy_from_slice(&slope[columns.clone()]);
                    let least = LEAST_GAIN * row.next.error;
                    let codes = &mut row.next.codes[columns.clone()];
                    for (index, code) in codes.iter_mut().enumerate() {
                        let levels = &levels[(columns.start + index) / self.group];
                        let h = &block.h[index * wide..(index + 1) * wide];
                        let (value, slope) = (levels.value(*code), f64::from(slope_here[index]));
                        let diagonal = f64::from(h[index]);
                        let (level, new) = levels.nearest(value + slope / diagonal);
                        let step = level - value;
                        let gain = step * (2.0 * slope - step * diagonal);
                        if new == *code || gain.is_nan() || gain <= least {
                            continue;
                        }
                        *code = new;
                        steps[index] = -step as f32;
                        add_scaled(&mut slope_here[..wide], steps[index], h);
                        settled = false;
                    }
                }
                self.norm.apply_columns(block.columns.clone(), &steps, &mut slopes);
            }
            if settled {
                break;
            }
        }
    }

    /// The best coefficients for the codes, in the norm, and what they leave: those of one group after the other,
    /// for what the others give.
    fn fit_coefficients(&self, rows: &mut [&mut Problem]) -> Option<()> {
        if self.planes < MANY_PLANES {
            if self.groups() > 1 {
                self.weigh(rows);
            }
            for (group, start) in (0..self.columns).step_by(self.group).enumerate() {
                let columns = start..(start + self.group).min(self.columns);
                self.fit_group(rows, group, columns)?;
            }
        }
        self.weigh(rows);
        Some(())
    }

    /// The best coefficients of a group's columns. Where it is not the only one, the slopes are those of what is
    /// left, before and after.
    fn fit_group(
        &self,
        rows: &mut [&mut Problem],
        group: usize,
        columns: Range<usize>,
    ) -> Option<()> {
        let alone = self.groups() == 1;
        let images: Vec<Vec<f32>> = (0..self.planes)
            .map(|plane| {
                let of_row = |row: &&mut Problem| -> Vec<f32> {
                    row.next.codes[columns.clone()].iter().map(|&c| sign(c, plane)).collect()
                };
                let signs: Vec<f32> = rows.iter().flat_map(of_row).collect();
                let mut images = vec![0.0; rows.len() * self.columns];
                self.norm.apply_columns(columns.clone(), &signs, &mut images);
                images
            })
            .collect();
        for (index, row) in rows.iter_mut().enumerate() {
            let image = |plane: usize| &images[plane][index * self.columns..][..self.columns];
            let codes = &row.next.codes[columns.clone()];
            let mut wanted = row.product[columns.clone()].to_vec();
            if !alone {
                wanted.copy_from_slice(&row.next.slope[columns.clone()]);
                for plane in 0..self.planes {
                    let a = row.next.coefficients[group][plane] as f32;
                    add_scaled(&mut wanted, a, &image(plane)[columns.clone()]);
                }
            }
            let mut gram = [[0.0; MAX_PLANES]; MAX_PLANES];
            let mut right = [0.0; MAX_PLANES];
            for i in 0..self.planes {
                right[i] = along(codes, i, &wanted);
                for (j, image) in images.iter().enumerate().skip(i) {
                    let image = &image[index * self.columns..][..self.columns];
                    let product = along(codes, i, &image[columns.clone()]);
                    (gram[i][j], gram[j][i]) = (product, product);
                }
            }
            let full = gram.iter().enumerate().map(|(i, row)| row[i]).fold(0.0, f64::max);
            let mut solved = solve(&mut gram, &mut right, self.planes, full);
            if !alone {
                let rounded = round(&solved, self.coefficient_type)?;
                let old = row.next.coefficients[group];
                for (plane, (old, new)) in old.iter().zip(rounded).enumerate().take(self.planes) {
                    add_scaled(&mut row.next.slope, (old - new) as f32, image(plane));
                }
            }
            let recode = normalise(&mut solved, self.planes);
            for code in &mut row.next.codes[columns.clone()] {
                *code = recode[usize::from(*code)];
            }
            row.next.coefficients[group] = round(&solved, self.coefficient_type)?;
        }
        Some(())
    }
}

/// The sign of a plane in a code.
fn sign(code: u8, plane: usize) -> f32 {
    if code >> plane & 1 == 1 { 1.0 } else { -1.0 }
}

/// The sum of values, negated where a plane of the codes is -1.
fn along(codes: &[u8], plane: usize, values: &[f32]) -> f64 {
    codes.iter().zip(values).map(|(&code, &x)| f64::from(sign(code, plane) * x)).sum()
}

/// `y += a x`
fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}
