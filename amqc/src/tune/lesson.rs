//! What a network learns from, and is judged by.

use std::fmt;

use amq_format::graph::ValueId;
use sha2::Sha256;

use super::params::Params;
use super::tape::Tape;
use crate::error::Result;
use crate::loaded::Loaded;

/// How good a student is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Perplexity of a text.
    Perplexity(f64),
    /// On items with labels.
    Accuracy {
        /// Share of items whose largest score is at their label.
        share: f64,
        /// The mean loss, in nats.
        loss: f64,
    },
    /// How near the float model's outputs are, in decibels: `10 log10(signal / noise)`, the ratio as the mean over
    /// outputs of that of the squares about the mean.
    Decibels(f64),
}

/// What a [`Figure`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Perplexity,
    Accuracy,
    Decibels,
}

impl Figure {
    /// What is to be small, NaN where something was no number.
    fn loss(&self) -> f64 {
        match *self {
            Figure::Perplexity(perplexity) => perplexity,
            Figure::Accuracy { loss, .. } => loss,
            Figure::Decibels(decibels) => -decibels,
        }
    }

    /// Whether it is better than another.
    pub(super) fn is_better_than(&self, other: &Figure) -> bool {
        self.loss() < other.loss()
    }

    /// Whether it is so much worse than another, which was reached before, that training went astray: half as much again
    /// of a perplexity, a nat and half as much again of a loss, 12 decibels.
    pub(super) fn is_astray_from(&self, other: &Figure) -> bool {
        let most = match *other {
            Figure::Perplexity(perplexity) => 1.5 * perplexity,
            Figure::Accuracy { loss, .. } => 1.5 * loss + 1.0,
            Figure::Decibels(decibels) => 12.0 - decibels,
        };
        self.loss().is_nan() || self.loss() > most
    }

    /// As two numbers, for [`Figure::of_numbers`].
    pub(super) fn numbers(&self) -> [f64; 2] {
        match *self {
            Figure::Perplexity(x) | Figure::Decibels(x) => [x, x],
            Figure::Accuracy { share, loss } => [share, loss],
        }
    }

    pub(super) fn of_numbers(measure: Measure, [first, loss]: [f64; 2]) -> Figure {
        match measure {
            Measure::Perplexity => Figure::Perplexity(first),
            Measure::Accuracy => Figure::Accuracy { share: first, loss },
            Measure::Decibels => Figure::Decibels(first),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Perplexity(perplexity) => write!(f, "perplexity {perplexity:.2}"),
            Figure::Accuracy { share, loss } => {
                write!(f, "accuracy {:.2}% (loss {loss:.4})", 100.0 * share)
            }
            Figure::Decibels(decibels) => write!(f, "{decibels:.1} dB"),
        }
    }
}

/// What a network learns, piece by piece.
pub(super) trait Learn {
    /// Takes the next piece; gives its loss, whose gradients are added to those of the params.
    ///
    /// # Errors
    /// What the models cannot take.
    fn learn(&mut self, tape: &mut Tape<'_>, params: &mut Params) -> Result<f64>;

    /// How far it is, as bytes.
    fn save(&self, to: &mut Vec<u8>);

    /// Takes back what [`Learn::save`] gave; none if the bytes end before.
    fn restore(&mut self, from: &mut &[u8]) -> Option<()>;
}

/// What a network learns from, and is judged by.
pub(super) trait Lesson: Learn {
    /// The outputs that the loss is of.
    fn outputs(&self) -> Vec<ValueId>;

    /// What [`Lesson::judge`] gives.
    fn measure(&self) -> Measure;

    /// How good a student is on what is kept to choose by.
    ///
    /// # Errors
    /// What it cannot take.
    fn judge(&self, student: &Loaded) -> Result<Figure>;

    /// How near each output of a student is, in decibels, where there are several that are compared.
    ///
    /// # Errors
    /// As [`Lesson::judge`].
    fn by_output(&self, student: &Loaded) -> Result<Vec<(String, f64)>>;

    /// Tells a digest what the lesson is.
    fn identify(&self, digest: &mut Sha256);
}
