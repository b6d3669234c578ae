//! Recognizes recurrent layers that are written as what they compute: steps that follow each other,
//! and loops. A layer streams, batches and is quantized as such.

mod cell;
mod chain;
mod expr;
mod layer;
mod rounds;
mod stack;

use crate::error::Result;
use crate::ir::Module;

pub(super) fn run(module: &mut Module) -> Result<()> {
    rounds::run(module)?;
    chain::run(module)?;
    stack::run(module)
}
