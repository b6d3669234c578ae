//! The native half of the Python package `amq`; `python/amq/_amq.pyi` is its reference.

mod arrays;
mod model;
mod session;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::create_exception;

create_exception!(amq, Error, PyValueError, "What was found, and what is expected.");

/// An error of the runtime, for Python.
fn failed(error: amq_runtime::Error) -> PyErr {
    Error::new_err(error.to_string())
}

/// A file that cannot be read.
fn unread(path: &std::path::Path, error: &std::io::Error) -> PyErr {
    let what = format!("{}: {error}", path.display());
    match error.raw_os_error() {
        // With its number Python finds the subclass, such as FileNotFoundError.
        Some(number) => PyOSError::new_err((number, what)),
        None => PyOSError::new_err(what),
    }
}

#[pymodule]
fn _amq(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Error", module.py().get_type::<Error>())?;
    module.add_class::<model::Model>()?;
    module.add_class::<model::Port>()?;
    module.add_class::<session::Session>()
}
