//! Quantization of weight matrices.
//!
//! Each row of a matrix, or each group of its columns, is approximated by `sum_i a_i b_i`, where `b_i` is a row
//! of -1 and +1 and `a_i` is a number. `docs/quantization.md` describes the methods, which follow Xu et al.,
//! "Alternating Multi-bit Quantization for Recurrent Neural Networks", ICLR 2018.

mod best;
mod calibrated;
mod coefficients;
mod feedback;
mod matrix;
mod method;
mod norm;
mod panels;
mod row;
mod target;
#[cfg(test)]
mod tests;
mod tracked;

use std::sync::atomic::{AtomicUsize, Ordering};

use amq_format::graph::CoefficientType;
use rayon::prelude::*;

pub use calibrated::{Moment, quantize_for};
pub use matrix::QuantizedMatrix;
pub use method::{Cycles, Method, Options, ParseError};
use row::Row;
pub use target::targets;
pub use tracked::{BitCodes, Tracked};

/// Largest number of codes a row.
pub const MAX_BITS: u8 = coefficients::MAX_PLANES as u8;

/// Bits from which shifted levels are equally spaced and 0 is one of them.
const AFFINE_BITS: u8 = 5;

/// Offsets are stored where they leave no more than this share of the squared error.
const WORTH: f64 = 0.97;

/// Quantizes a row-major matrix, row by row on rayon's threads.
///
/// The result depends on the weights and options alone. Coefficients are f16, unless a row's
/// largest one would not be a normal f16: then the whole matrix is quantized again with f32.
///
/// `progress` is called, from any thread, with the number of rows done so far; two threads' calls
/// may overtake each other, and the count starts again with the second attempt.
///
/// The weights should be finite: others do no harm, but [`QuantizedMatrix::relative_mse`] is then
/// NaN or infinite.
///
/// # Panics
///
/// If `weights` does not have `rows * cols` elements, or `options.bits` is not in
/// 1 to [`MAX_BITS`].
pub fn quantize(
    weights: &[f32],
    rows: usize,
    cols: usize,
    options: &Options,
    progress: &(dyn Fn(usize) + Sync),
) -> QuantizedMatrix {
    assert_eq!(Some(weights.len()), rows.checked_mul(cols), "elements of a {rows}x{cols} matrix");
    assert!((1..=MAX_BITS).contains(&options.bits), "{} bits", options.bits);
    let attempt = |coefficient_type| {
        let done = AtomicUsize::new(0);
        let fitted: Option<Vec<(Row, Option<Row>)>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let fit = |weights| {
                    let plain = Row::fit(weights, options, coefficient_type)?;
                    let affine = match (options.method, options.bits) {
                        (Method::Uniform | Method::Best, AFFINE_BITS..) => {
                            Some(Row::fit_affine(weights, options, coefficient_type)?)
                        }
                        (Method::Best, _) if options.shifts => Some(plain.shifted()?),
                        _ => None,
                    };
                    Some((plain, affine))
                };
                let groups = options.groups(&weights[row * cols..][..cols]);
                let fitted: Option<Vec<_>> = groups.map(fit).collect();
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                fitted
            })
            .collect::<Option<Vec<_>>>()
            .map(|rows| rows.into_iter().flatten().collect());
        let fitted = choose(fitted?);
        Some(QuantizedMatrix::pack(&fitted, [rows, cols], options, coefficient_type))
    };
    attempt(CoefficientType::F16)
        .or_else(|| attempt(CoefficientType::F32))
        .expect("f32 coefficients fit every row of f32 weights")
}

/// Of each row, or group of columns, the way that leaves less, if the offsets that this takes are worth it; else the first way.
fn choose<'a>(fitted: Vec<(Row<'a>, Option<Row<'a>>)>) -> Vec<Row<'a>> {
    let (mut plain_error, mut least_error) = (0.0, 0.0);
    for (plain, affine) in &fitted {
        let error = plain.error();
        plain_error += error;
        least_error += affine.as_ref().map_or(error, |affine| affine.error().min(error));
    }
    let offsets = least_error < WORTH * plain_error;
    let chosen = fitted.into_iter().map(|(plain, affine)| match affine {
        Some(affine) if offsets && affine.error() < plain.error() => affine,
        _ => plain,
    });
    chosen.collect()
}
