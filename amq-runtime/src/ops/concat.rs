//! Concat: tensors one after the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::Concat;

use crate::call::{Call, Kernel, mismatch};
use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, same};
use crate::shape::Shape;
use crate::view::with_same_type;

pub(super) fn rule(op: &Concat, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    ensure!(!inputs.0.is_empty(), "it has no inputs");
    let axis = op.axis as usize;
    let mut result = inputs.get(0)?.clone();
    result.axis(axis)?;
    for i in 1..inputs.0.len() {
        let x = inputs.get(i)?;
        let (found, expected) = (x.data_type.name(), result.data_type.name());
        ensure!(found == expected, "input {i} is {found}, input 0 is {expected}");
        x.rank("an input", result.dims.len())?;
        for (k, (size, other)) in x.dims.iter().zip(&mut result.dims).enumerate() {
            if k == axis {
                *other = other.add(size)?;
            } else {
                same("a size beside the axis", size, other)?;
            }
        }
    }
    Ok(result)
}

pub(super) fn kernel(
    op: &Concat,
    inputs: &[Option<Shape>],
    y: &Shape,
) -> Result<Box<dyn Kernel>, Fault> {
    let axis = op.axis as usize;
    let inner: usize = y.dims[axis + 1..].iter().product();
    let part = |x: &Option<Shape>| {
        let x = x.as_ref().ok_or_else(|| fault!("an input is missing"))?;
        Ok(x.dims[axis] * inner)
    };
    let parts = inputs.iter().map(part).collect::<Result<_, Fault>>()?;
    Ok(Box::new(Join { parts, whole: y.dims[axis] * inner }))
}

/// Copies blocks of each input to their places in blocks of the output.
struct Join {
    /// Elements of each input's block.
    parts: Vec<usize>,
    /// Elements of the output's block.
    whole: usize,
}

impl Kernel for Join {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let mut at = 0;
        for (i, &part) in self.parts.iter().enumerate() {
            if part == 0 {
                continue;
            }
            with_same_type!(call.inputs.data(i)?, call.outputs.data()?, |x, y| {
                for (x, y) in x.chunks_exact(part).zip(y.chunks_exact_mut(self.whole)) {
                    y[at..at + part].copy_from_slice(x);
                }
            }, else return Err(mismatch()));
            at += part;
        }
        Ok(())
    }
}
