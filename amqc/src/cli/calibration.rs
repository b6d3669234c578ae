//! The flags that name calibration data.

use std::path::PathBuf;

use clap::Args;

use crate::calibrate::source::Source;
use crate::error::{Error, Result};
use crate::feed::text::Unit;

#[derive(Debug, Args)]
pub(super) struct Calibration {
    /// Fit weights to data that the model is meant for: an .npz, a folder of .npz or .npy, or a text
    ///
    /// The float model is run on them, and codes are fitted so that the products that it computes stay
    /// near, with biases corrected. Arrays are named as the model's inputs; each sample is a slice along
    /// the first axis. A text needs --vocab. Without --method or --cycles, matrices are fitted by the
    /// method calibrated.
    #[arg(long, value_name = "DATA")]
    calib: Option<PathBuf>,
    /// Vocabulary of a text to calibrate with: one entry a line, the first is number 0
    #[arg(long, value_name = "V", requires = "calib")]
    vocab: Option<PathBuf>,
    /// What a text to calibrate with is cut into
    #[arg(long, value_enum, default_value_t = Unit::Word, requires = "vocab")]
    unit: Unit,
    /// Axis of the arrays along which samples stand [default: 0]
    #[arg(long, value_name = "N", requires = "calib", conflicts_with = "vocab")]
    calib_axis: Option<usize>,
    /// Most samples to take [default: 100000 tokens of a text, 512 samples of arrays]
    #[arg(long, value_name = "N", requires = "calib")]
    calib_samples: Option<usize>,
}

impl Calibration {
    /// The files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.calib.iter().chain(&self.vocab)
    }

    /// Where the data come from, if any are named.
    pub(super) fn source(&self) -> Result<Option<Source>> {
        let Some(path) = &self.calib else { return Ok(None) };
        if self.calib_samples.is_some_and(|most| most < 2) {
            return Err(Error::usage("--calib-samples: calibration needs 2 samples or more"));
        }
        let array = path.extension().is_some_and(|e| e == "npz" || e == "npy") || path.is_dir();
        if array && self.vocab.is_some() {
            return Err(Error::usage(format!("{}: arrays need no vocabulary", path.display()))
                .remedy("leave out --vocab, or give a text"));
        }
        Ok(Some(Source {
            path: path.clone(),
            vocabulary: self.vocab.clone().map(|vocabulary| (vocabulary, self.unit)),
            axis: self.calib_axis.unwrap_or(0),
            most: self.calib_samples,
        }))
    }
}
