//! Quantization of a matrix for the vectors that it meets.

use std::sync::atomic::{AtomicUsize, Ordering};

use amq_format::graph::CoefficientType;
use rayon::prelude::*;

use super::Options;
use super::matrix::QuantizedMatrix;
use super::norm::{Norm, dot};
use super::row::Row;

/// Shares of the diagonal's mean that may be added to a second moment. The one is taken that does best
/// on vectors that were not fitted to.
const DAMPINGS: [f64; 4] = [0.003, 0.02, 0.1, 0.4];
/// How many moments and how many rows of each try the dampings.
const TRIED_MOMENTS: usize = 4;
const TRIED_ROWS: usize = 12;

/// The vectors that some rows of a matrix meet.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The rows.
    pub rows: Vec<usize>,
    /// Second moments of the vectors, `[column][column]`: of one half, of the other, and of all. Those
    /// of halves may be left out: then they are no guide.
    pub all: Vec<f64>,
    /// See `all`.
    pub halves: Option<[Vec<f64>; 2]>,
}

/// Quantizes a row-major matrix so that products with the vectors that it meets stay near, row by row on
/// rayon's threads. Rows that are in no moment, or in one that says nothing, are quantized as
/// [`quantize`](super::quantize) does.
///
/// The result depends on the arguments alone, not on threads; `progress` is told how many rows are done.
///
/// # Panics
///
/// If `weights` does not have `rows * cols` elements, a moment not `cols * cols`, or a row is none of the
/// matrix.
pub fn quantize_for(
    weights: &[f32],
    rows: usize,
    cols: usize,
    options: &Options,
    moments: &[Moment],
    progress: &(dyn Fn(usize) + Sync),
) -> QuantizedMatrix {
    assert_eq!(Some(weights.len()), rows.checked_mul(cols), "elements of a {rows}x{cols} matrix");
    let row = |row: usize| &weights[row * cols..][..cols];
    let damping = damping(&row, cols, options, moments);
    let mut norms = Vec::new();
    let mut norm_of = vec![None; rows];
    for moment in moments {
        assert_eq!(moment.all.len(), cols * cols, "elements of a moment");
        let Some(norm) = Norm::new(moment.all.clone(), cols, damping) else { continue };
        for &row in &moment.rows {
            norm_of[row] = Some(norms.len());
        }
        norms.push(norm);
    }
    let attempt = |coefficient_type| {
        let done = AtomicUsize::new(0);
        let fitted: Option<Vec<Row<'_>>> = (0..rows)
            .into_par_iter()
            .map(|index| {
                let mut fitted = Row::fit(row(index), options, coefficient_type)?;
                if let Some(norm) = norm_of[index] {
                    fitted.refit(&norms[norm])?;
                }
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                Some(fitted)
            })
            .collect();
        fitted.map(|fitted| QuantizedMatrix::pack(&fitted, cols, options.bits, coefficient_type))
    };
    attempt(CoefficientType::F16)
        .or_else(|| attempt(CoefficientType::F32))
        .expect("f32 coefficients fit every row of f32 weights")
}

/// The damping with which codes that are fitted to one half of the vectors do best on the other.
fn damping<'a>(
    row: &(dyn Fn(usize) -> &'a [f32] + Sync),
    cols: usize,
    options: &Options,
    moments: &[Moment],
) -> f64 {
    let every = moments.len().div_ceil(TRIED_MOMENTS).max(1);
    let tried: Vec<&Moment> = moments.iter().step_by(every).collect();
    let error = |damping: f64| -> f64 {
        let of_moment = |moment: &Moment| -> f64 {
            let Some(halves) = &moment.halves else { return 0.0 };
            let every = moment.rows.len().div_ceil(TRIED_ROWS).max(1);
            let rows: Vec<usize> = moment.rows.iter().copied().step_by(every).collect();
            let of_half = |half: usize| -> f64 {
                let Some(norm) = Norm::new(halves[half].clone(), cols, damping) else {
                    return 0.0;
                };
                let errors: Vec<f64> = rows
                    .par_iter()
                    .map(|&index| {
                        let fitted = Row::fit(row(index), options, CoefficientType::F32);
                        let fitted = fitted.and_then(|mut fitted| {
                            fitted.refit(&norm)?;
                            Some(fitted)
                        });
                        let Some(fitted) = fitted else { return 0.0 };
                        let errors = fitted.errors();
                        halves[1 - half]
                            .chunks_exact(cols)
                            .zip(&errors)
                            .map(|(row, e)| e * dot(row, &errors))
                            .sum()
                    })
                    .collect();
                errors.iter().sum()
            };
            of_half(0) + of_half(1)
        };
        tried.iter().map(|moment| of_moment(moment)).sum()
    };
    let mut best = (f64::INFINITY, DAMPINGS[1]);
    for damping in DAMPINGS {
        let error = error(damping);
        if error < best.0 && error > 0.0 {
            best = (error, damping);
        }
    }
    best.1
}
