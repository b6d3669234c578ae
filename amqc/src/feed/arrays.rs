//! Arrays as inputs of a model.

use std::path::Path;

use amq_format::graph::Port;

use crate::data::{self, Array};
use crate::error::{Error, Result};
use crate::open::{Loaded, port_text};
use crate::tensor::Tensor;

/// The arrays of an `.npz` file, each for an input of the model.
///
/// # Errors
/// What of the file cannot be read, and a name that no input has.
pub fn read_inputs(loaded: &Loaded, path: &Path) -> Result<Vec<(String, Array)>> {
    data::read_npz(path, |name| loaded.input(name).map(|_| ()))
}

/// Arrays as the inputs they are for. Every input that is no state must be there.
///
/// # Errors
/// An input that is unknown, given twice or not given, and values that its type does not hold.
pub fn bind(loaded: &Loaded, arrays: Vec<(String, Array)>) -> Result<Vec<(String, Tensor)>> {
    let mut bound: Vec<(String, Tensor)> = Vec::new();
    for (name, array) in arrays {
        let port = loaded.input(&name)?;
        if bound.iter().any(|(other, _)| *other == name) {
            return Err(Error::usage(format!("the input {name:?} is given twice")));
        }
        let tensor = array.into_tensor(&name, port.data_type())?;
        bound.push((name, tensor));
    }
    let given = |port: &&Port| bound.iter().any(|(name, _)| name == loaded.name(port.value));
    if let Some(missing) = loaded.inputs().find(|port| !given(port)) {
        let name = loaded.name(missing.value);
        return Err(Error::usage(format!("the input {name:?} is not given"))
            .within(loaded.path.display())
            .remedy(format!("it takes {}", port_text(loaded.graph(), missing))));
    }
    Ok(bound)
}
