//! How far what each node of a model gives is from what it gives in its reference.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::graph::{ABSENT, Cell, Graph, Op};
use amq_runtime::{Part, Probe, Product, View};
use serde::Serialize;

use crate::distance::Distance;
use crate::error::Result;
use crate::loaded::{Loaded, value_name};
use crate::tensor::{Data, Tensor, views};
use crate::weights::op_name;

/// Bytes of the reference's values that are kept at once: where there are more, both models run again.
const MOST_BYTES: usize = 512 << 20;

/// A comparison of every value that nodes give.
#[derive(Clone, Debug, Serialize)]
pub struct ByNode {
    /// Values that both models have, the farthest first.
    pub nodes: Vec<NodeDistance>,
    /// Values that one of them alone has, or that have another type or shape.
    pub unmatched: Vec<Unmatched>,
}

/// How far a value is from that of the same name in the reference.
#[derive(Clone, Debug, Serialize)]
pub struct NodeDistance {
    /// Number of the node: the order of computing.
    #[serde(skip)]
    pub index: usize,
    /// The value.
    pub value: String,
    /// The node that gives it.
    pub node: String,
    /// The node's operator or cell.
    pub op: &'static str,
    /// The value's shape.
    pub dims: Vec<usize>,
    /// Largest difference; infinite (in JSON: null) where only one of the two is a number.
    pub max_abs: f64,
    /// Signal over noise in decibels; JSON's null where nothing differs.
    pub snr_db: f64,
    /// The same of each time step, where a recurrent layer gives its whole sequence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps_snr_db: Vec<f64>,
    /// Of a recurrent layer, its products by gate, beside its first output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateDistance>,
}

/// How far a gate's share of a product is from the reference, without biases.
#[derive(Clone, Debug, Serialize)]
pub struct GateDistance {
    /// `W`, which meets the layer's input, or `R`, which meets its state.
    pub matrix: &'static str,
    /// The direction, from 0.
    pub direction: usize,
    /// The gate in ONNX's letters.
    pub gate: &'static str,
    /// Largest difference.
    pub max_abs: f64,
    /// Signal over noise in decibels.
    pub snr_db: f64,
}

/// A value that has nothing to be compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unmatched {
    /// The value.
    pub value: String,
    /// The node that gives it.
    pub node: String,
    /// The node's operator or cell.
    pub op: &'static str,
    /// Why.
    pub why: &'static str,
}

/// Runs both models on the same inputs and compares what their nodes give. Values with the same name
/// are the same; what bodies of control flow compute is not seen.
///
/// # Errors
/// Inputs that one of the models cannot take.
pub fn by_node(loaded: &Loaded, reference: &Loaded, inputs: &[(String, Tensor)]) -> Result<ByNode> {
    within(MOST_BYTES, loaded, reference, inputs)
}

/// As [`by_node`], of the reference's values at most so many bytes at once (but those of one node).
fn within(
    most: usize,
    loaded: &Loaded,
    reference: &Loaded,
    inputs: &[(String, Tensor)],
) -> Result<ByNode> {
    let mut all = ByNode { nodes: Vec::new(), unmatched: Vec::new() };
    let known: BTreeSet<&str> = values(loaded.graph()).map(|(_, _, name)| name).collect();
    let lacks = |(node, _, name): (usize, usize, &str)| Unmatched {
        why: "only the reference has it",
        ..unmatched(reference.graph(), node, name)
    };
    let others = values(reference.graph()).filter(|(_, _, name)| !known.contains(name));
    all.unmatched.extend(others.map(lacks));
    let mut from = Some(0);
    while let Some(first) = from {
        let mut kept = Kept::new(reference.graph(), first, most);
        let ran = reference.session().run_with(&views(inputs), &mut kept).map(|_| ());
        ran.map_err(|error| reference.error(error))?;
        let mut seen = Comparing::new(loaded.graph(), &kept);
        let ran = loaded.session().run_with(&views(inputs), &mut seen).map(|_| ());
        ran.map_err(|error| loaded.error(error))?;
        let Comparing { nodes, unmatched, .. } = seen;
        all.nodes.extend(nodes);
        all.unmatched.extend(unmatched);
        from = kept.full;
    }
    let lacks = |(node, _, name): &(usize, usize, &str)| Unmatched {
        why: "the reference lacks it",
        ..unmatched(loaded.graph(), *node, name)
    };
    let known: BTreeSet<&str> = values(reference.graph()).map(|(_, _, name)| name).collect();
    let own = values(loaded.graph()).filter(|(_, _, name)| !known.contains(name));
    all.unmatched.extend(own.map(|value| lacks(&value)));
    all.nodes.sort_by(|a, b| a.snr_db.total_cmp(&b.snr_db));
    all.unmatched.sort();
    all.unmatched.dedup();
    Ok(all)
}

