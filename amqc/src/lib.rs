//! The amq compiler: float ONNX networks in, small binary-coded `.amq` models out.

pub mod bench;
pub mod budget;
pub mod by_node;
pub mod calibrate;
pub mod cli;
pub mod compile;
pub mod data;
pub mod distance;
mod emit;
pub mod error;
pub mod eval;
pub mod feed;
pub mod fit;
mod fits;
pub mod interface;
pub mod ir;
mod names;
pub mod onnx;
pub mod open;
pub mod options;
mod passes;
pub mod plan;
pub mod quant;
pub mod recipe;
pub mod report;
pub mod sensitivity;
pub mod settings;
mod sign;
mod table;
pub mod tensor;
pub mod threads;
pub mod verify;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
