//! Calibration data: a text, or arrays.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::Source;
use crate::data;
use crate::error::{Error, Result};
use crate::feed::arrays::{bind, read_inputs};
use crate::feed::text::Vocabulary;
use crate::loaded::{Loaded, port_text};
use crate::tensor::{Data, Tensor};

/// Tokens of a text, or steps of sequences, that are taken unless another number is asked for.
const TOKENS: usize = 100_000;
/// The same of samples in arrays that do not follow each other in time.
const SAMPLES: usize = 512;

/// Data that were read.
#[derive(Clone, Debug)]
pub enum Samples {
    /// A text as numbers of a vocabulary of so many entries.
    Text {
        /// The numbers.
        tokens: Vec<i64>,
        /// Entries of the vocabulary.
        classes: usize,
    },
    /// Inputs of a model, each entry with its samples along `axis`.
    Arrays {
        /// From each file.
        files: Vec<Vec<(String, Tensor)>>,
        /// Where samples stand.
        axis: usize,
    },
}

impl Source {
    /// Reads the data for a model.
    ///
    /// # Errors
    /// A file that cannot be read, a text without its vocabulary, and arrays that are no inputs of the
    /// model, are not finite or hold no samples.
    pub fn read(&self, loaded: &Loaded) -> Result<Samples> {
        let within = |error: Error| error.within(self.path.display());
        if let Some((vocabulary, unit)) = &self.vocabulary {
            let vocabulary = Vocabulary::read(vocabulary, *unit)?;
            let mut tokens = vocabulary.read_tokens(&self.path)?.ids;
            tokens.truncate(self.most.unwrap_or(TOKENS));
            if tokens.len() < 2 {
                return Err(within(too_few(tokens.len(), "tokens")));
            }
            return Ok(Samples::Text { tokens, classes: vocabulary.len() });
        }
        let files = match self.path.is_dir() {
            true => self.folder()?,
            false => vec![self.path.clone()],
        };
        let (mut read, mut left) = (
            Vec::new(),
            self.most.unwrap_or(if loaded.is_time(self.axis) { TOKENS } else { SAMPLES }),
        );
        let mut count = 0;
        for file in &files {
            if left == 0 && count > 0 {
                break;
            }
            let arrays = self.arrays(loaded, file)?;
            let samples =
                self.count(loaded, &arrays).map_err(|error| error.within(file.display()))?;
            let taken = samples.min(left);
            (left, count) = (left - taken, count + taken);
            read.push(
                arrays
                    .into_iter()
                    .map(|(name, tensor)| {
                        let tensor = tensor.slice(self.axis, 0..taken);
                        (name, tensor)
                    })
                    .collect(),
            );
        }
        if count < 2 {
            return Err(within(too_few(count, "samples")));
        }
        Ok(Samples::Arrays { files: read, axis: self.axis })
    }

    /// The arrays of a file, as inputs.
    fn arrays(&self, loaded: &Loaded, file: &Path) -> Result<Vec<(String, Tensor)>> {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let arrays = match extension {
            Some("npz") => read_inputs(loaded, file)?,
            Some("npy") => {
                let mut inputs = loaded.inputs();
                let (Some(only), None) = (inputs.next(), inputs.next()) else {
                    return Err(Error::usage("an .npy file is for a model of one input")
                        .within(file.display())
                        .remedy("save the inputs by their names in an .npz file"));
                };
                vec![(loaded.name(only.value).to_owned(), data::read_npy(file)?)]
            }
            _ => {
                return Err(Error::usage(
                    "calibration data are a text, an .npz file, or a folder of .npz or .npy files",
                )
                .within(file.display())
                .remedy("for a text give its vocabulary with --vocab"));
            }
        };
        let inputs = bind(loaded, arrays).map_err(|error| error.within(file.display()))?;
        for (name, tensor) in &inputs {
            if let Data::F32(values) = &tensor.data
                && let Some(bad) = values.iter().position(|x| !x.is_finite())
            {
                return Err(Error::bad_file(format!("{name}: value {bad} is {}", values[bad]))
                    .within(file.display())
                    .remedy("calibrate with data that the model is meant for"));
            }
            let port = loaded.input(name)?;
            if port.dims.len() != tensor.dims.len() {
                let (dims, takes) = (&tensor.dims, port_text(loaded.graph(), port));
                return Err(Error::bad_file(format!("an array of shape {dims:?} for {takes}"))
                    .within(file.display()));
            }
        }
        Ok(inputs)
    }

    /// How many samples the arrays hold.
    fn count(&self, loaded: &Loaded, arrays: &[(String, Tensor)]) -> Result<usize> {
        let axis = self.axis;
        let mut first: Option<(&str, usize)> = None;
        for (name, Tensor { dims, .. }) in arrays {
            let Some(&size) = dims.get(axis) else {
                return Err(Error::usage(format!("{name} has the shape {dims:?}, no axis {axis}"))
                    .remedy("--calib-axis says along which axis samples stand"));
            };
            match first {
                Some((other, samples)) if samples != size => {
                    let given =
                        |name: &str| loaded.inputs().any(|port| loaded.name(port.value) == name);
                    let remedy = match given(name) && given(other) {
                        true => {
                            "each array holds as many along its first axis, or along --calib-axis"
                        }
                        false => "leave states out: they begin as the model says",
                    };
                    return Err(Error::bad_file(format!(
                        "along axis {axis} {other} holds {samples} samples and {name} {size}"
                    ))
                    .remedy(remedy));
                }
                _ => first = Some((name, size)),
            }
        }
        Ok(first.map_or(0, |(_, samples)| samples))
    }

    /// The files of the folder, by name.
    fn folder(&self) -> Result<Vec<PathBuf>> {
        let fail = |error| Error::io(&self.path, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|extension| extension == "npz" || extension == "npy") {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(
                Error::bad_file("no .npz or .npy file is in it").within(self.path.display())
            );
        }
        Ok(files)
    }
}

fn too_few(count: usize, what: &str) -> Error {
    Error::bad_file(format!("calibration needs 2 {what} or more, there are {count}"))
        .remedy("a hundred and more of what the model is meant for serve well")
}
