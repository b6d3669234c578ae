//! Accuracy on items with labels.

use std::path::{Path, PathBuf};

use amq_format::graph::{DataType, Port};
use serde::Serialize;

use super::scores::top1;
use crate::data;
use crate::error::{Error, Result};
use crate::feed::arrays::Batches;
use crate::loaded::Loaded;
use crate::tensor::{Tensor, views};

/// The class of each item.
#[derive(Clone, Debug)]
pub struct Labels {
    file: PathBuf,
    classes: Vec<i64>,
}

impl Labels {
    /// Reads the labels in an `.npy` file.
    ///
    /// # Errors
    /// A file that cannot be read, and values that are not integers.
    pub fn read(path: &Path) -> Result<Labels> {
        match data::read_npy(path)?.integers() {
            Some(classes) => Ok(Labels { file: path.to_owned(), classes: classes.to_vec() }),
            None => Err(Error::bad_file("labels are whole numbers, one for each item")
                .within(path.display())),
        }
    }

    /// Them.
    pub(crate) fn into_classes(self) -> Vec<i64> {
        self.classes
    }
}

/// How often a model's largest score is at the label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// A share, from 0 to 1.
    pub accuracy: f64,
    /// Items.
    pub predicted: usize,
}

/// Runs the model on inputs whose items stand along axis 0; `output` names the one that gives the
/// scores, unless only one is float and no state.
///
/// # Errors
/// Labels that are not one for each item or not a class, inputs that the model cannot take in batches
/// and scores that are not numbers.
pub fn accuracy(
    loaded: &Loaded,
    inputs: &[(String, Tensor)],
    labels: &Labels,
    output: Option<&str>,
) -> Result<Accuracy> {
    let classes = &labels.classes;
    let fail = |what: String| Err(Error::bad_file(what).within(labels.file.display()));
    for (name, tensor) in inputs {
        if tensor.dims.first() != Some(&classes.len()) {
            let (count, dims) = (classes.len(), &tensor.dims);
            return fail(format!("{count} labels, but {name:?} has the shape {dims:?}"));
        }
    }
    if classes.is_empty() {
        return fail("there is no label".into());
    }
    let floats: Vec<&Port> =
        loaded.outputs().filter(|port| port.data_type() == DataType::F32).collect();
    let output = loaded.pick("output", "--output", output, &loaded.graph().outputs, &floats)?;
    let output = loaded.name(output.value);
    let mut session = loaded.session();
    let mut right = 0;
    for batch in Batches::new(loaded, inputs, classes.len())?.iter() {
        let outputs = session.run(&views(&batch.inputs)).map_err(|error| loaded.error(error))?;
        let scores = outputs.get(output).and_then(|view| view.as_f32()).unwrap_or_default();
        let refuse = |what: String| Err(Error::unsupported(what).within(loaded.path.display()));
        if scores.is_empty() || scores.len() % batch.length != 0 {
            let (count, length) = (scores.len(), batch.length);
            return refuse(format!("{count} scores of {output:?} for {length} items"));
        }
        let width = scores.len() / batch.length;
        for (item, row) in batch.items.zip(scores.chunks_exact(width)) {
            let class = classes[item];
            let Some(label) = usize::try_from(class).ok().filter(|&label| label < width) else {
                return fail(format!("label {class} of item {item}: there are {width} classes"));
            };
            let Some(best) = top1(row) else {
                return refuse(format!("the scores of item {item} are not numbers"));
            };
            right += usize::from(best == label);
        }
    }
    let predicted = classes.len();
    Ok(Accuracy { accuracy: right as f64 / predicted as f64, predicted })
}
