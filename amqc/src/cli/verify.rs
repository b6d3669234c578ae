//! `amqc verify`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::{Outcome, size};
use crate::error::{Error, Result};
use crate::feed::arrays::{bind, read_inputs};
use crate::feed::seeded::{seeded, sizes};
use crate::open::Opened;
use crate::tensor::{Data, Tensor};

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
    json: bool,
}

fn limit(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if number.is_nan() { Err("expected a number".into()) } else { Ok(number) }
}

#[derive(Debug, Serialize)]
struct Verified {
    ok: bool,
    outputs: Vec<Comparison>,
}

/// How far an output is from its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Comparison {
    name: String,
    /// Largest difference; infinite (in JSON: null) where only one of the two is a number.
    max_abs: f64,
    /// `10 log10(sum of squares / sum of squared differences)`; JSON's null where nothing differs.
    snr_db: f64,
    #[serde(skip)]
    float: bool,
}

/// Time steps of seeded inputs that are streams.
const STEPS: i64 = 16;

impl Verify {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let opened = Opened::read_amq(&self.file)?;
        let loaded = opened.load(isa)?;
        let mut verified = Verified { ok: true, outputs: Vec::new() };
        if let Some(against) = &self.against {
            let reference = Opened::read(against)?.load(isa)?;
            let inputs = match &self.inputs {
                Some(path) => bind(&loaded, read_inputs(&loaded, path)?)?,
                None => {
                    let mut given = BTreeMap::new();
                    for stream in &loaded.graph().streams {
                        let port = loaded.inputs().find(|port| port.value == stream.value);
                        let dim = port.and_then(|port| port.dims.get(stream.time_axis as usize));
                        let name = dim.and_then(|dim| dim.as_name());
                        given.extend(name.map(|name| (name.to_owned(), STEPS)));
                    }
                    given.extend(sizes(&self.dim, &[&loaded])?);
                    seeded(&loaded, &given)?
                }
            };
            const OTHER: &str = "compare a file with the model it was made from";
            for (name, _) in &inputs {
                reference.input(name).map_err(|error| error.remedy(OTHER))?;
            }
            let refused = |error: Error| match (&self.inputs, loaded.dimensions().is_empty()) {
                (None, false) => error.remedy("give its dimensions other sizes with --dim NAME=N"),
                _ => error,
            };
            let expected = reference.run(&inputs).map_err(refused)?;
            let found = loaded.run(&inputs).map_err(refused)?;
            for (name, tensor) in &found {
                let other = expected.iter().find(|(other, _)| other == name);
                let comparison = other.and_then(|(_, other)| compare(name, other, tensor));
                verified.outputs.push(comparison.ok_or_else(|| {
                    Error::bad_file(format!(
                        "{} has no output {name:?} of the same type and shape",
                        against.display()
                    ))
                    .remedy(OTHER)
                })?);
            }
            verified.ok = verified.outputs.iter().all(|output| self.allows(output));
        }
        let differs = !verified.ok;
        let name = self.file.display();
        let limited = self.max_error.is_some() || self.min_snr.is_some();
        let outcome = Outcome::of(self.json, &verified, |verified| verified.text(&name, limited))?;
        Ok(Outcome { differs, ..outcome })
    }

    fn allows(&self, output: &Comparison) -> bool {
        let error = if output.float { self.max_error.unwrap_or(f64::MAX) } else { 0.0 };
        let noise = !output.float || self.min_snr.is_none_or(|least| output.snr_db >= least);
        output.max_abs <= error && noise
    }
}

impl Verified {
    fn text(&self, name: &impl std::fmt::Display, limited: bool) -> String {
        let mut text = String::new();
        for Comparison { name, max_abs, snr_db, .. } in &self.outputs {
            let max_abs = match max_abs {
                0.001..1e6 => format!("{max_abs:.3}"),
                _ => format!("{max_abs:.1e}"),
            };
            let _ = writeln!(text, "{name}: max error {max_abs}, snr {snr_db:.1} dB");
        }
        let _ = match self.ok {
            true if limited || self.outputs.is_empty() => writeln!(text, "{name}: ok"),
            true => writeln!(text, "{name}: ok; --max-error and --min-snr would set limits"),
            false => writeln!(text, "{name}: differs more than allowed"),
        };
        text
    }
}

