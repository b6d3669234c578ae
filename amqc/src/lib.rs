//! The amq compiler.

pub mod error;
pub mod quant;

pub use error::{Error, ErrorKind, Result};
