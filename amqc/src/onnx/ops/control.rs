//! Branches and loops.

use amq_format::graph::DataType;

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

pub(in crate::onnx) fn branch(reader: &mut Reader<'_, '_>) -> Result<()> {
    let condition = reader.input(0)?;
    let then = reader.graph("then_branch")?;
    let otherwise = reader.graph("else_branch")?;
    let Some(taken) = truth(reader, condition)? else {
        return Err(Error::unsupported("which branch is taken depends on data")
            .remedy("--fix NAME=VALUE makes an input a constant, --dim NAME=N a dimension"));
    };
    let outputs = match taken {
        true => reader.inline(then, "then", &[])?,
        false => reader.inline(otherwise, "else", &[])?,
    };
    if outputs.len() != reader.output_count() {
        return Err(Error::bad_file("its branches have not as many outputs as it has"));
    }
    outputs.into_iter().enumerate().try_for_each(|(i, value)| reader.give(i, value))
}

/// A condition, where it is known.
fn truth(reader: &Reader<'_, '_>, condition: Value) -> Result<Option<bool>> {
    if reader.data_type(condition) != DataType::Bool {
        return Err(Error::bad_file("its condition is not of type bool"));
    }
    let elements = reader.builder.elements_of(condition);
    Ok(elements.and_then(|known| match known.numbers()?.as_slice() {
        [truth] => Some(*truth != 0),
        _ => None,
    }))
}
