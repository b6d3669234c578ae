//! Convolution over one or two spatial axes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{Conv, Dim};

use super::window::{self, Attributes, Window};
use crate::call::{Call, Kernel, Memory};
use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, same};
use crate::product::{ConvMatrix, Geometry};
use crate::shape::Shape;

pub(super) fn rule(op: &Conv, inputs: &Facts<'_>) -> Result<Fact, Fault> {
    inputs.count(2, 3)?;
    let w = inputs.f32(1)?;
    let rank = w.dims.len();
    ensure!(matches!(rank, 3 | 4), "W has {rank} axes, it must have 3 or 4");
    let x = window::input(inputs, rank - 2)?;
    let windows = windows(op, &w.dims)?;
    let groups = i64::try_from(op.groups).map_err(|_| fault!("{} groups", op.groups))?;
    let channels = w.dims[1].mul(&Dim::from(groups))?;
    same("the number of channels of x", &x.dims[1], &channels)?;
    let divided = w.dims[0].as_size().is_none_or(|rows| rows.checked_rem(groups) == Some(0));
    ensure!(divided, "{} output channels cannot be divided into {groups} groups", w.dims[0]);
    inputs.bias(&w.dims[0])?;
    let mut dims = Vec::from([x.dims[0].clone(), w.dims[0].clone()]);
    for (window, size) in windows.iter().zip(&x.dims[2..]) {
        dims.push(window.positions(size, false)?);
    }
    Ok(Fact::f32(dims))
}

fn windows(op: &Conv, w: &[Dim]) -> Result<Vec<Window>, Fault> {
    let size = |dim: &Dim| dim.as_size().and_then(|size| u64::try_from(size).ok());
    let kernel: Option<Vec<u64>> = w[2..].iter().map(size).collect();
    let kernel = kernel.ok_or_else(|| fault!("the kernel's size is not known"))?;
    let (strides, dilations, pads) = (&op.strides, &op.dilations, &op.pads);
    Attributes { strides, dilations, pads, auto_pad: op.auto_pad() }.windows(&kernel)
}

/// What a node keeps from its constants.
pub(crate) struct Weights {
    pub(super) matrix: ConvMatrix,
    pub(super) bias: Option<Vec<f32>>,
}

pub(super) fn kernel(
    op: &Conv,
    weights: &Arc<Weights>,
    x: &Shape,
    w: &Shape,
    y: &Shape,
) -> Result<Box<dyn Kernel>, Fault> {
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
    let windows = windows(op, &dims)?;
    let lead = 2 - windows.len();
    for (i, window) in windows.into_iter().enumerate() {
        let (input, output) = (x.dims[i + 2], y.dims[i + 2]);
        let window = window.with_pads(input, output);
        geometry.input[lead + i] = input;
        geometry.output[lead + i] = output;
        geometry.kernel[lead + i] = window.kernel;
        geometry.strides[lead + i] = window.stride;
        geometry.dilations[lead + i] = window.dilation;
        geometry.pads[lead + i] = window.begin;
    }
    Ok(Box::new(Product {
        weights: Arc::clone(weights),
        geometry,
        result: y.dims[1..].iter().product(),
    }))
}

struct Product {
    weights: Arc<Weights>,
    geometry: Geometry,
    /// Elements of a batch item of the result.
    result: usize,
}

impl Kernel for Product {
    fn reserve(&self, memory: &mut Memory) {
        self.weights.matrix.reserve(&self.geometry, &mut memory.scratch);
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let Product { weights, geometry, result } = self;
        let [height, width] = geometry.output;
        let item = geometry.channels * geometry.input[0] * geometry.input[1];
        if y.is_empty() {
            return Ok(());
        }
        for (i, y) in y.chunks_exact_mut(*result).enumerate() {
            let x = &x[i * item..(i + 1) * item];
            weights.matrix.convolve(geometry, x, y, &mut call.memory.scratch);
            if let Some(bias) = &weights.bias {
                call.target.vectorize(
                    #[inline(always)]
                    || {
                        for (plane, b) in y.chunks_exact_mut(height * width).zip(bias) {
                            plane.iter_mut().for_each(|y| *y += b);
                        }
                    },
                );
            }
        }
        Ok(())
    }
}
