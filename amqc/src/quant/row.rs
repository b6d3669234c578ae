//! The methods, for one row.

#[cfg(test)]
mod tests;

use amq_format::graph::CoefficientType;

use super::best::{best, best_affine, ladder};
use super::coefficients::{
    Affine, Coefficients, MAX_LEVELS, MAX_PLANES, nearest, normalise, round, solve, widened,
};
use super::feedback::{Batch, Problem};
use super::norm::Norm;
use super::{Cycles, Method, Options};

/// Cycles after which convergence is taken for granted. Rounded coefficients can make codes swing
/// between two states of nearly equal error.
const CONVERGENCE_LIMIT: u32 = 1000;

/// Square of the mean, over the variance, of what a row meets that keeps its sum. Pixels that were never
/// negative have about a half; what they have in common counts more than that.
const MEAN: f64 = 1.0;

/// Codes and coefficients of one row.
pub(super) struct Row<'a> {
    weights: &'a [f32],
    coefficient_type: CoefficientType,
    planes: usize,
    /// A column's codes: bit `i` is set where plane `i` is +1.
    codes: Vec<u8>,
    /// Zero past the planes in use.
    coefficients: Coefficients,
    /// What is added to the sum of the planes.
    offset: f64,
}

impl<'a> Row<'a> {
    /// Quantizes `weights`; `None` if their coefficients need a wider type.
    pub(super) fn fit(
        weights: &'a [f32],
        options: &Options,
        coefficient_type: CoefficientType,
    ) -> Option<Self> {
        let mut row = Self {
            weights,
            coefficient_type,
            planes: usize::from(options.bits),
            codes: vec![0; weights.len()],
            coefficients: [0.0; MAX_PLANES],
            offset: 0.0,
        };
        match options.method {
            Method::Uniform => {
                row.ladder()?;
                row.assign();
            }
            Method::Balanced => row.balance()?,
            Method::Greedy => row.greedy(false)?,
            Method::Refined => row.greedy(true)?,
            Method::Alternating => {
                row.greedy(false)?;
                row.alternate(options.cycles)?;
            }
            Method::Best | Method::Calibrated => {
                row.greedy(false)?;
                // One plane is at its best, and has no other start.
                if row.planes > 1 {
                    row.coefficients =
                        best(weights, &row.coefficients, row.planes, coefficient_type)?;
                    row.assign();
                }
            }
        }
        if options.keeps_sums
            && matches!(options.method, Method::Uniform | Method::Alternating | Method::Best)
        {
            row.keep_sum();
        }
        Some(row)
    }

    /// Shifts the levels of a fit to where they leave the least error, unless all weights are of one sign: a bank of
    /// filters of energies must not give negative ones, of which a logarithm follows. `None` if coefficients need a
    /// wider type.
    pub(super) fn shifted(&self) -> Option<Self> {
        let of_one_sign =
            self.weights.iter().all(|&w| w >= 0.0) || self.weights.iter().all(|&w| w <= 0.0);
        if of_one_sign {
            return Some(Self { codes: self.codes.clone(), ..*self });
        }
        let Affine { coefficients, offset } =
            best_affine(self.weights, &self.coefficients, self.planes, self.coefficient_type)?;
        let mut row = Self { coefficients, offset, codes: self.codes.clone(), ..*self };
        row.assign();
        Some(row)
    }

    /// Quantizes to equally spaced levels from the least to the largest weight, of which 0 is one; `None` if
    /// coefficients need a wider type.
    pub(super) fn fit_affine(
        weights: &'a [f32],
        options: &Options,
        coefficient_type: CoefficientType,
    ) -> Option<Self> {
        let planes = usize::from(options.bits);
        let [least, largest] = weights
            .iter()
            .fold([0.0, 0.0], |[a, b], &w| [f64::from(w).min(a), f64::from(w).max(b)]);
        let steps = ((1 << planes) - 1) as f64;
        let half = (largest - least) / steps * 0.5;
        let zero = if half == 0.0 { 0.0 } else { (-least / (2.0 * half)).round() };
        let half = widened(half, (steps - 2.0 * zero).abs(), coefficient_type);
        let mut row = Self {
            weights,
            coefficient_type,
            planes,
            codes: vec![0; weights.len()],
            coefficients: ladder(half * steps, planes),
            offset: (steps - 2.0 * zero) * half,
        };
        row.round()?;
        row.assign();
        if options.keeps_sums {
            row.keep_sum();
        }
        Some(row)
    }

    /// Sum of squared errors.
    pub(super) fn error(&self) -> f64 {
        self.errors().iter().map(|error| error * error).sum()
    }

    pub(super) fn offset(&self) -> f64 {
        self.offset
    }

