//! Nodes that move elements: their gradients go back where the elements came from.

use amq_format::graph::{Op, ScatterKind};

use super::layer::{Gradients, Inputs, Layer, by_output};
use super::single::Program;
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// Which inputs of an operator it moves; none if it does more than that.
pub(super) fn moved(op: &Op, inputs: usize) -> Option<Vec<usize>> {
    match op {
        Op::Concat(_) => Some((0..inputs).collect()),
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Expand(_)
        | Op::Pad(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::ReverseSequence(_) => Some(vec![0]),
        Op::ScatterElements(op) if op.kind() == ScatterKind::Replace => Some(vec![0, 2]),
        Op::ScatterNd(op) if op.kind() == ScatterKind::Replace => Some(vec![0, 2]),
        _ => None,
    }
}

/// A node that moves elements of some of its inputs.
pub(super) struct Movement {
    moved: Vec<usize>,
    values: Program,
    /// The same for numbers of elements, in the place of these.
    places: Program,
}

impl Movement {
    pub(super) fn new(moved: Vec<usize>, program: Program) -> Movement {
        Movement { moved, places: program.clone(), values: program }
    }

    fn is_flat(&self) -> bool {
        matches!(self.values.node().op, Some(Op::Reshape(_)))
    }
}

impl Layer for Movement {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        self.values.run(inputs)
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let mut found: Gradients = vec![None; inputs.len()];
        let y = by_output(gradients)?;
        if self.is_flat() {
            found[0] = Some(y.to_vec());
            return Ok(found);
        }
        // Elements are numbered from 1 through all that are moved; 0 is none of them.
        // Other floats are what borders hold.
        let not_float = |input: &&Tensor| !matches!(input.data, Data::F32(_));
        let keep = |(index, input): (usize, &Option<&Tensor>)| {
            input.filter(|input| self.moved.contains(&index) || not_float(input)).cloned()
        };
        let mut numbered: Vec<Option<Tensor>> = inputs.iter().enumerate().map(keep).collect();
        let mut first = 1;
        for &index in &self.moved {
            let Some(input) = &mut numbered[index] else { continue };
            let count = input.data.len() as i64;
            input.data = Data::I64((first..first + count).collect());
            first += count;
        }
        let references: Vec<Option<&Tensor>> = numbered.iter().map(Option::as_ref).collect();
        let places = self.places.run(&references)?;
        let Some(Some(Tensor { data: Data::I64(places), .. })) = places.first() else {
            return Err(Error::unsupported("a node gives no places"));
        };
        let mut all = vec![0.0; first as usize - 1];
        for (&place, y) in places.iter().zip(y) {
            if let Some(sum) = usize::try_from(place - 1).ok().and_then(|at| all.get_mut(at)) {
                *sum += y;
            }
        }
        let mut rest = all.as_slice();
        for &index in &self.moved {
            let count = inputs[index].map_or(0, |input| input.data.len());
            let (own, after) = rest.split_at(count);
            found[index] = wanted[index].then(|| own.to_vec());
            rest = after;
        }
        Ok(found)
    }
}
