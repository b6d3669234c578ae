//! Values that a loss is of, beside the float model's.

use std::path::Path;

use amq_format::graph::{Graph, ValueId};
use amq_runtime::Outputs;

use super::loss::{Targets, of_scores, of_values};
use super::tape::{ByValues, Tape, floats};
use crate::error::{Error, Result};
use crate::eval::Scores;
use crate::eval::scores::classes_axis;
use crate::ir::Module;
use crate::loaded::Loaded;

/// A value that a loss is of, an output of the float model.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// In the network that is trained.
    pub(super) value: ValueId,
    pub(super) name: String,
    /// Whether rows along the last axis are probabilities.
    distribution: bool,
    /// The mean square of its elements about their mean.
    pub(super) energy: f64,
    /// How many these are.
    pub(super) elements: usize,
}

impl Output {
    /// The output of `float` that has this number there, whose energy is not known yet.
    pub(super) fn new(float: &Loaded, module: &Module, value: ValueId) -> Output {
        let name = float.name(value).to_owned();
        let number = module.graph.values.iter().position(|other| *other == name);
        let distribution = is_distribution(float.graph(), value);
        let value = number.unwrap_or_default() as ValueId;
        Output { value, name, distribution, energy: 0.0, elements: 0 }
    }

    /// The loss without labels, and its gradient.
    pub(super) fn loss(&self, y: &[f32], expected: &[f32], width: usize) -> (f64, Vec<f32>) {
        if self.distribution {
            let targets = Targets { labels: None, teacher: Some(expected), share: 1.0 };
            return of_scores(Scores::Probabilities, width, y, targets, Vec::new());
        }
        of_values(y, expected, self.energy)
    }

    /// Checks that the float model at `path` gives as many elements.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(&self, path: &Path, y: &[f32], expected: &[f32]) -> Result<()> {
        if y.len() != expected.len() {
            let Output { name, .. } = self;
            let (here, there) = (y.len(), expected.len());
            return Err(Error::unsupported(format!(
                "in training {name:?} has {here} elements, in the float model {there}"
            ))
            .within(path.display()));
        }
        Ok(())
    }
}

/// The mean loss over outputs of the last call, and its gradients by them; `loss` gives that of one, with its gradient, of its
/// elements beside those of the float model, and the size of its last axis.
///
/// # Errors
/// Those of `loss`, and an output that is not there.
pub(super) fn compare(
    tape: &Tape<'_>,
    outputs: &[Output],
    expected: &[Vec<f32>],
    loss: impl Fn(&Output, (&[f32], &[f32]), usize) -> Result<(f64, Vec<f32>)>,
) -> Result<(f64, ByValues)> {
    let (mut total, mut gradients) = (0.0, Vec::new());
    let part = 1.0 / outputs.len() as f64;
    for (output, expected) in outputs.iter().zip(expected) {
        let tensor = tape.value(output.value);
        let width = tensor.and_then(|y| y.dims.last().copied()).unwrap_or(1);
        let (loss, mut gradient) = loss(output, (floats(tensor)?, expected), width)?;
        gradient.iter_mut().for_each(|g| *g *= part as f32);
        total += part * loss;
        gradients.push((output.value, gradient));
    }
    Ok((total, gradients))
}

/// The values of outputs.
pub(super) fn values(given: &Outputs<'_>, outputs: &[Output]) -> Vec<Vec<f32>> {
    let of = |output: &Output| given.get(&output.name).and_then(|view| view.as_f32());
    outputs.iter().map(|output| of(output).unwrap_or_default().to_vec()).collect()
}

/// Whether an output is a softmax whose classes are its last axis.
fn is_distribution(graph: &Graph, value: ValueId) -> bool {
    let port = graph.outputs.iter().find(|port| port.value == value);
    let last = port.and_then(|port| port.dims.len().checked_sub(1));
    Scores::of(graph, value) == Scores::Probabilities
        && last.is_some_and(|last| classes_axis(graph, value, last + 1) == Some(last))
}
