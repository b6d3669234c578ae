//! Linear operators whose gradients another operator of the runtime computes.

use amq_format::graph::{
    Cumulative, CumulativeKind, Fourier, GatherElements, GatherNd, Op, ScatterKind,
};

use super::layer::{Gradients, Inputs, Layer, by_output, floats};
use super::single::Program;
use crate::error::{Error, Result};
use crate::ir::node;
use crate::tensor::{Data, Tensor};

/// What takes gradients back; none of operators that are not like this.
pub(super) fn mirror(op: &Op) -> Option<Op> {
    match op {
        Op::Cumulative(op) if op.kind() == CumulativeKind::Sum => {
            Some(Op::Cumulative(Cumulative { reverse: !op.reverse, ..op.clone() }))
        }
        Op::Fourier(op) => {
            Some(Op::Fourier(Fourier { inverse: !op.inverse, onesided: false, ..op.clone() }))
        }
        Op::ScatterElements(op) if op.kind() == ScatterKind::Add => {
            Some(Op::GatherElements(GatherElements { axis: op.axis }))
        }
        Op::ScatterNd(op) if op.kind() == ScatterKind::Add => {
            Some(Op::GatherNd(GatherNd { batch_axes: 0 }))
        }
        _ => None,
    }
}

/// A node of such an operator.
pub(super) struct Mirrored {
    program: Program,
    back: Program,
}

impl Mirrored {
    /// `mirror` is what [`mirror`] gives.
    pub(super) fn new(program: Program, mirror: Op) -> Mirrored {
        let inputs = if matches!(mirror, Op::GatherElements(_) | Op::GatherNd(_)) { 2 } else { 1 };
        let back = program.of(node("", mirror, (1..=inputs).collect(), vec![inputs + 1]));
        Mirrored { program, back }
    }

    /// What the mirror makes of gradients, and of indices if it takes them.
    fn back(&mut self, by_y: &Tensor, indices: Option<&Tensor>) -> Result<Vec<f32>> {
        match self.back.run(&[Some(by_y), indices])?.pop().flatten() {
            Some(Tensor { data: Data::F32(found), .. }) => Ok(found),
            _ => Err(Error::unsupported("a gradient that is no float")),
        }
    }
}

impl Layer for Mirrored {
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
        let mut found: Gradients = vec![None; inputs.len()];
        let by_y = by_output(gradients)?.to_vec();
        let dims = outputs[0].map_or(vec![], |y| y.dims.clone());
        let by_y = Tensor { dims, data: Data::F32(by_y) };
        if inputs.len() == 3 {
            found[2] = Some(self.back(&by_y, inputs[1])?);
            found[0] = Some(floats(&[Some(&by_y)], 0)?.to_vec());
            return Ok(found);
        }
        let back = self.back(&by_y, None)?;
        found[0] = Some(match &self.program.node().op {
            Some(Op::Fourier(op)) => {
                let dims = inputs[0].map_or(&[][..], |x| &x.dims);
                let &[.., given, parts] = dims else { return Ok(found) };
                let points = back.len() / 2 * given * parts;
                let points = points / dims.iter().product::<usize>().max(1);
                // An inverse divides by the number of points; the transposed matrix of the other does not.
                let factor = if op.inverse { 1.0 / points as f32 } else { points as f32 };
                let vectors = back.chunks_exact((2 * points).max(1));
                let point = |vector: &[f32], at: usize| {
                    let part = |part: usize| vector.get(2 * at + part).map_or(0.0, |x| x * factor);
                    (0..parts).map(part).collect::<Vec<f32>>()
                };
                vectors.flat_map(|v| (0..given).flat_map(move |at| point(v, at))).collect()
            }
            _ => back,
        });
        Ok(found)
    }
}