/// Compares two outputs; `None` if their types or shapes differ.
fn compare(name: &str, expected: &Tensor, found: &Tensor) -> Option<Comparison> {
    let same_type = std::mem::discriminant(&expected.data) == std::mem::discriminant(&found.data);
    if !same_type || expected.dims != found.dims {
        return None;
    }
    let (mut max_abs, mut signal, mut noise, mut float) = (0f64, 0.0, 0.0, false);
    let mut add = |reference: f64, error: f64| {
        max_abs = max_abs.max(error.abs());
        signal += reference * reference;
        noise += error * error;
    };
    if let (Data::F32(expected), Data::F32(found)) = (&expected.data, &found.data) {
        float = true;
        for (&x, &y) in expected.iter().zip(found) {
            match x == y || (x.is_nan() && y.is_nan()) {
                true => add(if x.is_finite() { x.into() } else { 0.0 }, 0.0),
                false if (x - y).is_finite() => add(x.into(), f64::from(y) - f64::from(x)),
                false => add(0.0, f64::INFINITY),
            }
        }
    }
    let integers = |tensor: &Tensor| tensor.data.integers().unwrap_or_default();
    for (x, y) in integers(expected).into_iter().zip(integers(found)) {
        add(x as f64, (i128::from(y) - i128::from(x)) as f64);
    }
    let snr_db = if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() };
    Some(Comparison { name: name.to_owned(), max_abs, snr_db, float })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor { dims: vec![values.len()], data: Data::F32(values.to_vec()) }
    }

    #[test]
    fn noise_is_relative_to_the_signal() {
        let found = compare("y", &floats(&[3.0, 4.0]), &floats(&[3.0, 4.5])).unwrap();
        assert_eq!(found.max_abs, 0.5);
        assert!((found.snr_db - 20.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn only_one_number_is_infinitely_far() {
        let nan = f32::NAN;
        let same = compare("y", &floats(&[nan, 1.0]), &floats(&[nan, 1.0])).unwrap();
        assert_eq!((same.max_abs, same.snr_db), (0.0, f64::INFINITY));
        let differs = compare("y", &floats(&[nan, 1.0]), &floats(&[0.0, 1.0])).unwrap();
        assert_eq!(differs.max_abs, f64::INFINITY);
        let differs = compare("y", &floats(&[f32::INFINITY]), &floats(&[f32::MAX])).unwrap();
        assert_eq!(differs.max_abs, f64::INFINITY);
    }

    #[test]
    fn limits() {
        let verify = |max_error, min_snr| Verify {
            file: PathBuf::new(),
            against: None,
            inputs: None,
            dim: Vec::new(),
            max_error,
            min_snr,
            json: false,
        };
        let output = compare("y", &floats(&[3.0, 4.0]), &floats(&[3.0, 4.5])).unwrap();
        assert!(verify(None, None).allows(&output));
        assert!(verify(Some(0.5), Some(19.9)).allows(&output));
        assert!(!verify(Some(0.4), None).allows(&output));
        assert!(!verify(None, Some(20.1)).allows(&output));
        let whole = |value| Tensor { dims: vec![1], data: Data::I64(vec![value]) };
        let equal = compare("n", &whole(3), &whole(3)).unwrap();
        assert!(verify(None, Some(99.0)).allows(&equal));
        // One off at 2^53 is not lost in a float.
        let differs = compare("n", &whole(1 << 53), &whole((1 << 53) + 1)).unwrap();
        assert!(!verify(Some(5.0), None).allows(&differs));
        assert!(compare("n", &whole(1), &floats(&[1.0])).is_none());
    }
}