/// The values that nodes give: node, output and name.
fn values(graph: &Graph) -> impl Iterator<Item = (usize, usize, &str)> {
    graph.nodes.iter().enumerate().flat_map(move |(index, node)| {
        let given = node.outputs.iter().enumerate().filter(|&(_, &value)| value != ABSENT);
        given.map(move |(output, &value)| (index, output, value_name(graph, value)))
    })
}

fn unmatched(graph: &Graph, node: usize, value: &str) -> Unmatched {
    let node = &graph.nodes[node];
    Unmatched { value: value.into(), node: node.name.clone(), op: op_name(node), why: "" }
}

/// Products of a matrix, from a row on.
type Products = (Part, usize);

/// What the reference computes, from a node on until memory is full.
struct Kept<'a> {
    graph: &'a Graph,
    first: usize,
    /// The first node that was not kept.
    full: Option<usize>,
    most: usize,
    bytes: usize,
    values: BTreeMap<&'a str, Tensor>,
    /// Of recurrent layers, by node.
    products: BTreeMap<usize, BTreeMap<Products, Vec<f32>>>,
}

impl<'a> Kept<'a> {
    fn new(graph: &'a Graph, first: usize, most: usize) -> Kept<'a> {
        let (values, products) = (BTreeMap::new(), BTreeMap::new());
        Kept { graph, first, full: None, most, bytes: 0, values, products }
    }

    /// Whether what a node computes is kept, of so many bytes.
    fn takes(&mut self, node: usize, bytes: usize) -> bool {
        if node < self.first || self.full.is_some_and(|full| node >= full) {
            return false;
        }
        self.bytes += bytes;
        if self.bytes > self.most && node > self.first {
            self.full = Some(node);
            self.products.remove(&node);
            for &value in &self.graph.nodes[node].outputs {
                self.values.remove(value_name(self.graph, value));
            }
            return false;
        }
        true
    }
}

/// Bytes that a view takes as a tensor, at most.
fn bytes(view: &View<'_>) -> usize {
    8 * view.data.len()
}

impl Probe for Kept<'_> {
    fn product(&mut self, product: &Product<'_>) {
        if is_recurrent(self.graph, product.node)
            && self.takes(product.node, 4 * product.results.len())
        {
            let of = self.products.entry(product.node).or_default();
            let results = of.entry((product.matrix, product.first_row)).or_default();
            results.extend_from_slice(product.results);
        }
    }

    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let name = value_name(self.graph, self.graph.nodes[node].outputs[output]);
        if self.takes(node, bytes(&value)) {
            self.values.insert(name, Tensor::from(value));
        }
    }
}

/// Compares what a model computes with what was kept.
struct Comparing<'a> {
    graph: &'a Graph,
    kept: &'a Kept<'a>,
    /// Of each node, that of the reference that gives a value of the same name.
    same: BTreeMap<usize, usize>,
    gates: BTreeMap<usize, Gates>,
    nodes: Vec<NodeDistance>,
    unmatched: Vec<Unmatched>,
}

/// Distances of a recurrent layer's products.
#[derive(Default)]
struct Gates {
    /// How far the reference's results have been compared.
    seen: BTreeMap<Products, usize>,
    distances: BTreeMap<(Part, usize), Distance>,
}

