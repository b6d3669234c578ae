//! Pooling.

use amq_format::graph::{ABSENT, Pool as Op, PoolKind};
use rayon::prelude::*;

use super::axis::Axis;
use super::layer::{Gradients, Inputs, Layer, by_output};
use super::single::Program;
use crate::error::Result;
use crate::tensor::{Data, Tensor};

/// A pooling over one or two axes.
pub(super) struct Pool {
    op: Op,
    /// The node, which gives the numbers of largest elements in any case.
    program: Program,
    /// These numbers, among all of x.
    numbers: Vec<i64>,
}

impl Pool {
    pub(super) fn new(op: &Op, program: &Program) -> Pool {
        let mut node = program.node().clone();
        if op.kind() == PoolKind::Max {
            node.outputs.resize(2, ABSENT);
            // Any value: nothing but the program sees it.
            node.outputs[1] = ABSENT + 1;
        }
        Pool { op: op.clone(), program: program.of(node), numbers: Vec::new() }
    }

    /// The axes: what is left of x and y beside batch and channels.
    fn axes(&self, x: &[usize], y: &[usize]) -> Vec<Axis> {
        let sizes = x.iter().zip(y).skip(2);
        let windows = self.op.windows().into_iter().zip(sizes);
        windows
            .map(|(window, (&input, &output))| Axis {
                input,
                output,
                window: window.padded(input, output),
            })
            .collect()
    }
}

/// The entries that the window of each position holds of an axis.
fn entries(axis: &Axis) -> Vec<Vec<usize>> {
    let of = |position| (0..axis.window.kernel).filter_map(move |tap| axis.entry(position, tap));
    (0..axis.output).map(|position| of(position).collect()).collect()
}

impl Layer for Pool {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let outputs = self.program.run(inputs)?;
        if let Some(Some(Tensor { data: Data::I64(numbers), .. })) = outputs.get(1) {
            self.numbers.clone_from(numbers);
        }
        Ok(outputs)
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
        let mut by_x = vec![0.0; x.iter().product()];
        if self.op.kind() == PoolKind::Max {
            for (&number, y) in self.numbers.iter().zip(by_y) {
                by_x[number as usize] += y;
            }
            return Ok(vec![Some(by_x)]);
        }
        let axes = self.axes(&x, &y);
        let entries: Vec<_> = axes.iter().map(entries).collect();
        let counts = |axis: usize| -> Vec<f32> {
            let (axis, entries) = (&axes[axis], &entries[axis]);
            let count = |position: usize| match (self.op.kind(), self.op.count_include_pad) {
                (PoolKind::Average, true) => axis.padded(position),
                (PoolKind::Average, false) => entries[position].len(),
                _ => 1,
            };
            (0..axis.output).map(|position| count(position) as f32).collect()
        };
        let counts: Vec<_> = (0..axes.len()).map(counts).collect();
        // An axis alone is one of two.
        let one = (vec![vec![0]], vec![1.0]);
        let (lines, of_lines) = match axes.len() {
            2 => (&entries[0], &counts[0]),
            _ => (&one.0, &one.1),
        };
        let (places, of_places) = (&entries[axes.len() - 1], &counts[axes.len() - 1]);
        let width = axes[axes.len() - 1].input;
        let (input, output) = (x[2..].iter().product::<usize>(), lines.len() * places.len());
        by_x.par_chunks_mut(input.max(1)).zip(by_y.par_chunks(output.max(1))).for_each(|(x, y)| {
            for (at, y) in y.iter().enumerate() {
                let (line, place) = (at / places.len(), at % places.len());
                let y = y / (of_lines[line] * of_places[place]);
                for i in &lines[line] {
                    for j in &places[place] {
                        x[i * width + j] += y;
                    }
                }
            }
        });
        Ok(vec![Some(by_x)])
    }
}