    /// Fits codes and coefficients of rows anew, from these, in a norm of the products; `None` if the
    /// coefficients need a wider type. Each row is given in groups of so many columns, one after the other;
    /// `starts` are shares of the coefficients.
    pub(super) fn refit(
        rows: &mut [Row<'_>],
        group: usize,
        norm: &Norm,
        starts: &[f64],
    ) -> Option<()> {
        let Some(first) = rows.first() else { return Some(()) };
        let (planes, coefficient_type) = (first.planes, first.coefficient_type);
        let batch = Batch::new(norm, group, planes, coefficient_type, starts);
        let groups = batch.groups();
        let problem = |groups: &[Row<'_>]| {
            let weights: Vec<f32> = groups.iter().flat_map(|row| row.weights).copied().collect();
            let codes: Vec<u8> = groups.iter().flat_map(|row| &row.codes).copied().collect();
            let coefficients = groups.iter().map(|row| row.coefficients).collect();
            Problem::new(&weights, &codes, coefficients, norm)
        };
        let mut problems: Vec<Problem> = rows.chunks_exact(groups).map(problem).collect();
        batch.solve(&mut problems)?;
        for (rows, problem) in rows.chunks_exact_mut(groups).zip(problems) {
            let (codes, coefficients) = problem.found(norm);
            let codes = codes.chunks(group.max(1));
            for ((row, codes), coefficients) in rows.iter_mut().zip(codes).zip(coefficients) {
                (row.codes, row.coefficients) = (codes.to_vec(), coefficients);
            }
        }
        Some(())
    }

    /// What the codes leave of each weight.
    pub(super) fn errors(&self) -> Vec<f64> {
        let levels = Affine { coefficients: self.coefficients, offset: self.offset };
        let levels = levels.levels(self.planes);
        let errors = self.weights.iter().zip(&self.codes);
        errors.map(|(&w, &code)| f64::from(w) - levels.value(code)).collect()
    }

    pub(super) fn codes(&self) -> &[u8] {
        &self.codes
    }

    pub(super) fn coefficients(&self) -> &[f64] {
        &self.coefficients[..self.planes]
    }

    /// Coefficients `m 2^i / (2^k - 1)`, `m` being the largest magnitude: `2^k` levels equally
    /// spaced from `-m` to `m`.
    fn ladder(&mut self) -> Option<()> {
        let largest = self.weights.iter().fold(0.0, |m, &w| f64::from(w).abs().max(m));
        self.coefficients = ladder(largest, self.planes);
        self.round()
    }

    /// Gives the ladder's level `i` to the `i`-th of `2^k` bins of equal mass. Equal weights share
    /// the bin of their middle rank.
    fn balance(&mut self) -> Option<()> {
        self.ladder()?;
        let mut sorted = self.weights.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        for (code, w) in self.codes.iter_mut().zip(self.weights) {
            let below = sorted.partition_point(|other| other < w);
            let to_here = sorted.partition_point(|other| other <= w);
            let level = ((below + to_here) << self.planes) / (2 * sorted.len());
            // The level's highest bit belongs to the largest coefficient, plane 0.
            *code = (level as u8).reverse_bits() >> (MAX_PLANES - self.planes);
        }
        Some(())
    }

    /// Takes for each plane the signs of the residual, and for its coefficient their mean
    /// magnitude or, to refine, fits all coefficients so far by least squares.
    fn greedy(&mut self, refine: bool) -> Option<()> {
        for plane in 0..self.planes {
            let levels = self.levels();
            let mut sum = 0.0;
            for (code, &w) in self.codes.iter_mut().zip(self.weights) {
                let residual = f64::from(w) - levels[usize::from(*code)];
                sum += residual.abs();
                *code |= u8::from(residual >= 0.0) << plane;
            }
            if refine {
                self.least_squares(plane + 1)?;
            } else {
                self.coefficients[plane] = sum / self.weights.len().max(1) as f64;
                self.round()?;
            }
        }
        self.normalise(self.planes);
        Some(())
    }

    /// Fits coefficients and codes in turn, and coefficients once more.
    fn alternate(&mut self, cycles: Cycles) -> Option<()> {
        let limit = match cycles {
            Cycles::Count(count) => count,
            Cycles::Converge => CONVERGENCE_LIMIT,
        };
        self.least_squares(self.planes)?;
        for _ in 0..limit {
            let before = self.codes.clone();
            self.assign();
            if self.codes == before {
                break;
            }
            self.least_squares(self.planes)?;
        }
        Some(())
    }

    /// The value of each code.
    fn levels(&self) -> [f64; MAX_LEVELS] {
        let mut levels = [self.offset; MAX_LEVELS];
        for (code, level) in levels[..1 << self.planes].iter_mut().enumerate() {
            for (plane, a) in self.coefficients().iter().enumerate() {
                *level += if code >> plane & 1 == 1 { *a } else { -a };
            }
        }
        levels
    }

    /// Gives each weight the nearest level, the upper one of two.
    ///
    /// A plane of coefficient 0 gets the signs of the residual, a new start for it: the two levels
    /// that it tells apart are equal, and so is the threshold between them.
    fn assign(&mut self) {
        let levels = self.levels();
        let (order, level) = (self.order(&levels), |code: u8| levels[usize::from(code)]);
        let mut thresholds = [0.0; MAX_LEVELS - 1];
        for (threshold, pair) in thresholds.iter_mut().zip(order.windows(2)) {
            *threshold = 0.5 * (level(pair[0]) + level(pair[1]));
        }
        for (code, &w) in self.codes.iter_mut().zip(self.weights) {
            let mut index = 0;
            for step in (0..self.planes).rev() {
                let half = 1 << step;
                index += usize::from(f64::from(w) >= thresholds[index + half - 1]) << step;
            }
            *code = order[index];
        }
    }

    /// Codes by their levels, ascending.
    fn order(&self, levels: &[f64; MAX_LEVELS]) -> Vec<u8> {
        let mut order: Vec<u8> = (0..1_u16 << self.planes).map(|code| code as u8).collect();
        let level = |code: u8| levels[usize::from(code)];
        order.sort_unstable_by(|&a, &b| level(a).total_cmp(&level(b)).then(a.cmp(&b)));
        order
    }

    /// Moves weights that lie almost between two levels to the farther one, until the sum of all errors `e` is
    /// near 0: what is then least is `sum e^2 + MEAN (sum e)^2`, where each weight moves at most once.
    fn keep_sum(&mut self) {
        let levels = self.levels();
        let order = self.order(&levels);
        let level = |code: u8| levels[usize::from(code)];
        let errors = self.errors();
        let sum: f64 = errors.iter().sum();
        let up = sum > 0.0;
        // For each code, the nearest other level on the side to which weights move.
        let mut next = [0; MAX_LEVELS];
        for (place, &code) in order.iter().enumerate() {
            let beyond = match up {
                true => order[place..].iter().find(|&&other| level(other) > level(code)),
                false => order[..place].iter().rfind(|&&other| level(other) < level(code)),
            };
            next[usize::from(code)] = *beyond.unwrap_or(&code);
        }
        let mut moves: Vec<(f64, f64, usize)> = Vec::new();
        for (column, (&code, &error)) in self.codes.iter().zip(&errors).enumerate() {
            let gap = (level(next[usize::from(code)]) - level(code)).abs();
            let error = if up { error } else { -error };
            if gap > 0.0 && gap < 2.0 * sum.abs() {
                moves.push((gap - 2.0 * error, gap, column));
            }
        }
        moves.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        let mut left = sum.abs();
        for (price, gap, column) in moves {
            if price < MEAN * (2.0 * left - gap) {
                left -= gap;
                self.codes[column] = next[usize::from(self.codes[column])];
            }
        }
    }

    /// The best coefficients of the first `planes` planes for their codes. A plane that depends on
    /// earlier ones gets 0.
    fn least_squares(&mut self, planes: usize) -> Option<()> {
        // Columns of the same codes enter the normal equations as one.
        let mut counts = [0_u64; MAX_LEVELS];
        let mut sums = [0.0; MAX_LEVELS];
        for (&code, &w) in self.codes.iter().zip(self.weights) {
            counts[usize::from(code)] += 1;
            sums[usize::from(code)] += f64::from(w);
        }
        let mut gram = [[0.0; MAX_PLANES]; MAX_PLANES];
        let mut right = [0.0; MAX_PLANES];
        for code in (0..1 << planes).filter(|&code| counts[code] > 0) {
            let sign = |plane: usize| if code >> plane & 1 == 1 { 1.0 } else { -1.0 };
            for i in 0..planes {
                right[i] += sign(i) * sums[code];
                for (j, entry) in gram[i][..planes].iter_mut().enumerate() {
                    *entry += sign(i) * sign(j) * counts[code] as f64;
                }
            }
        }
        let full = self.weights.len() as f64;
        self.coefficients = solve(&mut gram, &mut right, planes, full);
        self.normalise(planes);
        self.round()
    }

    /// Makes the coefficients of the first `planes` planes descend from positive, and changes codes
    /// with them.
    fn normalise(&mut self, planes: usize) {
        let recode = normalise(&mut self.coefficients, planes);
        for code in &mut self.codes {
            *code = recode[usize::from(*code)];
        }
    }

    /// Rounds the coefficients to their type; `None` if the largest is out of its range.
    fn round(&mut self) -> Option<()> {
        self.coefficients = round(&self.coefficients, self.coefficient_type)?;
        self.offset = nearest(self.offset, self.coefficient_type);
        Some(())
    }
}
