//! What the outputs of items are compared with.

use std::path::{Path, PathBuf};

use crate::data;
use crate::error::{Error, Result};

/// The classes of items or of positions in them, or the numbers that an output is to give.
#[derive(Clone, Debug)]
pub struct Labels {
    pub(super) file: PathBuf,
    /// Items along axis 0.
    pub(super) dims: Vec<usize>,
    pub(super) known: Known,
}

#[derive(Clone, Debug)]
pub(super) enum Known {
    Classes(Vec<i64>),
    Numbers(Vec<f64>),
}

impl Labels {
    /// Reads the labels in an `.npy` file: integers are classes, floats are what an output is to give.
    ///
    /// # Errors
    /// A file that cannot be read, holds neither, or no item.
    pub fn read(path: &Path) -> Result<Labels> {
        let array = data::read_npy(path)?;
        let known = match (array.integers(), array.floats()) {
            (Some(classes), _) => Known::Classes(classes.to_vec()),
            (None, Some(numbers)) => Known::Numbers(numbers),
            (None, None) => {
                return Err(Error::bad_file("labels are whole numbers, or floats to be compared")
                    .within(path.display()));
            }
        };
        let labels = Labels { file: path.to_owned(), dims: array.dims, known };
        if labels.dims.is_empty() || labels.dims.contains(&0) {
            return Err(labels.wrong(format!("there is no label in the shape {:?}", labels.dims)));
        }
        Ok(labels)
    }

    /// Whether they are numbers, not classes.
    pub fn are_numbers(&self) -> bool {
        matches!(self.known, Known::Numbers(_))
    }

    /// The class of each item.
    ///
    /// # Errors
    /// Labels of another kind.
    pub(crate) fn into_classes(self) -> Result<Vec<i64>> {
        let wrong = match (&self.dims[..], self.known) {
            ([_], Known::Classes(classes)) => return Ok(classes),
            ([_], Known::Numbers(_)) => "labels are whole numbers here".to_owned(),
            (dims, _) => {
                format!("labels of the shape {dims:?}: training takes one for each sample")
            }
        };
        Err(Error::bad_file(wrong)
            .within(self.file.display())
            .remedy("without labels the outputs of the float model are learned"))
    }

    /// How many items there are.
    pub(super) fn items(&self) -> usize {
        self.dims.first().copied().unwrap_or(0)
    }

    /// They do not fit.
    pub(super) fn wrong(&self, what: String) -> Error {
        Error::bad_file(what).within(self.file.display())
    }
}
