//! Computes every node whose inputs are constants, with the runtime's own code.

use std::collections::BTreeSet;
use std::sync::Arc;

use amq_format::graph::{Dim, Graph, Node, Op, Port};
use amq_format::{Draft, Validated};
use amq_runtime::{Fact, Isa, LoadOptions, Model, Session};

use crate::emit::plain_tensor;
use crate::error::{Error, Result};
use crate::ir::{Constant, Module};
use crate::passes::fact;

/// Elements that one folded constant may have: what is larger is computed when it runs.
const MAX_ELEMENTS: i64 = 1 << 26;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut known: BTreeSet<_> = module.constants.keys().copied().collect();
    known.insert(amq_format::graph::ABSENT);
    let small = |node: &Node| {
        node.outputs.iter().filter(|&&value| value != 0).all(|value| {
            let elements = fact(&facts, *value).and_then(elements);
            elements.is_some_and(|elements| elements <= MAX_ELEMENTS)
        })
    };
    let (mut folded, mut left) = (Vec::new(), Vec::new());
    for node in std::mem::take(&mut module.graph.nodes) {
        let constant = node.inputs.iter().all(|value| known.contains(value))
            && node.op.as_ref().is_some_and(|op| dims(op).all(|dim| dim.as_size().is_some()));
        if constant && small(&node) {
            known.extend(&node.outputs);
            folded.push(node);
        } else {
            left.push(node);
        }
    }
    module.graph.nodes = left;
    if folded.is_empty() {
        return Ok(());
    }

    let wanted: BTreeSet<_> = super::uses(module).into_keys().collect();
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
    let (graph, back) = crate::ir::compact(graph);
    let bytes = amq_format::write(Draft { graph, data, provenance: None })
        .map_err(|error| Error::bad_file(format!("constants cannot be computed: {error}")))?;
    let fail = |error| Error::bad_file(format!("constants cannot be computed: {error}"));
    let file = Validated::new(&bytes)
        .map_err(|error| Error::bad_file(format!("constants cannot be computed: {error}")))?;
    let options = LoadOptions { isa: Isa::detect(), ..LoadOptions::default() };
    let model = Arc::new(Model::with_options(&file, &options).map_err(fail)?);
    let mut session = Session::new(model);
    let results = session.run(&[]).map_err(fail)?;
    for (port, (_, view)) in file.graph().outputs.iter().zip(results.iter()) {
        let constant = Constant { dims: view.dims.to_vec(), data: view.data.into() };
        module.constants.insert(back[port.value as usize], constant);
    }
    Ok(())
}

/// The dimensions that an operator holds.
fn dims(op: &Op) -> impl Iterator<Item = &Dim> {
    let (first, second): (&[Dim], &[Dim]) = match op {
        Op::Dims(op) => (&op.dims, &[]),
        Op::Reshape(op) => (&op.dims, &[]),
        Op::Expand(op) => (&op.dims, &[]),
        Op::Slice(op) => (&op.starts, &op.ends),
        Op::Pad(op) => (&op.begins, &op.ends),
        _ => (&[], &[]),
    };
    first.iter().chain(second)
}

fn elements(fact: &Fact) -> Option<i64> {
    let sizes = fact.dims.iter().map(Dim::as_size);
    sizes.into_iter().try_fold(1i64, |product, size| product.checked_mul(size?))
}
