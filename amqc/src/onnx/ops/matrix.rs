//! MatMul and Gemm.

use amq_format::graph::{Binary, BinaryFunction, MatMul, Op};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

pub(in crate::onnx) fn matmul(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = [r.input(0)?, r.input(1)?];
    let y = r.emit("", Op::MatMul(MatMul {}), &inputs)?;
    r.give(0, y)
}

pub(in crate::onnx) fn gemm(r: &mut Reader<'_, '_>) -> Result<()> {
    if r.opset < 7 {
        r.flag("broadcast", false)?;
    }
    let factors = [r.float("alpha")?.unwrap_or(1.0), r.float("beta")?.unwrap_or(1.0)];
    let operands = [r.input(0)?, r.input(1)?];
    let c = r.optional_input(2);
    let y = general_product(r, operands, c, factors)?;
    r.give(0, y)
}

/// `alpha a b + beta c`, with a and b transposed where the node says so.
pub(super) fn general_product(
    r: &mut Reader<'_, '_>,
    [a, b]: [Value; 2],
    c: Option<Value>,
    [alpha, beta]: [f32; 2],
) -> Result<Value> {
    let a = operand(r, a, "transA", "a")?;
    let b = operand(r, b, "transB", "b")?;
    let product = r.emit("", Op::MatMul(MatMul {}), &[a, b])?;
    let product = scaled(r, "alpha", product, alpha)?;
    let Some(c) = c else { return Ok(product) };
    let c = scaled(r, "beta", c, beta)?;
    let y = r.emit("add", add(), &[product, c])?;
    r.keeps_shape("C", product, y)?;
    Ok(y)
}

fn add() -> Op {
    Op::Binary(Binary { function: BinaryFunction::Add.into() })
}

/// A matrix, transposed if the attribute says so.
fn operand(r: &mut Reader<'_, '_>, matrix: Value, transposed: &str, part: &str) -> Result<Value> {
    let rank = r.rank(matrix);
    if rank != 2 {
        return Err(Error::bad_file(format!("its {part} has {rank} axes instead of 2")));
    }
    if r.flag(transposed, false)? { r.transpose(part, matrix, &[1, 0]) } else { Ok(matrix) }
}

fn scaled(r: &mut Reader<'_, '_>, part: &str, x: Value, by: f32) -> Result<Value> {
    if by == 1.0 {
        return Ok(x);
    }
    let factor = r.scalar(part, by)?;
    let op = Op::Binary(Binary { function: BinaryFunction::Mul.into() });
    r.emit(&format!("{part}_mul"), op, &[x, factor])
}
