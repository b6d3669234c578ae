//! `amqc operators`

use clap::Args;

use super::Outcome;
use crate::onnx;

/// List the operators of ONNX that are read, and their limits
#[derive(Debug, Args)]
pub(super) struct Operators {}

impl Operators {
    pub(super) fn execute(&self) -> Outcome {
        Outcome::text(onnx::markdown())
    }
}
