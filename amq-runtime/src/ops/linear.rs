//! Products with a constant matrix over the last axis.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;

use amq_format::graph::{ABSENT, Linear, Node};

use crate::call::{Call, Kernel, Memory};
use crate::compute::{Computation, Compute, Shapes};
use crate::error::Fault;
use crate::probe::Part;
use crate::product::Matrix;
use crate::weights::Constants;

/// What a node keeps from its constants.
pub(crate) struct Weights {
    pub(super) matrix: Arc<Matrix>,
    pub(super) bias: Option<Cow<'static, [f32]>>,
}

impl Compute for Linear {
    type Kept = Arc<Weights>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        let input = |i: usize| node.inputs.get(i).copied().unwrap_or(ABSENT);
        Ok(Arc::new(Weights {
            matrix: constants.matrix(input(1), self.activations())?,
            bias: constants.floats(input(2))?,
        }))
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let vectors = shapes.input(0)?.dims.split_last();
        let vectors = vectors.map_or(1, |(_, lead)| lead.iter().product());
        Ok(Computation::Kernel(Box::new(Product { weights: Arc::clone(kept), vectors })))
    }
}

struct Product {
    weights: Arc<Weights>,
    vectors: usize,
}

impl Kernel for Product {
    fn reserve(&self, memory: &mut Memory) {
        memory.reserve(|scratch| self.weights.matrix.reserve(self.vectors, scratch));
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let Call { inputs, outputs, memory, workers, tap, .. } = call;
        let (x, y) = (inputs.f32(0)?, outputs.f32()?);
        let Weights { matrix, bias } = &*self.weights;
        let bias = bias.as_deref();
        let mut hands = memory.hands(*workers);
        if tap.probe.is_none() {
            matrix.share(x, self.vectors, bias, y, &mut hands);
            return Ok(());
        }
        // A probe sees results without biases.
        matrix.share(x, self.vectors, None, y, &mut hands);
        tap.product(Part::W, 0, [matrix.cols(), matrix.rows()], x, y, |_| true);
        if let Some(bias) = bias.filter(|bias| !bias.is_empty()) {
            for row in y.chunks_exact_mut(bias.len()) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        Ok(())
    }
}
