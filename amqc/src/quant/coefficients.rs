//! The coefficients of a row: their type, and how they follow from codes.

use amq_format::graph::CoefficientType;
use half::f16;

pub(super) const MAX_PLANES: usize = 8;
pub(super) const MAX_LEVELS: usize = 1 << MAX_PLANES;

/// A plane is dependent on earlier ones if this share of it, or less, is orthogonal to them.
const DEPENDENT: f64 = 1e-9;

/// Of each plane, zero past those in use.
pub(super) type Coefficients = [f64; MAX_PLANES];

/// Rounds coefficients to their type; `None` if the largest is out of its range.
pub(super) fn round(
    coefficients: &Coefficients,
    coefficient_type: CoefficientType,
) -> Option<Coefficients> {
    match coefficient_type {
        CoefficientType::F16 => {
            let largest = coefficients.iter().fold(0.0, |m: f64, a| a.abs().max(m));
            let range = f64::from(f16::MIN_POSITIVE)..=f64::from(f16::MAX);
            if largest != 0.0 && !range.contains(&largest) {
                return None;
            }
        }
        CoefficientType::F32 => {}
    }
    Some(coefficients.map(|a| nearest(a, coefficient_type)))
}

/// The nearest number of a type, of those that are finite.
pub(super) fn nearest(a: f64, coefficient_type: CoefficientType) -> f64 {
    match coefficient_type {
        CoefficientType::F16 => {
            let end = f64::from(f16::MAX);
            f16::from_f64(a.clamp(-end, end)).to_f64()
        }
        CoefficientType::F32 => {
            // Least squares can leave the range only for weights at its very end.
            let end = f64::from(f32::MAX);
            f64::from(a.clamp(-end, end) as f32)
        }
    }
}

/// The least number, not below `a >= 0`, of which `times` and all powers of two up to that are numbers of a type.
pub(super) fn widened(a: f64, times: f64, coefficient_type: CoefficientType) -> f64 {
    let (digits, least) = match coefficient_type {
        CoefficientType::F16 => (11, -24),
        CoefficientType::F32 => (24, -149),
    };
    if a == 0.0 || !a.is_finite() {
        return a;
    }
    let taken = times.log2() as i32 + 1;
    let unit = 2.0f64.powi((a.log2().floor() as i32 + 1 - (digits - taken)).max(least));
    (a / unit).ceil() * unit
}

/// Solves the normal equations of the first `planes` planes, a plane of ones for an offset among them. `full` is
/// what the diagonal is where a plane depends on no other; one that depends on earlier ones gets 0.
pub(super) fn solve(
    gram: &mut [Coefficients; MAX_PLANES],
    right: &mut Coefficients,
    planes: usize,
    full: f64,
) -> Coefficients {
    let dependent = DEPENDENT * full;
    for i in 0..planes {
        let pivot = gram[i];
        if pivot[i] <= dependent {
            continue;
        }
        for j in i + 1..planes {
            let factor = pivot[j] / pivot[i];
            right[j] -= factor * right[i];
            for (entry, from) in gram[j][..planes].iter_mut().zip(&pivot) {
                *entry -= factor * from;
            }
        }
    }
    let mut coefficients = [0.0; MAX_PLANES];
    for i in (0..planes).rev() {
        if gram[i][i] > dependent {
            let known: f64 = (i + 1..planes).map(|j| gram[i][j] * coefficients[j]).sum();
            coefficients[i] = (right[i] - known) / gram[i][i];
        }
    }
    coefficients
}

/// Makes the coefficients of the first `planes` planes descend from positive; gives the new code for
/// each old one.
pub(super) fn normalise(coefficients: &mut Coefficients, planes: usize) -> [u8; MAX_LEVELS] {
    let old = *coefficients;
    let mut order: [usize; MAX_PLANES] = std::array::from_fn(|plane| plane);
    order[..planes].sort_by(|&a, &b| old[b].abs().total_cmp(&old[a].abs()));
    let mut recode = [0; MAX_LEVELS];
    for (code, new) in recode[..1 << planes].iter_mut().enumerate() {
        for (plane, &from) in order[..planes].iter().enumerate() {
            let bit = (code >> from & 1 == 1) != (old[from] < 0.0);
            *new |= u8::from(bit) << plane;
        }
    }
    for (plane, &from) in order[..planes].iter().enumerate() {
        coefficients[plane] = old[from].abs();
    }
    recode
}

/// What levels are made of: coefficients, each taken with either sign, and an offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// Zero past the planes in use.
    pub(super) coefficients: Coefficients,
    pub(super) offset: f64,
}

impl Affine {
    pub(super) fn plain(coefficients: Coefficients) -> Affine {
        Affine { coefficients, offset: 0.0 }
    }

    /// Rounds to a type; `None` if the largest coefficient is out of its range.
    pub(super) fn round(&self, coefficient_type: CoefficientType) -> Option<Affine> {
        let coefficients = round(&self.coefficients, coefficient_type)?;
        Some(Affine { coefficients, offset: nearest(self.offset, coefficient_type) })
    }

    pub(super) fn levels(&self, planes: usize) -> Levels {
        Levels::new(self, planes)
    }
}

/// The levels of coefficients in ascending order.
pub(super) struct Levels {
    /// Each with its code.
    sorted: [(f64, u8); MAX_LEVELS],
    /// By code.
    values: [f64; MAX_LEVELS],
    planes: usize,
}

impl Levels {
    fn new(affine: &Affine, planes: usize) -> Levels {
        let mut sorted = merge(&affine.coefficients[..planes]);
        sorted[..1 << planes].iter_mut().for_each(|(level, _)| *level += affine.offset);
        let mut values = [0.0; MAX_LEVELS];
        for &(level, code) in &sorted[..1 << planes] {
            values[usize::from(code)] = level;
        }
        Levels { sorted, values, planes }
    }

    /// In ascending order, each with its code.
    pub(super) fn sorted(&self) -> &[(f64, u8)] {
        &self.sorted[..1 << self.planes]
    }

    /// The level of a code.
    pub(super) fn value(&self, code: u8) -> f64 {
        self.values[usize::from(code)]
    }

    /// The level nearest to a weight, the upper one of two, and its code.
    pub(super) fn nearest(&self, weight: f64) -> (f64, u8) {
        let mut index = 0;
        for step in (0..self.planes).rev() {
            let middle = index + (1 << step);
            let threshold = 0.5 * (self.sorted[middle - 1].0 + self.sorted[middle].0);
            index += usize::from(weight >= threshold) << step;
        }
        self.sorted[index]
    }
}

/// The levels of coefficients in ascending order, each with its code: those of one more plane are two
/// shifted copies of those before, merged.
fn merge(coefficients: &[f64]) -> [(f64, u8); MAX_LEVELS] {
    let mut levels = [(0.0, 0); MAX_LEVELS];
    let mut count = 1;
    for (plane, a) in coefficients.iter().enumerate() {
        let before = levels;
        let below = |at: usize| before[..count].get(at).map(|(level, code)| (level - a, *code));
        let above =
            |at: usize| before[..count].get(at).map(|(level, code)| (level + a, code | 1 << plane));
        let (mut low, mut high) = (0, 0);
        for place in &mut levels[..2 * count] {
            // One of them is there: as many are placed as there are.
            *place = match (below(low), above(high)) {
                (Some(lower), upper) if upper.is_none_or(|upper| lower.0 <= upper.0) => {
                    low += 1;
                    lower
                }
                (lower, upper) => {
                    high += 1;
                    upper.or(lower).unwrap_or_default()
                }
            };
        }
        count *= 2;
    }
    levels
}
