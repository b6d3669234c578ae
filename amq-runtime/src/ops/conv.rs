//! Convolution over one or two spatial axes.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{ABSENT, Conv, Dim, Node};

use crate::call::{Call, Kernel, Memory};
use crate::compute::{Computation, Compute, Shapes};
use crate::error::Fault;
use crate::probe::Part;
use crate::product::{ConvMatrix, Geometry};
use crate::weights::Constants;

/// What a node keeps from its constants.
pub(crate) struct Weights {
    pub(super) matrix: Arc<ConvMatrix>,
    pub(super) bias: Option<Cow<'static, [f32]>>,
}

impl Compute for Conv {
    type Kept = Arc<Weights>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        let input = |i: usize| node.inputs.get(i).copied().unwrap_or(ABSENT);
        Ok(Arc::new(Weights {
            matrix: constants.conv_matrix(input(1), self)?,
            bias: constants.floats(input(2))?,
        }))
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, w, y) = (shapes.input(0)?, shapes.input(1)?, shapes.output()?);
        let dims: Vec<Dim> = w.dims.iter().map(|&size| Dim::from(size as i64)).collect();
        let mut geometry = Geometry {
            channels: x.dims[1],
            input: [1; 2],
            kernel: [1; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [0; 2],
            output: [1; 2],
        };
        let windows = self.windows(&dims)?;
        let lead = 2 - windows.len();
        for (i, window) in windows.into_iter().enumerate() {
            let (input, output) = (x.dims[i + 2], y.dims[i + 2]);
            let window = window.padded(input, output);
            geometry.input[lead + i] = input;
            geometry.output[lead + i] = output;
            geometry.kernel[lead + i] = window.kernel;
            geometry.strides[lead + i] = window.stride;
            geometry.dilations[lead + i] = window.dilation;
            geometry.pads[lead + i] = window.begin;
        }
        Ok(Computation::Kernel(Box::new(Product {
            weights: Arc::clone(kept),
            geometry,
            result: y.dims[1..].iter().product(),
        })))
    }
}

struct Product {
    weights: Arc<Weights>,
    geometry: Geometry,
    /// Elements of a batch item of the result.
    result: usize,
}

impl Kernel for Product {
    fn reserve(&self, memory: &mut Memory) {
        let Product { weights, geometry, .. } = self;
        memory.reserve(|scratch| weights.matrix.reserve(geometry, scratch));
        let workers = memory.workers();
        memory.reserve_helpers(|scratch| weights.matrix.reserve_part(geometry, workers, scratch));
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let Call { inputs, outputs, memory, workers, tap, .. } = call;
        let (x, y) = (inputs.f32(0)?, outputs.f32()?);
        let Product { weights, geometry, result } = self;
        let [height, width] = geometry.output;
        if y.is_empty() {
            return Ok(());
        }
        let bias = weights.bias.as_deref();
        let mut hands = memory.hands(*workers);
        if tap.probe.is_none() {
            weights.matrix.share(geometry, x, bias, y, &mut hands);
            return Ok(());
        }
        // A probe sees the product alone.
        weights.matrix.share(geometry, x, None, y, &mut hands);
        weights.matrix.show(geometry, x, y, |row, sizes, vectors, results| {
            tap.product(Part::W, row, sizes, vectors, results, |_| true);
        });
        for y in y.chunks_exact_mut(*result) {
            for (plane, b) in y.chunks_exact_mut(height * width).zip(bias.unwrap_or(&[])) {
                plane.iter_mut().for_each(|y| *y += b);
            }
        }
        Ok(())
    }
}
