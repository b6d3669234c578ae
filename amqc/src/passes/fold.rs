//! Makes constants of what shapes alone decide, and computes every node whose inputs are constants,
//! with the runtime's own code.

use std::collections::BTreeSet;
use std::sync::Arc;

use amq_format::graph::{ABSENT, Dim, Graph, Node, Port, ValueId};
use amq_format::{Draft, Fact};
use amq_runtime::{LoadOptions, Model, Session};

use crate::error::{Error, Result};
use crate::ir::{self, Module, fact, plain_tensor};
use crate::tensor::{Data, Tensor};

/// Bytes that all folded constants may take, each element counted as 8, beside four times those of the constants they come from:
/// what is more is computed when it runs.
const MAX_BYTES: i64 = 1 << 29;

/// Products of numbers, about, that folding may take: some seconds.
const MAX_WORK: i64 = 1 << 33;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut known: BTreeSet<_> = module.constants.keys().copied().collect();
    known.insert(ABSENT);
    let given =
        module.constants.values().map(|c| (c.data.len() * c.data.data_type().size()) as i64);
    let mut left = Budget { bytes: given.fold(MAX_BYTES, |sum, c| sum + 4 * c), work: MAX_WORK };
    let (mut folded, mut kept) = (Vec::new(), Vec::new());
    for node in std::mem::take(&mut module.graph.nodes) {
        if let Some(constants) = known_outputs(&node, &facts) {
            known.extend(&node.outputs);
            module.constants.extend(constants.into_iter().map(|(id, c)| (id, Arc::new(c))));
            continue;
        }
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
    let draft = Draft { graph, data, provenance: None };
    let network = draft
        .network()
        .map_err(|error| Error::bad_file(format!("constants cannot be computed: {error}")))?;
    let fail = |error| Error::bad_file(format!("constants cannot be computed: {error}"));
    // The budget has bounded the memory already.
    let options = LoadOptions { max_arena_bytes: u64::MAX, ..LoadOptions::default() };
    let model = Arc::new(Model::of_network(&network, &options).map_err(fail)?);
    let mut session = Session::new(model);
    let results = session.run(&[]).map_err(fail)?;
    for (port, (_, view)) in network.graph().outputs.iter().zip(results.iter()) {
        module.constants.insert(back[port.value as usize], Arc::new(view.into()));
    }
    Ok(())
}

/// The outputs of a node as constants, where shapes alone decide their elements.
fn known_outputs(node: &Node, facts: &[Option<Fact>]) -> Option<Vec<(ValueId, Tensor)>> {
    let outputs = node.outputs.iter().filter(|&&value| value != ABSENT);
    let constant = |&value: &ValueId| {
        let fact = fact(facts, value)?;
        let elements = fact.value.as_ref()?;
        let data = Data::from_integers(fact.data_type, &elements.numbers()?)?;
        Some((value, Tensor { dims: elements.dims.clone(), data }))
    };
    outputs.map(constant).collect()
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
    use amq_format::graph::{Binary, BinaryFunction, Concat, DataType, Dims, Gather, MatMul, Op};

    use super::*;

    /// What a pass makes of sizes is evaluated as what a reader makes of them.
    #[test]
    fn what_shapes_decide_is_a_constant() {
        let mut module = Module::default();
        let x = module.add_value("x");
        let dims = vec![Dim::named("n"), Dim::from(3)];
        module.graph.inputs = vec![Port { value: x, data_type: DataType::F32 as i32, dims }];
        let [sizes, two, last, more] =
            ["sizes", "two", "last", "more"].map(|name| module.add_value(name));
        let dims = vec![Dim::named("n"), Dim::from(3)];
        module.add_node("sizes", Op::Dims(Dims { dims }), vec![], vec![sizes]);
        let index = Tensor { dims: vec![], data: Data::I64(vec![1]) };
        module.constants.insert(two, Arc::new(index));
        module.add_node("last", Op::Gather(Gather { axis: 0 }), vec![sizes, two], vec![last]);
        let less = Op::Binary(Binary { function: BinaryFunction::Less as i32 });
        module.add_node("more", less, vec![two, sizes], vec![more]);
        run(&mut module).unwrap();
        assert_eq!(*module.constants[&last], Tensor { dims: vec![], data: Data::I64(vec![3]) });
        // Whether 1 is less than n is not known.
        let left: Vec<_> = module.graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(left, ["sizes", "more"]);
    }

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
