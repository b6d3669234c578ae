//! The methods by name, and what they are told.

use std::fmt;
use std::str::FromStr;

use crate::names::closest;

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
    /// The same from several starts, until the error falls no more: the least of them.
    Best,
    /// From the best, codes and coefficients that keep products with calibration data near.
    Calibrated,
}

impl Method {
    /// Every method, in the order of the command line.
    pub const ALL: [Self; 7] = [
        Self::Calibrated,
        Self::Best,
        Self::Alternating,
        Self::Refined,
        Self::Greedy,
        Self::Balanced,
        Self::Uniform,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Balanced => "balanced",
            Self::Greedy => "greedy",
            Self::Refined => "refined",
            Self::Alternating => "alternating",
            Self::Best => "best",
            Self::Calibrated => "calibrated",
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
            let names = Self::ALL.map(Self::name);
            let meant = closest(text, names).map(|name| format!("; did you mean {name}?"));
            let (names, meant) = (names.join(", "), meant.unwrap_or_default());
            ParseError(format!("unknown method {text:?}: use one of {names}{meant}"))
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
    /// Codes a row: 1 to [`MAX_BITS`](super::MAX_BITS).
    pub bits: u8,
    /// Columns that have coefficients of their own, the last of a row maybe fewer; 0 where whole rows have.
    pub group: usize,
    /// Cycles of the alternating method.
    pub cycles: Cycles,
    /// Whether codes are chosen so that errors of a row add up to little: for vectors that have a mean. Methods
    /// that give weights the nearest levels do so.
    pub keeps_sums: bool,
    /// Whether fits by the weights alone may shift the levels of few bits: not those of rows that a softmax
    /// compares, where what all rows have in common cancels.
    pub shifts: bool,
}

impl Options {
    /// Columns of a group, of rows of so many.
    pub(crate) fn group(&self, cols: usize) -> usize {
        if self.group == 0 { cols } else { self.group.min(cols) }
    }

    /// The groups of a row's columns: one at least.
    pub(super) fn groups<'a>(&self, row: &'a [f32]) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let group = self.group(row.len());
        let count = row.len().div_ceil(group.max(1)).max(1);
        (0..count).map(move |index| &row[index * group..((index + 1) * group).min(row.len())])
    }
}
