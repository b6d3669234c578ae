//! How the weights of a matrix lie, and where its levels are.

use crate::quant::QuantizedMatrix;

/// Bins of a histogram.
pub const BINS: usize = 80;
/// Where it ends on both sides, in root mean squares of a row.
pub const REACH: f64 = 4.0;
/// Rows that are looked at.
const ROWS: usize = 256;
/// Bits of which the levels are shown: there are twice as many with each.
const SHOWN_BITS: u8 = 4;

/// How the weights of a matrix lie: each row by itself, in its root mean square.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many weights are in each bin; those beyond are in the last.
    pub bins: Vec<usize>,
    /// The mean places of the levels; none where they are too many to be shown.
    pub levels: Vec<f64>,
}

impl Histogram {
    /// Of a matrix and its codes.
    pub fn new(weights: &[f32], codes: &QuantizedMatrix) -> Histogram {
        let planes = usize::from(codes.bits);
        let mut bins = vec![0; BINS];
        let mut levels = vec![0.0; if codes.bits <= SHOWN_BITS { 1 << planes } else { 0 }];
        let mut rows = 0;
        for row in (0..codes.rows).step_by(codes.rows.div_ceil(ROWS).max(1)) {
            let weights = &weights[row * codes.cols..][..codes.cols];
            let energy: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
            let scale = (energy / codes.cols as f64).sqrt();
            if scale == 0.0 {
                continue;
            }
            rows += 1;
            for &w in weights {
                let at = (f64::from(w) / scale + REACH) / (2.0 * REACH) * BINS as f64;
                bins[(at.max(0.0) as usize).min(BINS - 1)] += 1;
            }
            let groups = codes.groups();
            for group in row * groups..(row + 1) * groups {
                let coefficients = &codes.coefficients[group * planes..][..planes];
                let offset = codes.offsets.as_ref().map_or(0.0, |offsets| offsets[group]);
                let level = |code: usize| -> f64 {
                    let sign = |plane: usize| if code >> plane & 1 == 1 { 1.0 } else { -1.0 };
                    let terms = coefficients.iter().enumerate();
                    let terms = terms.map(|(plane, &a)| sign(plane) * f64::from(a));
                    (f64::from(offset) + terms.sum::<f64>()) / (scale * groups as f64)
                };
                let mut of_group: Vec<f64> = (0..levels.len()).map(level).collect();
                of_group.sort_by(f64::total_cmp);
                levels.iter_mut().zip(of_group).for_each(|(sum, level)| *sum += level);
            }
        }
        levels.iter_mut().for_each(|level| *level /= f64::from(rows.max(1)));
        Histogram { bins, levels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Cycles, Method, Options, quantize};

    #[test]
    fn levels_stand_where_the_weights_do() {
        // Two values in each row, at plus and minus the root mean square.
        let weights: Vec<f32> =
            (0..40).map(|i| (1 + i / 20) as f32 * if i % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let options = Options {
            method: Method::Greedy,
            bits: 1,
            cycles: Cycles::Count(2),
            group: 0,
            keeps_sums: false,
            shifts: false,
        };
        let codes = quantize(&weights, 2, 20, &options, &|_| ());
        let Histogram { bins, levels } = Histogram::new(&weights, &codes);
        assert_eq!(bins.iter().sum::<usize>(), 40);
        let place = |x: f64| ((x + REACH) / (2.0 * REACH) * BINS as f64) as usize;
        assert_eq!((bins[place(1.0)], bins[place(-1.0)]), (20, 20));
        assert!((levels[0] + 1.0).abs() < 1e-3 && (levels[1] - 1.0).abs() < 1e-3, "{levels:?}");
    }
}
