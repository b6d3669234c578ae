//! What coding each matrix alone does to the answers of a model.

use std::path::Path;

use amq_runtime::Isa;
use serde::Serialize;

use crate::calibrate::gather::gather;
use crate::calibrate::source::Source;
use crate::calibrate::trial::{Answer, Trial};
use crate::compile::Prepared;
use crate::error::{Error, Result};
use crate::fits::Fits;
use crate::open::Opened;
use crate::options::ConvertOptions;
use crate::plan::{Choice, Plan};

/// What coding each matrix alone does to the answers.
#[derive(Clone, Debug, Serialize)]
pub struct Sensitivity {
    /// How many tokens or samples answers are compared on.
    pub samples: usize,
    /// Which of the two.
    #[serde(skip)]
    pub what: &'static str,
    /// Each matrix that is coded: the one that costs most first.
    pub matrices: Vec<Cost>,
    /// All of them together.
    pub all: Vec<Answer>,
}

/// What coding one matrix costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Its name, that of its first use where there are several.
    pub name: String,
    /// The operator that uses it.
    pub op: String,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Codes a row.
    pub bits: u8,
    /// How activations enter the product.
    pub activations: String,
    /// Relative squared error of its weights.
    pub relative_mse: f64,
    /// Each output, compared with that of the float model.
    pub outputs: Vec<Answer>,
}

/// The number that matrices are ranked by: the mean divergence where all float outputs are scores, else the mean noise of
/// those that are float, else the share of other values.
pub(crate) fn loss(answers: &[Answer]) -> f64 {
    let mean = |losses: Vec<f64>| {
        (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
    };
    let floats = || answers.iter().filter(|answer| answer.float);
    let others = answers.iter().filter_map(|answer| answer.same_choice).map(|same| 1.0 - same);
    match are_scores(answers) {
        true => mean(floats().filter_map(|answer| answer.kl).collect()),
        false => mean(floats().map(|answer| answer.noise).collect()),
    }
    .or_else(|| mean(others.collect()))
    .unwrap_or(0.0)
}

/// Whether all outputs that are float are scores, and there are some.
pub(crate) fn are_scores(answers: &[Answer]) -> bool {
    let mut floats = answers.iter().filter(|answer| answer.float).peekable();
    floats.peek().is_some() && floats.all(|answer| answer.kl.is_some())
}

/// Codes each matrix of the ONNX model at `path` alone, as `options` say, the others staying float, and compares
/// answers on the calibration data. `progress` is told what is done, and how far.
///
/// # Errors
/// As [`compile`](crate::compile::compile); data that are not for the model.
pub fn sensitivity(
    path: &Path,
    options: &ConvertOptions,
    source: &Source,
    isa: Isa,
    progress: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<Sensitivity> {
    let opened = Opened::read_as(path, options)?;
    let moments =
        gather(&opened, source, isa, &|done, total| progress("calibration", done, total))?;
    let float = opened.load(isa)?;
    let trial = Trial::new(&float, &source.read(&float)?)?;
    let Prepared { module, weights, .. } = Prepared::read(path, options)?;
    let located = |error: Error| error.within(path.display());
    let plan = Plan::new(&module, &weights, options.resolver()?).map_err(located)?;
    let mut fits = Fits::new(path, module, &weights, isa)?;
    fits.add(plan, Some(&moments), progress).map_err(located)?;
    let mut matrices = Vec::new();
    let mut choices = vec![None; fits.groups.len()];
    for group in 0..choices.len() {
        progress("sensitivity", group, choices.len());
        let Choice::Codes { fit, activations, .. } = fits.choice(group, 0) else { continue };
        let Some(relative_mse) = fits.relative_mse(group, 0) else { continue };
        choices[group] = Some(0);
        let outputs = trial.answers(&fits.load(&choices)?)?;
        choices[group] = None;
        let weight = fits.weight(group);
        matrices.push(Cost {
            name: weight.name.clone(),
            op: weight.op.into(),
            rows: weight.rows,
            cols: weight.cols,
            bits: fit.bits,
            activations: activations.name().into(),
            relative_mse,
            outputs,
        });
    }
    choices.fill(Some(0));
    let all = trial.answers(&fits.load(&choices)?)?;
    matrices.sort_by(|a, b| loss(&b.outputs).total_cmp(&loss(&a.outputs)));
    Ok(Sensitivity { samples: trial.count(), what: trial.what(), matrices, all })
}
