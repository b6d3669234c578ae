//! Makes constants of what shapes alone decide, and computes every node whose inputs are constants,
//! with the runtime's own code.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use amq_format::graph::{ABSENT, Dim, Graph, Node, Port, ValueId};
use amq_format::{Draft, Fact};
use amq_runtime::{LoadOptions, Model, Session};
use prost::Message;

use crate::error::{Error, Result};
use crate::ir::{self, Module, fact, plain_tensor};
use crate::tensor::{Data, Tensor};

/// Bytes that all folded constants may take, each element counted as 8, beside four times those of the constants they come from:
/// what is more is computed when it runs.
const MAX_BYTES: i64 = 1 << 29;

/// Products of numbers, about, that folding may take: some seconds.
const MAX_WORK: i64 = 1 << 33;

/// Bytes, counted so too, of constants that are computed together, or those of the largest that is given:
/// copies of them and of what they come from are held meanwhile.
const TOGETHER: i64 = 4 << 20;

/// As many times that may be taken by nodes of which each reads what the one before gives: between them nothing
/// needs to be kept.
const CHAIN: i64 = 4;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut known: BTreeSet<_> = module.constants.keys().copied().collect();
    known.insert(ABSENT);
    let given =
        module.constants.values().map(|c| (c.data.len() * c.data.data_type().size()) as i64);
    let most = i64::try_from(module.folded_bytes).unwrap_or(i64::MAX);
    let bytes = given.fold(MAX_BYTES, |sum, c| sum + 4 * c).min(most);
    let mut left = Budget { bytes, work: MAX_WORK };
    let largest = module.constants.values().map(|c| 8 * c.data.len() as i64).max();
    let together = TOGETHER.max(largest.unwrap_or_default());
    let mut same = Same::default();
    let (mut folded, mut taken, mut kept) = (Vec::<Vec<Node>>::new(), 0, Vec::new());
    for mut node in std::mem::take(&mut module.graph.nodes) {
        if let Some(constants) = known_outputs(&node, &facts) {
            known.extend(&node.outputs);
            module.constants.extend(constants.into_iter().map(|(id, c)| (id, Arc::new(c))));
            continue;
        }
        node.inputs.iter_mut().for_each(|value| *value = same.first_of(*value));
        let constant = node.inputs.iter().all(|value| known.contains(value))
            && node.op.as_ref().is_some_and(|op| {
                op.operator().dims().into_iter().flatten().all(|dim| dim.as_size().is_some())
            });
        if constant && same.add(&node) {
            known.extend(&node.outputs);
            continue;
        }
        let before = left.bytes;
        if constant && left.take(&node, &facts).is_none() {
            same.forget(&node);
        } else if constant {
            known.extend(&node.outputs);
            let bytes = before - left.bytes;
            taken += bytes;
            match folded.last_mut() {
                Some(group)
                    if taken <= together
                        || continues(group, &node) && taken <= CHAIN * together =>
                {
                    group.push(node);
                }
                _ => {
                    taken = bytes;
                    folded.push(vec![node]);
                }
            }
            continue;
        }
        kept.push(node);
    }
    module.graph.nodes = kept;
    // What is read, and the first group of nodes after which it is not.
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (group, nodes) in folded.iter().enumerate() {
        last.extend(nodes.iter().flat_map(|node| &node.inputs).map(|&value| (value, group)));
    }
    let outputs = module.graph.outputs.iter().map(|port| port.value);
    let copies: Vec<_> = outputs.filter(|&value| same.first_of(value) != value).collect();
    let firsts = copies.iter().map(|&value| same.first_of(value));
    last.extend(module.uses().into_keys().chain(firsts).map(|value| (value, usize::MAX)));
    for (group, nodes) in folded.into_iter().enumerate() {
        compute(module, nodes, &facts, |value| last.get(&value).is_some_and(|&last| last > group))?;
        module.constants.retain(|value, _| last.get(value).is_none_or(|&last| last > group));
    }
    for value in copies {
        let first = module.constants.get(&same.first_of(value)).cloned();
        module.constants.extend(first.map(|constant| (value, constant)));
    }
    Ok(())
}

/// Whether a node reads what the last of a group gives.
fn continues(group: &[Node], node: &Node) -> bool {
    let given = group.last().map(|last| last.outputs.as_slice()).unwrap_or_default();
    node.inputs.iter().any(|value| *value != ABSENT && given.contains(value))
}

