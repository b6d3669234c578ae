//! What a budget is, and what is chosen from.

use std::fmt;
use std::path::Path;

use amq_runtime::Isa;
use serde::Serialize;

use crate::calibrate::trial::Trial;
use crate::options::ConvertOptions;
use crate::sequence::Calibrated;

/// What a conversion must keep within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Bits a weight, over everything that is stored of the matrices that are coded.
    Bits(f64),
    /// Bytes of the file.
    Bytes(u64),
    /// Loss on the calibration data: of scores the rise of perplexity, of other outputs noise over
    /// signal, as shares.
    Loss(f64),
}

impl fmt::Display for Budget {
    /// As a flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Bits(bits) => write!(f, "--target-bits {bits}"),
            Budget::Bytes(bytes) => write!(f, "--max-size {bytes}"),
            Budget::Loss(share) => write!(f, "--max-loss {share}"),
        }
    }
}

/// What the loss of a choice is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Mean divergence of the probabilities that the outputs give, in nats.
    Kl,
    /// Noise of the outputs over their signal.
    Noise,
    /// Relative squared error of the weights: there are no data.
    RelativeMse,
}

impl Measure {
    /// What it is, in words.
    pub fn text(self) -> &'static str {
        match self {
            Measure::Kl => "divergence of the answers in nats",
            Measure::Noise => "noise over signal of the answers",
            Measure::RelativeMse => "relative squared error of the weights",
        }
    }
}

/// What a choice is made from.
#[derive(Debug)]
pub struct Task<'a> {
    /// The ONNX model.
    pub path: &'a Path,
    /// How it is converted; the bits of its flags are not looked at.
    pub options: &'a ConvertOptions,
    /// The data, and what answers are compared on; where there are none, the errors of weights decide.
    pub data: Option<(&'a Calibrated, &'a Trial)>,
    /// The instruction set that answers are computed with.
    pub isa: Isa,
}
