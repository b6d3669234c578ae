//! From an ONNX file to the bytes of an `.amq` file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::options::ConvertOptions;
use crate::report::Report;

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The `.amq` file.
    pub bytes: Vec<u8>,
    /// What was done to each layer.
    pub report: Report,
}

/// How far a compilation has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Matrices that are done.
    pub done: usize,
    /// Matrices in all.
    pub total: usize,
    /// The matrix that was finished last.
    pub layer: &'a str,
}

/// Compiles the ONNX model at `path`; `progress` hears of every matrix that is done.
pub fn compile(
    path: &Path,
    _options: &ConvertOptions,
    _progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Compiled> {
    Err(Error::unsupported("ONNX cannot be compiled").within(path.display()))
}
