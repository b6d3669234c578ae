//! Windows put together again.

use amq_format::graph::{AutoPad, Fold as Op, Window};
use rayon::prelude::*;

use super::axis::Axis;
use super::layer::{Gradients, Inputs, Layer, by_output};
use super::single::Program;
use crate::error::Result;
use crate::tensor::Tensor;

/// The sum of windows where they overlap: a window's gradient is what it covers of y's.
pub(super) struct Fold {
    op: Op,
    program: Program,
    /// `[position][element]`: where in a channel of y an element of a window falls; none if it is beside it.
    places: Vec<Option<usize>>,
}

impl Fold {
    pub(super) fn new(op: &Op, program: Program) -> Fold {
        Fold { op: op.clone(), program, places: Vec::new() }
    }

    /// The axes, from the shapes of x and y.
    fn axes(&self, x: &[usize], y: &[usize]) -> Vec<Axis> {
        let axis = |at: usize| Axis {
            input: y[at + 2],
            output: x[at + 1],
            window: Window {
                kernel: self.op.kernel[at] as usize,
                stride: self.op.strides[at] as usize,
                dilation: self.op.dilations[at] as usize,
                begin: self.op.pads[at] as usize,
                end: 0,
                auto_pad: AutoPad::Explicit,
            },
        };
        (0..self.op.kernel.len()).map(axis).collect()
    }
}

/// `[position][element]`, each with the last axis fastest.
fn places(axes: &[Axis]) -> Vec<Option<usize>> {
    let positions: usize = axes.iter().map(|axis| axis.output).product();
    let elements: usize = axes.iter().map(|axis| axis.window.kernel).product();
    let place = |at: usize| {
        let (mut position, mut element) = (at / elements, at % elements);
        let (mut place, mut stride) = (0, 1);
        for axis in axes.iter().rev() {
            let entry = axis.entry(position % axis.output, element % axis.window.kernel)?;
            place += entry * stride;
            stride *= axis.input;
            position /= axis.output;
            element /= axis.window.kernel;
        }
        Some(place)
    };
    (0..positions * elements).map(place).collect()
}

impl Layer for Fold {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        self.program.run(inputs)
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        outputs: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        _: &[bool],
    ) -> Result<Gradients> {
        let by_y = by_output(gradients)?;
        let dims = |tensor: Option<&Tensor>| tensor.map_or(vec![], |tensor| tensor.dims.clone());
        let (x, y) = (dims(inputs[0]), dims(outputs[0]));
        let axes = self.axes(&x, &y);
        if self.places.is_empty() {
            self.places = places(&axes);
        }
        let positions: usize = axes.iter().map(|axis| axis.output).product();
        let elements: usize = axes.iter().map(|axis| axis.window.kernel).product();
        let (channels, size) = (y[1], y[2..].iter().product::<usize>());
        let mut by_x = vec![0.0; x.iter().product()];
        let vectors = by_x.par_chunks_mut((channels * elements).max(1)).enumerate();
        vectors.for_each(|(at, vector)| {
            let by_y = &by_y[at / positions * channels * size..];
            let places = &self.places[at % positions * elements..][..elements];
            for (channel, x) in vector.chunks_exact_mut(elements).enumerate() {
                for (x, place) in x.iter_mut().zip(places) {
                    *x = place.map_or(0.0, |place| by_y[channel * size + place]);
                }
            }
        });
        Ok(vec![Some(by_x)])
    }
}
