//! Moves scales and shifts by constants that follow a product into its weights and bias: Gemm's
//! factors, biases, and batch normalization.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amq_format::Fact;
use amq_format::graph::{ABSENT, BinaryFunction, Node, Op, ValueId};

use crate::error::Result;
use crate::ir::{self, Module, Names, fact};
use crate::tensor::{Data, Tensor};

pub(super) fn run(module: &mut Module) -> Result<()> {
    let mut known = Known {
        facts: module.facts()?,
        uses: module.uses(),
        producers: ir::producers(&module.graph.nodes),
        names: Names::of(module),
        made: BTreeSet::new(),
    };
    for index in 0..module.graph.nodes.len() {
        if let Some((product, node)) = absorbed(module, index, &mut known) {
            known.producers.extend(node.outputs.iter().map(|&value| (value, product)));
            module.graph.nodes[product] = node;
            module.graph.nodes[index].op = None;
        }
    }
    module.graph.nodes.retain(|node| node.op.is_some());
    Ok(())
}

/// What is known of the module, kept up to date: finding it anew for each node would take time in
/// the square of their number.
struct Known {
    facts: Vec<Option<Fact>>,
    uses: BTreeMap<ValueId, usize>,
    producers: BTreeMap<ValueId, usize>,
    names: Names,
    /// Constants of this pass. One product reads each, so it can be replaced where it stands: a long
    /// chain of scales does not leave a matrix at each link.
    made: BTreeSet<ValueId>,
}

impl Known {
    /// A constant that one node reads, to be replaced; a copy of what others read too.
    fn taken(&self, module: &mut Module, value: ValueId) -> Option<Tensor> {
        let alone = self.uses.get(&value) == Some(&1) || self.made.contains(&value);
        let constant = match alone {
            true => module.constants.remove(&value)?,
            false => module.constants.get(&value)?.clone(),
        };
        Some(Arc::unwrap_or_clone(constant))
    }

    /// Puts a constant in place of `old`.
    fn replace(
        &mut self,
        module: &mut Module,
        old: ValueId,
        name: &str,
        constant: Tensor,
    ) -> ValueId {
        if self.made.contains(&old) {
            module.constants.insert(old, Arc::new(constant));
            return old;
        }
        let new = module.add_constant(self.names.unique(name, '.'), constant);
        self.made.insert(new);
        new
    }
}

/// The product that can take in node `index`, and what it becomes.
fn absorbed(module: &mut Module, index: usize, known: &mut Known) -> Option<(usize, Node)> {
    let node = &module.graph.nodes[index];
    let Some(Op::Binary(binary)) = &node.op else { return None };
    let function = binary.function();
    let &[left, right] = node.inputs.as_slice() else { return None };
    let output = node.outputs[0];
    let (value, operand) = match (module.constant(left), module.constant(right)) {
        (None, Some(constant)) => (left, constant),
        (Some(constant), None) if commutes(function) => (right, constant),
        _ => return None,
    };
    if known.uses.get(&value) != Some(&1) {
        return None;
    }
    let product = *known.producers.get(&value)?;
    let mut node = module.graph.nodes[product].clone();
    let rank = fact(&known.facts, value)?.dims.len();
    let channel_axis_from_end = match &node.op {
        Some(Op::Linear(_)) => 0,
        Some(Op::Conv(_)) => rank.checked_sub(2)?,
        _ => return None,
    };
    let (weights_id, bias_id) = (node.inputs[1], *node.inputs.get(2).unwrap_or(&ABSENT));
    let weights = module.constant(weights_id)?;
    let rows = *weights.dims.first()?;
    let operand = per_channel(operand, rows, channel_axis_from_end, rank)?;
    let bias = match module.constant(bias_id) {
        Some(Tensor { data: Data::F32(bias), .. }) => bias.clone(),
        Some(_) => return None,
        None if bias_id == ABSENT => vec![0.0; rows],
        None => return None,
    };
    let Data::F32(old) = &weights.data else { return None };

    let apply = |x: f32, c: f32| match function {
        BinaryFunction::Add => x + c,
        BinaryFunction::Sub => x - c,
        BinaryFunction::Mul => x * c,
        _ => x / c,
    };
    let bias: Vec<f32> = bias.iter().zip(&operand).map(|(&b, &c)| apply(b, c)).collect();
    // A product has no infinite weights or biases, such as those of a mask.
    let finite = |numbers: &[f32]| numbers.iter().all(|x| x.is_finite());
    if !finite(&bias) {
        return None;
    }
    if matches!(function, BinaryFunction::Mul | BinaryFunction::Div) {
        let row_size = (old.len() / rows.max(1)).max(1);
        let mut rows = old.chunks(row_size).zip(&operand);
        if !rows.all(|(row, &c)| row.iter().all(|&w| apply(w, c).is_finite())) {
            return None;
        }
        let mut constant = known.taken(module, weights_id)?;
        let Data::F32(weights) = &mut constant.data else { return None };
        for (row, &c) in weights.chunks_mut(row_size).zip(&operand) {
            row.iter_mut().for_each(|w| *w = apply(*w, c));
        }
        let name = format!("{}/scaled", module.name(weights_id));
        node.inputs[1] = known.replace(module, weights_id, &name, constant);
    } else if !matches!(function, BinaryFunction::Add | BinaryFunction::Sub) {
        return None;
    }
    let constant = Tensor { dims: vec![rows], data: Data::F32(bias) };
    let bias_id = known.replace(module, bias_id, &format!("{}/bias", node.name), constant);
    node.inputs.truncate(2);
    node.inputs.push(bias_id);
    node.outputs = vec![output];
    Some((product, node))
}

fn commutes(function: BinaryFunction) -> bool {
    matches!(function, BinaryFunction::Add | BinaryFunction::Mul)
}

/// `constant` as one number for each of `channels`, if it varies along no other axis and does not
/// broaden a tensor of `rank` axes.
fn per_channel(
    constant: &Tensor,
    channels: usize,
    channel_axis_from_end: usize,
    rank: usize,
) -> Option<Vec<f32>> {
    let Data::F32(data) = &constant.data else { return None };
    if constant.dims.len() > rank {
        return None;
    }
    if data.len() == 1 {
        return Some(vec![data[0]; channels]);
    }
    let along = constant.dims.iter().rev().nth(channel_axis_from_end);
    (along == Some(&channels) && data.len() == channels).then(|| data.clone())
}
