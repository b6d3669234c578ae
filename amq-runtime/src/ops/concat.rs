//! Concat: tensors one after the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::Concat;

use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::shape::Shape;
use crate::view::with_same_type;

impl Compute for Concat {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (y, axis) = (shapes.output()?, self.axis as usize);
        let inner: usize = y.dims[axis + 1..].iter().product();
        let part = |x: &Option<Shape>| {
            let x = x.as_ref().ok_or_else(|| fault!("an input is missing"))?;
            Ok(x.dims[axis] * inner)
        };
        let parts = shapes.inputs.iter().map(part).collect::<Result<_, Fault>>()?;
        Ok(Computation::Kernel(Box::new(Join { parts, whole: y.dims[axis] * inner })))
    }
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
                if part == 1 {
                    // As where vectors are stacked: a call of a copy would take most of the time.
                    let places = y[at..].iter_mut().step_by(self.whole);
                    places.zip(x).for_each(|(y, x)| *y = *x);
                } else {
                    for (x, y) in x.chunks_exact(part).zip(y.chunks_exact_mut(self.whole)) {
                        y[at..at + part].copy_from_slice(x);
                    }
                }
            }, else return Err(mismatch()));
            at += part;
        }
        Ok(())
    }
}
