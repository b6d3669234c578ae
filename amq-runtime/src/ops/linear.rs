//! Products with a constant matrix over the last axis.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::Linear;

use crate::call::{Call, Kernel, Memory};
use crate::error::{Fault, fault};
use crate::infer::{Fact, Facts, same};
use crate::product::Matrix;
use crate::shape::Shape;

pub(super) fn rule(_: &Linear, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(2, 3)?;
    let (x, w) = (inputs.f32(0)?, inputs.f32(1)?);
    w.rank("W", 2)?;
    let (last, lead) = x.dims.split_last().ok_or_else(|| fault!("x is a scalar"))?;
    same("the last axis of x", last, &w.dims[1])?;
    inputs.bias(&w.dims[0])?;
    let mut dims = lead.to_vec();
    dims.push(w.dims[0].clone());
    Ok(Fact::f32(dims))
}

/// What a node keeps from its constants.
pub(crate) struct Weights {
    pub(super) matrix: Arc<Matrix>,
    pub(super) bias: Option<Vec<f32>>,
}

pub(super) fn kernel(weights: &Arc<Weights>, x: &Shape) -> Box<dyn Kernel> {
    let vectors = x.dims.split_last().map_or(1, |(_, lead)| lead.iter().product());
    Box::new(Product { weights: Arc::clone(weights), vectors })
}

struct Product {
    weights: Arc<Weights>,
    vectors: usize,
}

impl Kernel for Product {
    fn reserve(&self, memory: &mut Memory) {
        self.weights.matrix.reserve(self.vectors, &mut memory.scratch);
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let Weights { matrix, bias } = &*self.weights;
        matrix.multiply(x, self.vectors, y, &mut call.memory.scratch);
        if let Some(bias) = bias.as_ref().filter(|bias| !bias.is_empty()) {
            call.target.vectorize(
                #[inline(always)]
                || {
                    for row in y.chunks_exact_mut(bias.len()) {
                        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                    }
                },
            );
        }
        Ok(())
    }
}
