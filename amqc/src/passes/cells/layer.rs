//! Layers in the place of steps.

use amq_format::graph::{
    ABSENT, Activations, Cell, Concat, Dim, Direction, Op, Recurrent, Reshape, Transpose, ValueId,
};

use super::cell::{Gate, Weights};
use super::expr::Matrix;
use crate::error::{Error, Result};
use crate::ir::{Module, Names};
use crate::tensor::{Data, Tensor};

/// The module that gets layers, and the names in it.
pub(super) struct Builder<'m> {
    pub(super) module: &'m mut Module,
    pub(super) names: Names,
}

/// What a layer gives: y, h and c, in ONNX's shapes.
pub(super) type Outputs = [ValueId; 3];

impl Builder<'_> {
    /// Adds a node with one output.
    pub(super) fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>) -> ValueId {
        let output = self.names.unique(name, '.');
        let output = self.module.add_value(output);
        self.module.add_node(name, op, inputs, vec![output]);
        output
    }

    /// A value in another shape.
    pub(super) fn shaped(&mut self, name: &str, value: ValueId, dims: Vec<Dim>) -> ValueId {
        self.node(name, Op::Reshape(Reshape { dims }), vec![value])
    }

    /// A value with one axis, of so many, as the first, or with the first as that axis.
    pub(super) fn turned(
        &mut self,
        name: &str,
        value: ValueId,
        rank: usize,
        axis: usize,
        forth: bool,
    ) -> ValueId {
        if axis == 0 {
            return value;
        }
        let mut perm: Vec<u32> = (0..rank as u32).collect();
        match forth {
            true => perm[..=axis].rotate_right(1),
            false => perm[..=axis].rotate_left(1),
        }
        self.node(name, Op::Transpose(Transpose { perm }), vec![value])
    }

    /// Adds a layer that reads x [steps, batch, features] and begins with h and c [1, batch, hidden],
    /// or with zeros where these are absent.
    pub(super) fn layer(
        &mut self,
        name: &str,
        weights: &Weights,
        [x, h, c]: [ValueId; 3],
    ) -> Result<Outputs> {
        let name = &format!("{name}/layer");
        let w =
            self.matrix(&format!("{name}/W"), &weights.gates, |gate| gate.w.iter().collect())?;
        let r =
            self.matrix(&format!("{name}/R"), &weights.gates, |gate| gate.r.iter().collect())?;
        let biases = (0..2).flat_map(|of| weights.gates.iter().map(move |gate| &gate.biases[of]));
        let biases: Vec<f32> = biases.flatten().copied().collect();
        let b = if biases.iter().all(|bias| *bias == 0.0) {
            ABSENT
        } else {
            let tensor = Tensor { dims: vec![1, biases.len()], data: Data::F32(biases) };
            let name = self.names.unique(&format!("{name}/B"), '.');
            self.module.add_constant(name, tensor)
        };
        let mut inputs = vec![x, w, r, b, ABSENT, h];
        let mut outputs = vec![self.value(&format!("{name}/y")), self.value(&format!("{name}/h"))];
        let is_lstm = weights.cell == Cell::Lstm;
        if is_lstm {
            inputs.extend([c, ABSENT]);
            outputs.push(self.value(&format!("{name}/c")));
        }
        let op = weights.op();
        self.module.add_node(name, Op::Recurrent(Box::new(op)), inputs, outputs.clone());
        Ok([outputs[0], outputs[1], if is_lstm { outputs[2] } else { ABSENT }])
    }

    /// Tells the user that something has become a layer.
    pub(super) fn note(&mut self, what: &str, weights: &Weights) {
        let (cell, hidden) = (weights.cell, weights.hidden());
        let cell = format!("{cell:?}").to_uppercase();
        self.module.notes.push(format!("{what}: read as one {cell} of {hidden} units"));
    }

    fn value(&mut self, name: &str) -> ValueId {
        let name = self.names.unique(name, '.');
        self.module.add_value(name)
    }

    /// The matrices of all gates one below the other, the parts of each side by side.
    fn matrix<'g>(
        &mut self,
        name: &str,
        gates: &'g [Gate],
        of: impl Fn(&'g Gate) -> Vec<&'g Matrix>,
    ) -> Result<ValueId> {
        let mut data = Vec::new();
        let mut rows = 0;
        for gate in gates {
            let part = |matrix: &'g Matrix| match self.module.constant(matrix.value)? {
                Tensor { dims, data: Data::F32(all) } => Some((matrix, *dims.last()?, all)),
                _ => None,
            };
            let parts = of(gate).into_iter().map(part).collect::<Option<Vec<_>>>();
            let parts = parts
                .filter(|parts| !parts.is_empty())
                .ok_or_else(|| Error::unsupported(format!("{name} is no constant matrix")))?;
            let height = parts[0].0.rows.len();
            for row in 0..height {
                for &(matrix, width, all) in &parts {
                    let start = (matrix.rows.start + row) * width;
                    data.extend(&all[start..][matrix.columns.clone()]);
                }
            }
            rows += height;
        }
        let tensor =
            Tensor { dims: vec![1, rows, data.len() / rows.max(1)], data: Data::F32(data) };
        let name = self.names.unique(name, '.');
        Ok(self.module.add_constant(name, tensor))
    }

    /// The parts of a sequence side by side.
    pub(super) fn joined(&mut self, name: &str, parts: Vec<ValueId>) -> ValueId {
        match parts.as_slice() {
            &[part] => part,
            _ => self.node(name, Op::Concat(Concat { axis: 2 }), parts),
        }
    }
}

impl Weights {
    fn op(&self) -> Recurrent {
        Recurrent {
            cell: self.cell as i32,
            hidden_size: self.hidden() as u64,
            direction: Direction::Forward as i32,
            functions: self.functions.clone(),
            linear_before_reset: self.linear_before_reset,
            activations: Activations::F32 as i32,
            recurrent_activations: Activations::F32 as i32,
            ..Recurrent::default()
        }
    }

    /// Whether a layer may have such functions.
    pub(super) fn is_allowed(&self) -> bool {
        Op::Recurrent(Box::new(self.op())).operator().attributes().is_ok()
    }
}
