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
            Some(coefficients.map(|a| f16::from_f64(a).to_f64()))
        }
        CoefficientType::F32 => {
            // Least squares can leave the range only for weights at its very end.
            let end = f64::from(f32::MAX);
            Some(coefficients.map(|a| f64::from(a.clamp(-end, end) as f32)))
        }
    }
}

/// Solves the normal equations of the first `planes` planes. `full` is what the diagonal is where a
/// plane depends on no other; one that depends on earlier ones gets 0.
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
