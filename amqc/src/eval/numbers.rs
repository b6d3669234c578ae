//! How far an output is from the numbers that it should give.

use serde::Serialize;

use super::items;
use super::labels::{Known, Labels};
use crate::error::Result;
use crate::loaded::Loaded;
use crate::tensor::Tensor;

/// How far an output is from the numbers that it should give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanError {
    /// Mean of absolute differences.
    pub mean_error: f64,
    /// Root of the mean of squared differences.
    pub rms_error: f64,
    /// Numbers that were compared.
    pub predicted: usize,
}

/// Runs the model on inputs whose items stand along axis 0, as [`accuracy`](super::accuracy) does, and compares the
/// output with labels that have as many numbers for each item.
///
/// # Errors
/// Labels that are no numbers or not as many, and outputs that are not numbers.
pub fn mean_error(
    loaded: &Loaded,
    inputs: &[(String, Tensor)],
    labels: &Labels,
    output: Option<&str>,
    tell: &dyn Fn(usize, usize),
) -> Result<MeanError> {
    let Known::Numbers(numbers) = &labels.known else {
        return Err(labels.wrong("an error is measured from floats".into()));
    };
    let each: usize = labels.dims[1..].iter().product();
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0);
    items::run(loaded, inputs, labels, output, |given| {
        tell(given.items.end, labels.items());
        let length = given.dims.first().copied().unwrap_or(0);
        if given.values.len() != length * each {
            let (dims, shape) = (items::whole(given.dims, labels), &labels.dims);
            let name = given.name;
            return Err(
                labels.wrong(format!("labels have the shape {shape:?} and {name:?} has {dims:?}"))
            );
        }
        let expected = &numbers[given.items.start * each..given.items.end * each];
        for (&expected, &found) in expected.iter().zip(given.values) {
            let error = f64::from(found) - expected;
            sum += error.abs();
            squares += error * error;
            count += 1;
        }
        Ok(())
    })?;
    let (mean, square) = (sum / count as f64, squares / count as f64);
    if !square.is_finite() {
        return Err(items::refuse(loaded, "the output or a label is not a number".into()));
    }
    Ok(MeanError { mean_error: mean, rms_error: square.sqrt(), predicted: count })
}
