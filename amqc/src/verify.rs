//! How far a model is from the one it was made from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::by_node::{ByNode, by_node};
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::feed::seeded::{seeded, sizes};
use crate::loaded::Loaded;
use crate::tensor::{Data, Tensor};

/// What both models run on.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// These, by name.
    Given(Vec<(String, Tensor)>),
    /// Seeded ones, with these sizes of dimensions by name: others are 16 where they are time, else 1.
    Seeded(Vec<(String, i64)>),
}

/// How far an output may be from its reference. One that is not float must be the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Largest difference.
    pub max_error: Option<f64>,
    /// Least ratio of signal to noise, in decibels.
    pub min_snr: Option<f64>,
}

/// What a comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// Whether every output is within the limits.
    pub ok: bool,
    /// Every output of the model.
    pub outputs: Vec<Comparison>,
    /// Every value that a node gives, where that is asked for.
    #[serde(flatten)]
    pub by_node: Option<ByNode>,
}

/// How far an output is from its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The output.
    pub name: String,
    /// Largest difference; infinite (in JSON: null) where only one of the two is a number.
    pub max_abs: f64,
    /// `10 log10(sum of squares / sum of squared differences)`; JSON's null where nothing differs.
    pub snr_db: f64,
    /// The same of the signal about its mean.
    pub snr_about_mean_db: f64,
    /// Elements that are no numbers in either.
    pub not_numbers: usize,
    #[serde(skip)]
    float: bool,
}

/// Time steps of seeded inputs that are streams.
const STEPS: i64 = 16;

/// Runs a model and its reference on the same inputs, and compares every output; what each node gives
/// as well, if `nodes` asks for that.
///
/// # Errors
/// Models that differ in their inputs or outputs, and inputs that one of them cannot take.
pub fn verify(
    loaded: &Loaded,
    reference: &Loaded,
    inputs: &Inputs,
    limits: Limits,
    nodes: bool,
) -> Result<Verified> {
    let made;
    let inputs_of = match inputs {
        Inputs::Given(inputs) => inputs,
        Inputs::Seeded(dims) => {
            made = seeded_inputs(loaded, dims)?;
            &made
        }
    };
    const OTHER: &str = "compare a file with the model it was made from";
    for (name, _) in inputs_of {
        reference.input(name).map_err(|error| error.remedy(OTHER))?;
    }
    let refused = |error: Error| match inputs {
        Inputs::Seeded(_) => {
            let shapes = inputs_of.iter().map(|(name, x)| (name.as_str(), &x.dims[..]));
            loaded.error_of_sizes(error, &loaded.sizes_of(shapes))
        }
        Inputs::Given(_) => error,
    };
    let expected = reference.run(inputs_of).map_err(refused)?;
    let found = loaded.run(inputs_of).map_err(refused)?;
    let mut outputs = Vec::new();
    for (name, tensor) in &found {
        let other = expected.iter().find(|(other, _)| other == name);
        let comparison = other.and_then(|(_, other)| compare(name, other, tensor));
        outputs.push(comparison.ok_or_else(|| {
            Error::bad_file(format!(
                "{} has no output {name:?} of the same type and shape",
                reference.path.display()
            ))
            .remedy(OTHER)
        })?);
    }
    let by_node = nodes.then(|| by_node(loaded, reference, inputs_of)).transpose()?;
    Ok(Verified { ok: outputs.iter().all(|output| limits.allow(output)), outputs, by_node })
}

/// Seeded inputs, with these sizes of dimensions by name: others are 16 where they are time, else 1.
///
/// # Errors
/// A name that the model does not have, and sizes that leave a dimension without one.
pub fn seeded_inputs(loaded: &Loaded, dims: &[(String, i64)]) -> Result<Vec<(String, Tensor)>> {
    seeded(loaded, &with_steps(loaded, dims)?)
}

/// The sizes that are given, and [`STEPS`] for time.
fn with_steps(loaded: &Loaded, dims: &[(String, i64)]) -> Result<BTreeMap<String, i64>> {
    let mut all = BTreeMap::new();
    for stream in &loaded.graph().streams {
        let port = loaded.inputs().find(|port| port.value == stream.value);
        let dim = port.and_then(|port| port.dims.get(stream.time_axis as usize));
        let name = dim.and_then(|dim| dim.as_name());
        all.extend(name.map(|name| (name.to_owned(), STEPS)));
    }
    all.extend(sizes(dims, &[loaded])?);
    Ok(all)
}

impl Limits {
    fn allow(&self, output: &Comparison) -> bool {
        let error = if output.float { self.max_error.unwrap_or(f64::MAX) } else { 0.0 };
        let noise = !output.float || self.min_snr.is_none_or(|least| output.snr_db >= least);
        output.max_abs <= error && noise
    }
}

/// Compares two outputs; `None` if their types or shapes differ.
fn compare(name: &str, expected: &Tensor, found: &Tensor) -> Option<Comparison> {
    let distance = Distance::of(expected, found)?;
    let float = matches!(found.data, Data::F32(_));
    let (max_abs, snr_db) = (distance.max_abs, distance.snr_db());
    let (snr_about_mean_db, not_numbers) = (distance.snr_about_mean_db(), distance.not_numbers);
    Some(Comparison {
        name: name.to_owned(),
        max_abs,
        snr_db,
        snr_about_mean_db,
        not_numbers,
        float,
    })
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
    fn a_mean_is_no_merit() {
        let found = compare("y", &floats(&[9.0, 11.0]), &floats(&[10.0, 10.0])).unwrap();
        assert!((found.snr_db - 20.04).abs() < 0.01, "{found:?}");
        assert!(found.snr_about_mean_db.abs() < 1e-9, "{found:?}");
        // What does not vary has no other measure.
        let found = compare("y", &floats(&[2.0, 2.0]), &floats(&[2.2, 2.0])).unwrap();
        assert_eq!(found.snr_about_mean_db, found.snr_db);
    }

    #[test]
    fn only_one_number_is_infinitely_far() {
        let nan = f32::NAN;
        let same = compare("y", &floats(&[nan, 1.0]), &floats(&[nan, 1.0])).unwrap();
        assert_eq!((same.max_abs, same.snr_db, same.not_numbers), (0.0, f64::INFINITY, 1));
        let differs = compare("y", &floats(&[nan, 1.0]), &floats(&[0.0, 1.0])).unwrap();
        assert_eq!(differs.max_abs, f64::INFINITY);
        let differs = compare("y", &floats(&[f32::INFINITY]), &floats(&[f32::MAX])).unwrap();
        assert_eq!(differs.max_abs, f64::INFINITY);
    }

    #[test]
    fn limits() {
        let allows =
            |max_error, min_snr, output: &Comparison| Limits { max_error, min_snr }.allow(output);
        let output = compare("y", &floats(&[3.0, 4.0]), &floats(&[3.0, 4.5])).unwrap();
        assert!(allows(None, None, &output));
        assert!(allows(Some(0.5), Some(19.9), &output));
        assert!(!allows(Some(0.4), None, &output));
        assert!(!allows(None, Some(20.1), &output));
        let whole = |value| Tensor { dims: vec![1], data: Data::I64(vec![value]) };
        let equal = compare("n", &whole(3), &whole(3)).unwrap();
        assert!(allows(None, Some(99.0), &equal));
        // One off at 2^53 is not lost in a float.
        let differs = compare("n", &whole(1 << 53), &whole((1 << 53) + 1)).unwrap();
        assert!(!allows(Some(5.0), None, &differs));
        assert!(compare("n", &whole(1), &floats(&[1.0])).is_none());
    }
}
