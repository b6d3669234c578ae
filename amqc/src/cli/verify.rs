//! `amqc verify`

use std::fmt::Write;
use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;

use super::{Outcome, size};
use crate::error::Result;
use crate::feed::arrays::{bind, read_inputs};
use crate::names::shown;
use crate::open::Opened;
use crate::verify::{Comparison, Inputs, Limits, Verified, verify};

/// Check an .amq file, and compare it with the model it was made from
///
/// The file's digests and rules are always checked. With --against both models run on the same
/// inputs, and the exit code is 1 if an output is further off than the limits allow, if an output
/// that is not float differs, or if only one of the two gives a number.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The file
    #[arg(value_name = "FILE.amq")]
    file: PathBuf,
    /// The model to compare with: ONNX, run in float, or .amq
    #[arg(long, value_name = "MODEL.onnx")]
    against: Option<PathBuf>,
    /// Arrays by the names of inputs [default: seeded ones]
    #[arg(long, value_name = "I.npz", requires = "against")]
    inputs: Option<PathBuf>,
    /// Size of a dimension of seeded inputs (repeatable) [default: 16 where it is time, else 1]
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    #[arg(requires = "against", conflicts_with = "inputs")]
    dim: Vec<(String, i64)>,
    /// Largest difference that is allowed
    #[arg(long, value_name = "E", requires = "against", value_parser = limit)]
    max_error: Option<f64>,
    /// Least ratio of signal to noise that is allowed, in decibels
    #[arg(long, value_name = "DB", requires = "against", value_parser = limit)]
    #[arg(allow_negative_numbers = true)]
    min_snr: Option<f64>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn limit(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if number.is_nan() { Err("expected a number".into()) } else { Ok(number) }
}

impl Verify {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let opened = Opened::read_amq(&self.file)?;
        let loaded = opened.load(isa)?;
        let limits = Limits { max_error: self.max_error, min_snr: self.min_snr };
        let verified = match &self.against {
            Some(against) => {
                let reference = Opened::read_with(against, &opened.interface()?)?.load(isa)?;
                let inputs = match &self.inputs {
                    Some(path) => Inputs::Given(bind(&loaded, read_inputs(&loaded, path)?)?),
                    None => Inputs::Seeded(self.dim.clone()),
                };
                verify(&loaded, &reference, &inputs, limits)?
            }
            None => Verified { ok: true, outputs: Vec::new() },
        };
        let name = self.file.display();
        let limited = self.max_error.is_some() || self.min_snr.is_some();
        let outcome = Outcome::of(self.json, &verified, |verified| text(verified, &name, limited))?;
        Ok(Outcome { differs: !verified.ok, ..outcome })
    }
}

fn text(verified: &Verified, name: &impl std::fmt::Display, limited: bool) -> String {
    let mut text = String::new();
    for Comparison { name, max_abs, snr_db, .. } in &verified.outputs {
        let max_abs = match max_abs {
            0.001..1e6 => format!("{max_abs:.3}"),
            _ => format!("{max_abs:.1e}"),
        };
        let _ = writeln!(text, "{}: max error {max_abs}, snr {snr_db:.1} dB", shown(name));
    }
    let _ = match verified.ok {
        true if limited || verified.outputs.is_empty() => writeln!(text, "{name}: ok"),
        true => writeln!(text, "{name}: ok; --max-error and --min-snr would set limits"),
        false => writeln!(text, "{name}: differs more than allowed"),
    };
    text
}