impl<'a> Comparing<'a> {
    fn new(graph: &'a Graph, kept: &'a Kept<'a>) -> Comparing<'a> {
        let givers: BTreeMap<&str, usize> =
            values(kept.graph).map(|(node, _, name)| (name, node)).collect();
        let giver = |(node, _, name)| Some((node, *givers.get(name)?));
        let same = values(graph).filter_map(giver).collect();
        let gates = BTreeMap::new();
        Comparing { graph, kept, same, gates, nodes: Vec::new(), unmatched: Vec::new() }
    }
}

impl Probe for Comparing<'_> {
    fn product(&mut self, product: &Product<'_>) {
        let Product { node, matrix, first_row, rows, results, .. } = *product;
        let Some(Op::Recurrent(layer)) = &self.graph.nodes[node].op else { return };
        let expected = (self.same.get(&node)).and_then(|other| self.kept.products.get(other));
        let Some(expected) = expected.and_then(|of| of.get(&(matrix, first_row))) else { return };
        let gates = self.gates.entry(node).or_default();
        let seen = gates.seen.entry((matrix, first_row)).or_default();
        let Some(expected) = expected.get(*seen..*seen + results.len()) else { return };
        *seen += results.len();
        let hidden = layer.hidden_size as usize;
        for (expected, found) in expected.chunks_exact(rows).zip(results.chunks_exact(rows)) {
            for (gate, (expected, found)) in
                expected.chunks(hidden).zip(found.chunks(hidden)).enumerate()
            {
                let gate = (matrix, first_row / hidden + gate);
                gates.distances.entry(gate).or_default().add_floats(expected, found);
            }
        }
    }

    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let graph = self.graph;
        let name = value_name(graph, graph.nodes[node].outputs[output]);
        let Some(expected) = self.kept.values.get(name) else { return };
        let found = Tensor::from(value);
        let Some(distance) = Distance::of(expected, &found) else {
            let why = "its type or shape is another";
            self.unmatched.push(Unmatched { why, ..unmatched(graph, node, name) });
            return;
        };
        let gates = self.gates.remove(&node).unwrap_or_default();
        let is_sequence = is_recurrent(graph, node) && output == 0;
        let Unmatched { value, node: name, op, .. } = unmatched(graph, node, name);
        self.nodes.push(NodeDistance {
            index: node,
            value,
            node: name,
            op,
            dims: found.dims.clone(),
            max_abs: distance.max_abs,
            snr_db: distance.snr_db(),
            steps_snr_db: if is_sequence { steps(expected, &found) } else { Vec::new() },
            gates: named(graph, node, gates),
        });
    }
}

fn is_recurrent(graph: &Graph, node: usize) -> bool {
    matches!(graph.nodes[node].op, Some(Op::Recurrent(_)))
}

/// The ratio of signal to noise at each place of the first axis.
fn steps(expected: &Tensor, found: &Tensor) -> Vec<f64> {
    let (Data::F32(x), Data::F32(y)) = (&expected.data, &found.data) else { return Vec::new() };
    let width = x.len().checked_div(expected.dims[0]).unwrap_or(0).max(1);
    let snr = |(x, y): (&[f32], &[f32])| {
        let mut distance = Distance::default();
        distance.add_floats(x, y);
        distance.snr_db()
    };
    x.chunks_exact(width).zip(y.chunks_exact(width)).map(snr).collect()
}

fn named(graph: &Graph, node: usize, gates: Gates) -> Vec<GateDistance> {
    let Some(Op::Recurrent(layer)) = &graph.nodes[node].op else { return Vec::new() };
    let letters: &[&str] = match layer.cell() {
        Cell::Lstm => &["i", "o", "f", "c"],
        Cell::Gru => &["z", "r", "h"],
        Cell::Rnn => &["i"],
    };
    let gate = |((part, gate), distance): ((Part, usize), Distance)| {
        let (matrix, direction) = match part {
            Part::Input { direction } => ("W", direction),
            Part::Recurrent { direction } => ("R", direction),
            _ => return None,
        };
        let (max_abs, snr_db) = (distance.max_abs, distance.snr_db());
        Some(GateDistance { matrix, direction, gate: letters.get(gate)?, max_abs, snr_db })
    };
    gates.distances.into_iter().filter_map(gate).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use amq_runtime::Isa;

    use super::*;
    use crate::compile::compile;
    use crate::feed::seeded::seeded;
    use crate::open::Opened;
    use crate::options::ConvertOptions;

    #[test]
    fn little_memory_changes_nothing() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/gru/model.onnx");
        let compiled = compile(&path, &ConvertOptions::default(), &|_| ()).unwrap();
        let opened = Opened::of_bytes(&path, &compiled.bytes);
        let loaded = opened.load(Isa::detect()).unwrap();
        let reference = Opened::read(&opened.path).unwrap().load(Isa::detect()).unwrap();
        let dims = loaded.dimensions().into_iter().map(|name| (name.to_owned(), 7)).collect();
        let inputs = seeded(&loaded, &dims).unwrap();
        let text = |most| {
            let found = within(most, &loaded, &reference, &inputs).unwrap();
            serde_json::to_string(&found).unwrap()
        };
        let (whole, pieces) = (text(MOST_BYTES), text(0));
        assert_eq!(whole, pieces);
        assert!(whole.contains("steps_snr_db") && whole.contains("\"gate\":\"z\""), "{whole}");
    }
}
