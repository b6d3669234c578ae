//! The amq compiler.

pub mod error;
pub mod ir;
pub mod onnx;
pub mod quant;

pub use error::{Error, ErrorKind, Result};
