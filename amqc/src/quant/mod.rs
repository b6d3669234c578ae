//! Quantization of weight matrices.
//!
//! Each row of a matrix is approximated by `sum_i a_i b_i`, where `b_i` is a row of -1 and +1 and
//! `a_i` is a number. `docs/quantization.md` describes the methods, which follow Xu et al.,
//! "Alternating Multi-bit Quantization for Recurrent Neural Networks", ICLR 2018.

mod matrix;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use amq_format::graph::CoefficientType;
use rayon::prelude::*;

pub use matrix::QuantizedMatrix;
use row::Row;

/// Largest number of codes a row.
pub const MAX_BITS: u8 = row::MAX_PLANES as u8;

/// How the codes and coefficients of a row are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Equally spaced levels up to the row's largest magnitude.
    Uniform,
    /// The same levels, each used equally often.
    Balanced,
    /// One plane after the other, each fitted to what the earlier ones leave.
    Greedy,
    /// Greedy, with all coefficients fitted again after each plane.
    Refined,
    /// Codes and coefficients fitted in turn, from a greedy start.
    Alternating,
}

impl Method {
    /// Every method, in the order of the command line.
    pub const ALL: [Self; 5] =
        [Self::Alternating, Self::Refined, Self::Greedy, Self::Balanced, Self::Uniform];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Balanced => "balanced",
            Self::Greedy => "greedy",
            Self::Refined => "refined",
            Self::Alternating => "alternating",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|method| method.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            ParseError(format!("unknown method {text:?}: use one of {names}"))
        })
    }
}

/// How often the alternating method fits codes anew; other methods ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cycles {
    /// This many times.
    Count(u32),
    /// Until the codes stay the same.
    Converge,
}

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Converge => f.pad("converge"),
        }
    }
}

impl FromStr for Cycles {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "converge" {
            return Ok(Self::Converge);
        }
        text.parse().map(Self::Count).map_err(|_| {
            ParseError(format!("bad number of cycles {text:?}: use a whole number or converge"))
        })
    }
}

/// A name or number of an option that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// What to do with a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// How codes and coefficients are found.
    pub method: Method,
    /// Codes a row: 1 to [`MAX_BITS`].
    pub bits: u8,
    /// Cycles of the alternating method.
    pub cycles: Cycles,
}

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
        let fitted: Option<Vec<Row>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                let row = Row::fit(&weights[row * cols..][..cols], options, coefficient_type);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                row
            })
            .collect();
        fitted.map(|fitted| QuantizedMatrix::pack(&fitted, cols, options.bits, coefficient_type))
    };
    attempt(CoefficientType::F16)
        .or_else(|| attempt(CoefficientType::F32))
        .expect("f32 coefficients fit every row of f32 weights")
}