/// Computes nodes that read constants; keeps those of their outputs that are wanted.
fn compute(
    module: &mut Module,
    nodes: Vec<Node>,
    facts: &[Option<Fact>],
    wanted: impl Fn(ValueId) -> bool,
) -> Result<()> {
    let given = nodes.iter().flat_map(|node| &node.outputs).copied();
    let outputs: Vec<_> = given.filter(|&value| value != ABSENT && wanted(value)).collect();
    let read: BTreeSet<_> = nodes.iter().flat_map(|node| &node.inputs).copied().collect();
    let (mut tensors, mut data) = (Vec::new(), Vec::new());
    for value in read {
        // What is not read again goes as soon as it is copied.
        let constant = match wanted(value) {
            true => module.constants.get(&value).cloned(),
            false => module.constants.remove(&value),
        };
        if let Some(constant) = constant {
            tensors.push(plain_tensor(value, &constant));
            data.push(constant.data.to_bytes());
        }
    }
    let port = |value| {
        let fact = fact(facts, value).ok_or_else(|| Error::bad_file("a constant has no type"))?;
        Ok(Port {
            value,
            data_type: fact.data_type as i32,
            dims: fact.dims.clone(),
            ..Port::default()
        })
    };
    // Only the values that this graph has: the validator refuses names of nothing.
    let graph = Graph {
        values: module.graph.values.clone(),
        outputs: outputs.iter().map(|&value| port(value)).collect::<Result<_>>()?,
        tensors,
        nodes,
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
    let given: Vec<_> =
        network.graph().outputs.iter().map(|port| back[port.value as usize]).collect();
    // The model has copies of its own.
    drop(network);
    drop(draft);
    let mut session = Session::new(model);
    let results = session.run(&[]).map_err(fail)?;
    for (value, (_, view)) in given.into_iter().zip(results.iter()) {
        module.constants.insert(value, Arc::new(view.into()));
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

/// Nodes of constants that compute the same: an exporter that writes out the steps of a loop turns a
/// matrix anew for each.
#[derive(Default)]
struct Same {
    /// The outputs of a node, by what it computes of what.
    first: HashMap<Vec<u8>, Vec<ValueId>>,
    /// In the place of an output, that of the first such node.
    replaced: BTreeMap<ValueId, ValueId>,
}

impl Same {
    fn first_of(&self, value: ValueId) -> ValueId {
        *self.replaced.get(&value).unwrap_or(&value)
    }

    /// Whether there was such a node, whose outputs then stand for those of this one.
    fn add(&mut self, node: &Node) -> bool {
        match self.first.entry(Same::key(node)) {
            Entry::Occupied(first) => {
                self.replaced.extend(node.outputs.iter().copied().zip(first.get().iter().copied()));
                self.replaced.remove(&ABSENT);
                true
            }
            Entry::Vacant(entry) => {
                entry.insert(node.outputs.clone());
                false
            }
        }
    }

    /// Takes back a node whose outputs are not computed.
    fn forget(&mut self, node: &Node) {
        self.first.remove(&Same::key(node));
    }

    fn key(node: &Node) -> Vec<u8> {
        let present = node.outputs.iter().map(|&value| ValueId::from(value != ABSENT));
        let unnamed = Node { name: String::new(), outputs: present.collect(), ..node.clone() };
        unnamed.encode_to_vec()
    }
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
        let work = node.op.as_ref()?.work(&of_inputs, read, given)?;
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
    use amq_format::graph::{
        Binary, BinaryFunction, Concat, DataType, Dims, Expand, Gather, MatMul, Op, Slice,
        Transpose,
    };

    use super::*;

    /// What a pass makes of sizes is evaluated as what a reader makes of them.
    #[test]
    fn what_shapes_decide_is_a_constant() {
        let mut module = Module::default();
        let x = module.add_value("x");
        let dims = vec![Dim::named("n"), Dim::from(3)];
        module.graph.inputs =
            vec![Port { value: x, data_type: DataType::F32 as i32, dims, ..Port::default() }];
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

    /// One for many steps; a graph output keeps its own name; constants that nobody reads any more go.
    #[test]
    fn nodes_that_compute_the_same_are_computed_once() {
        let mut module = Module::default();
        let w =
            module.add_constant("w", Tensor { dims: vec![1, 2], data: Data::F32(vec![1.0, 2.0]) });
        let x = module.add_value("x");
        let port = |value, dims: [i64; 2]| {
            let dims = dims.map(Dim::from).to_vec();
            Port { value, data_type: DataType::F32 as i32, dims, ..Port::default() }
        };
        module.graph.inputs = vec![port(x, [1, 1])];
        let turn = Op::Transpose(Transpose { perm: vec![1, 0] });
        let [a, b, c, y, z] = ["a", "b", "c", "y", "z"].map(|name| module.add_value(name));
        for turned in [a, b, c] {
            module.add_node("turn", turn.clone(), vec![w], vec![turned]);
        }
        module.add_node("y", Op::MatMul(MatMul {}), vec![a, x], vec![y]);
        module.add_node("z", Op::MatMul(MatMul {}), vec![b, x], vec![z]);
        module.graph.outputs = vec![port(y, [2, 1]), port(z, [2, 1]), port(c, [2, 1])];
        run(&mut module).unwrap();
        assert_eq!(module.constants.keys().copied().collect::<Vec<_>>(), [a, c]);
        assert!(Arc::ptr_eq(&module.constants[&a], &module.constants[&c]));
        let read: Vec<_> = module.graph.nodes.iter().map(|node| node.inputs.clone()).collect();
        assert_eq!(read, [[a, x], [a, x]]);
    }

    /// What is computed apart, because it is large, is read by what comes after.
    #[test]
    fn large_constants_are_computed_in_turn() {
        let mut module = Module::default();
        let w = module.add_constant("w", Tensor { dims: vec![], data: Data::F32(vec![1.5]) });
        let [mut last, sum] = ["wide", "sum"].map(|name| module.add_value(name));
        let wide = TOGETHER / 8 / 2 + 1;
        module.add_node(
            "wide",
            Op::Expand(Expand { dims: vec![Dim::from(wide)] }),
            vec![w],
            vec![last],
        );
        for name in ["twice", "four times"] {
            let next = module.add_value(name);
            let add = Op::Binary(Binary { function: BinaryFunction::Add as i32 });
            module.add_node(name, add, vec![last, last], vec![next]);
            last = next;
        }
        let (starts, ends) = (vec![Dim::from(0)], vec![Dim::from(2)]);
        let cut = Slice { axes: vec![0], starts, ends, steps: vec![1] };
        module.add_node("cut", Op::Slice(cut), vec![last], vec![sum]);
        let port = Port {
            value: sum,
            data_type: DataType::F32 as i32,
            dims: vec![Dim::from(2)],
            ..Port::default()
        };
        module.graph.outputs = vec![port];
        run(&mut module).unwrap();
        let expected = Tensor { dims: vec![2], data: Data::F32(vec![6.0, 6.0]) };
        assert_eq!(*module.constants[&sum], expected);
        assert_eq!(module.constants.len(), 1);
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
