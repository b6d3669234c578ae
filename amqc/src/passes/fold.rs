//! Computes every node whose inputs are constants, with the runtime's own code.

use std::collections::BTreeSet;
use std::sync::Arc;

use amq_format::graph::{Dim, Graph, Node, Port, ValueId};
use amq_format::{Draft, Fact, Validated};
use amq_runtime::{Isa, LoadOptions, Model, Session};

use crate::error::{Error, Result};
use crate::ir::{self, Module, fact, plain_tensor};

/// Bytes that all folded constants may take, each element counted as 8, beside four times those of the constants they come from:
/// what is more is computed when it runs.
const MAX_BYTES: i64 = 1 << 29;

/// Products of numbers, about, that folding may take: some seconds.
const MAX_WORK: i64 = 1 << 33;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut known: BTreeSet<_> = module.constants.keys().copied().collect();
    known.insert(amq_format::graph::ABSENT);
    let given =
        module.constants.values().map(|c| (c.data.len() * c.data.data_type().size()) as i64);
    let mut left = Budget { bytes: given.fold(MAX_BYTES, |sum, c| sum + 4 * c), work: MAX_WORK };
    let (mut folded, mut kept) = (Vec::new(), Vec::new());
    for node in std::mem::take(&mut module.graph.nodes) {
        let constant = node.inputs.iter().all(|value| known.contains(value))
            && node.op.as_ref().is_some_and(|op| {
                op.operator().dims().into_iter().flatten().all(|dim| dim.as_size().is_some())
            });
        if constant && left.take(&node, &facts).is_some() {
            known.extend(&node.outputs);
            folded.push(node);
        } else {
            kept.push(node);
        }
    }
    module.graph.nodes = kept;
    if folded.is_empty() {
        return Ok(());
    }

    let wanted: BTreeSet<_> = module.uses().into_keys().collect();
    let given = folded.iter().flat_map(|node| &node.outputs).copied();
    let outputs: Vec<_> = given.filter(|value| *value != 0 && wanted.contains(value)).collect();
    let read: BTreeSet<_> = folded.iter().flat_map(|node| &node.inputs).copied().collect();
    let constants = module.constants.iter().filter(|(value, _)| read.contains(value));
    let (tensors, data) = constants
        .map(|(&value, constant)| (plain_tensor(value, constant), constant.data.to_bytes()))
        .unzip();
    let port = |value| {
        let fact = fact(&facts, value).ok_or_else(|| Error::bad_file("a constant has no type"))?;
        Ok(Port { value, data_type: fact.data_type as i32, dims: fact.dims.clone() })
    };
    // Only the values that this graph has: the validator refuses names of nothing.
    let graph = Graph {
        values: module.graph.values.clone(),
        outputs: outputs.iter().map(|&value| port(value)).collect::<Result<_>>()?,
        tensors,
        nodes: folded,
        ..Graph::default()
    };
    if graph.outputs.is_empty() {
        return Ok(());
    }
    let (graph, back) = ir::compact(graph);
    let bytes = amq_format::write(Draft { graph, data, provenance: None })
        .map_err(|error| Error::bad_file(format!("constants cannot be computed: {error}")))?;
    let fail = |error| Error::bad_file(format!("constants cannot be computed: {error}"));
    let file = Validated::new(&bytes)
        .map_err(|error| Error::bad_file(format!("constants cannot be computed: {error}")))?;
    // The budget has bounded the memory already.
    let options = LoadOptions { isa: Isa::detect(), max_arena_bytes: u64::MAX };
    let model = Arc::new(Model::with_options(&file, &options).map_err(fail)?);
    let mut session = Session::new(model);
    let results = session.run(&[]).map_err(fail)?;
    for (port, (_, view)) in file.graph().outputs.iter().zip(results.iter()) {
        module.constants.insert(back[port.value as usize], view.into());
    }
    Ok(())
}

/// What may still be spent.
struct Budget {
    bytes: i64,
    work: i64,
}

impl Budget {
    /// Takes what a node costs, if there is as much.
    fn take(&mut self, node: &Node, facts: &[Option<Fact>]) -> Option<()> {
        let elements = |values: &[ValueId]| -> Option<Vec<i64>> {
            values.iter().map(|&value| fact(facts, value).map_or(Some(0), elements)).collect()
        };
        let sum = |parts: &[i64]| parts.iter().try_fold(0i64, |sum, &part| sum.checked_add(part));
        let (inputs, outputs) = (elements(&node.inputs)?, elements(&node.outputs)?);
        let (read, given) = (sum(&inputs)?, sum(&outputs)?);
        let of_inputs: Vec<_> = node.inputs.iter().map(|&value| fact(facts, value)).collect();
        let work = node.op.as_ref()?.operator().work(&of_inputs, read, given)?;
        // No type takes more.
        let bytes = given.checked_mul(8)?;
        if bytes > self.bytes || work > self.work {
            return None;
        }
        self.bytes -= bytes;
        self.work -= work;
        Some(())
    }
}

fn elements(fact: &Fact) -> Option<i64> {
    let sizes = fact.dims.iter().map(Dim::as_size);
    sizes.into_iter().try_fold(1i64, |product, size| product.checked_mul(size?))
}

#[cfg(test)]
mod tests {
    use amq_format::graph::{Concat, MatMul, Op};

    use super::*;

    #[test]
    fn folding_ends() {
        // Value k has 2^k rows of 4.
        let square = |k: u32| Some(Fact::f32(vec![Dim::from(1 << k), Dim::from(4)]));
        let facts: Vec<_> = (0..40).map(square).collect();
        let node = |op, inputs, output| ir::node("n", op, inputs, vec![output]);
        let double = |k| node(Op::Concat(Concat { axis: 0 }), vec![k, k], k + 1);
        let mut left = Budget { bytes: 8 * 4 * (2 + 4 + 8), work: 1000 };
        let taken = (0..39).take_while(|&k| left.take(&double(k), &facts).is_some());
        assert_eq!(taken.count(), 3);
        let mut left = Budget { bytes: 1000, work: 4 * 4 * 4 };
        let product = node(Op::MatMul(MatMul {}), vec![2, 2], 2);
        assert!(left.take(&product, &facts).is_some());
        assert!(left.take(&product, &facts).is_none(), "no work is left");
    }
}
