//! Codes and coefficients of one row in a norm of its products: error feedback and coordinate descent.

use amq_format::graph::CoefficientType;

use super::coefficients::{Coefficients, Levels, MAX_PLANES, normalise, round, solve};
use super::norm::{Norm, add_scaled, dot};

/// Rounds of feedback, each followed by a fit of the coefficients.
const FEEDBACK: usize = 2;
/// Columns beyond which one round must do.
const MANY_COLUMNS: usize = 1024;
/// Rounds of coordinate descent, each followed by a fit of the coefficients.
const DESCENTS: usize = 6;
/// Sweeps of a round at most.
const SWEEPS: usize = 8;
/// Planes from which coefficients stay as they are: the levels lie so close that codes make good for it.
const MANY_PLANES: usize = 6;
/// A gain below this share of the error ends the rounds.
const GAIN: f64 = 1e-3;

/// A row that is fitted in a norm.
pub(super) struct Problem<'a> {
    pub(super) norm: &'a Norm,
    pub(super) weights: &'a [f64],
    pub(super) planes: usize,
    pub(super) coefficient_type: CoefficientType,
    /// `H w`, and `w^T H w`.
    product: Vec<f64>,
    energy: f64,
}

/// Codes and coefficients, and what they leave.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) codes: Vec<u8>,
    pub(super) coefficients: Coefficients,
    pub(super) error: f64,
    /// `H b` of each plane `b`: kept as codes change, for that costs less than to compute it.
    images: Vec<Vec<f64>>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        norm: &'a Norm,
        weights: &'a [f64],
        planes: usize,
        coefficient_type: CoefficientType,
    ) -> Problem<'a> {
        let mut product = vec![0.0; weights.len()];
        norm.apply(weights, &mut product);
        let energy = dot(weights, &product);
        Problem { norm, weights, planes, coefficient_type, product, energy }
    }

    /// The least error that is found from these codes and coefficients; `None` if the coefficients
    /// need a wider type.
    pub(super) fn solve(&self, codes: &[u8], coefficients: &Coefficients) -> Option<Found> {
        let images = vec![vec![0.0; codes.len()]; self.planes];
        let mut next =
            Found { codes: codes.to_vec(), coefficients: *coefficients, error: 0.0, images };
        self.image(&mut next);
        let mut found = Found { error: self.error(&next), ..next.clone() };
        let rounds = if codes.len() > MANY_COLUMNS { 1 } else { FEEDBACK };
        for _ in 0..rounds {
            self.feed_back(&mut next);
            self.image(&mut next);
            self.fit_coefficients(&mut next)?;
            if next.error < found.error {
                found = next.clone();
            }
        }
        for _ in 0..DESCENTS {
            next = found.clone();
            let changed = self.descend(&mut next);
            self.fit_coefficients(&mut next)?;
            let gain = found.error - next.error;
            if gain > 0.0 {
                found = next.clone();
            }
            if !changed || gain.is_nan() || gain <= GAIN * found.error {
                break;
            }
        }
        Some(found)
    }

    /// Column by column: the nearest level to the weight and what earlier columns' errors ask of it.
    fn feed_back(&self, found: &mut Found) {
        let levels = Levels::new(&found.coefficients, self.planes);
        let mut wanted = self.weights.to_vec();
        for column in 0..wanted.len() {
            let (level, code) = levels.nearest(wanted[column]);
            found.codes[column] = code;
            let error = self.weights[column] - level;
            add_scaled(&mut wanted[column + 1..], error, self.norm.later(column));
        }
    }

    /// Changes one code after another where that lowers the error; tells whether any was changed.
    fn descend(&self, found: &mut Found) -> bool {
        let levels = Levels::new(&found.coefficients, self.planes);
        let mut values: Vec<f64> = found.codes.iter().map(|&code| levels.value(code)).collect();
        let mut slope = self.product.iter().map(|x| -x).collect::<Vec<f64>>();
        for (image, &a) in found.images.iter().zip(&found.coefficients) {
            add_scaled(&mut slope, a, image);
        }
        let mut changed = false;
        for _ in 0..SWEEPS {
            let mut settled = true;
            for column in 0..values.len() {
                let row = self.norm.row(column);
                let value = values[column];
                let (level, code) = levels.nearest(value - slope[column] / row[column]);
                let step = level - value;
                // The new level is nearer to the best value by more than rounding errors.
                let gain = -step * (2.0 * slope[column] + step * row[column]);
                if gain <= 1e-12 * self.energy {
                    continue;
                }
                for (plane, image) in found.images.iter_mut().enumerate() {
                    let turned = (found.codes[column] ^ code) >> plane & 1 == 1;
                    if turned {
                        add_scaled(image, 2.0 * sign(code, plane), row);
                    }
                }
                (values[column], found.codes[column]) = (level, code);
                add_scaled(&mut slope, step, row);
                (settled, changed) = (false, true);
            }
            if settled {
                break;
            }
        }
        changed
    }

    /// The best coefficients for the codes, in the norm.
    fn fit_coefficients(&self, found: &mut Found) -> Option<()> {
        if self.planes >= MANY_PLANES {
            found.error = self.error(found);
            return Some(());
        }
        let mut gram = [[0.0; MAX_PLANES]; MAX_PLANES];
        let mut right = [0.0; MAX_PLANES];
        let mut plane = vec![0.0; found.codes.len()];
        for i in 0..self.planes {
            signs(&found.codes, i, &mut plane);
            right[i] = dot(&plane, &self.product);
            for (entry, image) in gram[i].iter_mut().zip(&found.images) {
                *entry = dot(&plane, image);
            }
        }
        let full = gram.iter().enumerate().map(|(i, row)| row[i]).fold(0.0, f64::max);
        let (kept, wanted) = (gram, right);
        let solved = solve(&mut gram, &mut right, self.planes, full);
        found.coefficients = solved;
        self.normalise(found);
        let exact = found.coefficients;
        found.coefficients = round(&exact, self.coefficient_type)?;
        // The error of the rounded ones is that of the exact ones but for a second-order term.
        let fitted: f64 = (0..self.planes)
            .map(|i| {
                let image: f64 = (0..self.planes).map(|j| kept[i][j] * solved[j]).sum();
                solved[i] * (image - 2.0 * wanted[i])
            })
            .sum();
        found.error = self.energy + fitted;
        Some(())
    }

    /// `e^T H e` of the error `e`.
    fn error(&self, found: &Found) -> f64 {
        let levels = Levels::new(&found.coefficients, self.planes);
        let mut image = self.product.clone();
        for (plane, &a) in found.images.iter().zip(&found.coefficients) {
            add_scaled(&mut image, -a, plane);
        }
        let errors = self.weights.iter().zip(&found.codes).map(|(w, &c)| w - levels.value(c));
        errors.zip(&image).map(|(e, image)| e * image).sum()
    }

    /// Computes the images of the planes.
    fn image(&self, found: &mut Found) {
        let mut plane = vec![0.0; found.codes.len()];
        for (index, image) in found.images.iter_mut().enumerate() {
            signs(&found.codes, index, &mut plane);
            self.norm.apply(&plane, image);
        }
    }

    /// Makes coefficients descend from positive, and changes codes with them.
    fn normalise(&self, found: &mut Found) {
        let old = found.coefficients;
        let recode = normalise(&mut found.coefficients, self.planes);
        for code in &mut found.codes {
            *code = recode[usize::from(*code)];
        }
        // Seldom: planes change places or signs.
        if found.coefficients != old {
            self.image(found);
        }
    }
}

/// The sign of a plane in a code.
fn sign(code: u8, plane: usize) -> f64 {
    if code >> plane & 1 == 1 { 1.0 } else { -1.0 }
}

/// A plane of codes.
fn signs(codes: &[u8], plane: usize, out: &mut [f64]) {
    for (out, &code) in out.iter_mut().zip(codes) {
        *out = sign(code, plane);
    }
}
