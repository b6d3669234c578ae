//! Graphs that operators run: closed over what they read of the graph around them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amq_format::Fact;
use amq_format::graph::{ABSENT, Graph, Node, Port, ValueId};
use amq_format::operator::Captures;

use super::{Module, Names};
use crate::error::Result;

/// A body whose values are numbered as those of the graph around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Inputs that are its own.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<ValueId>,
}

impl Part {
    /// What it reads of the graph around it.
    fn captures(&self) -> Vec<ValueId> {
        let mut own: BTreeSet<ValueId> = self.inputs.iter().copied().collect();
        own.insert(ABSENT);
        own.extend(self.nodes.iter().flat_map(|node| &node.outputs));
        let read = self.nodes.iter().flat_map(|node| &node.inputs).chain(&self.outputs);
        read.copied().filter(|&value| own.insert(value)).collect()
    }
}

/// Makes graphs of the bodies of a node; gives also the values that they capture, which are the last
/// inputs of the node and of each body. `names` has all values, `fact` tells their types and shapes.
pub(crate) fn enclose(
    names: &[String],
    parts: Vec<Part>,
    fact: &dyn Fn(ValueId) -> Option<Fact>,
) -> (Vec<ValueId>, Vec<Graph>) {
    let mut seen = BTreeSet::new();
    let all = parts.iter().flat_map(Part::captures);
    let captures: Vec<ValueId> = all.filter(|&value| seen.insert(value)).collect();
    let graphs = parts.into_iter().map(|part| graph(names, part, &captures, fact)).collect();
    (captures, graphs)
}

fn graph(
    names: &[String],
    part: Part,
    captures: &[ValueId],
    fact: &dyn Fn(ValueId) -> Option<Fact>,
) -> Graph {
    let mut graph = Graph { values: vec![String::new()], ..Graph::default() };
    let mut number = BTreeMap::from([(ABSENT, ABSENT)]);
    let inputs: Vec<ValueId> = part.inputs.iter().chain(captures).copied().collect();
    let given = part.nodes.iter().flat_map(|node| &node.outputs);
    for &value in inputs.iter().chain(given) {
        number.entry(value).or_insert_with(|| {
            graph.values.push(names.get(value as usize).cloned().unwrap_or_default());
            (graph.values.len() - 1) as ValueId
        });
    }
    let port = |&value: &ValueId| {
        let fact = fact(value).unwrap_or_else(|| Fact::f32(Vec::new()));
        Port {
            value: number[&value],
            data_type: fact.data_type as i32,
            dims: fact.dims,
            ..Port::default()
        }
    };
    graph.inputs = inputs.iter().map(port).collect();
    graph.outputs = part.outputs.iter().map(port).collect();
    graph.nodes = part.nodes;
    for node in &mut graph.nodes {
        for value in node.inputs.iter_mut().chain(&mut node.outputs) {
            *value = number[value];
        }
    }
    graph
}

/// Where a node stands: the nodes and bodies around it from the outside in, and its number in the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Numbers of nodes and of their bodies.
    pub within: Vec<(usize, usize)>,
    /// Number of the node.
    pub node: usize,
}

impl Place {
    /// Whether it stands in no body.
    pub fn is_outermost(&self) -> bool {
        self.within.is_empty()
    }

    /// Number of the node of the outermost graph that it stands in, or that it is.
    pub(crate) fn outermost(&self) -> usize {
        self.within.first().map_or(self.node, |(node, _)| *node)
    }
}

/// The value of the outermost graph that a value is, [`ABSENT`] where it is none.
pub(crate) type Outermost<'a> = dyn Fn(ValueId) -> ValueId + 'a;

impl Module {
    /// The node at a place.
    pub(crate) fn node(&self, place: &Place) -> &Node {
        let mut graph = &self.graph;
        for &(node, body) in &place.within {
            graph = &graph.nodes[node].bodies[body];
        }
        &graph.nodes[place.node]
    }

    /// A copy of a node's body as a module, in which captured constants are constants, and the value
    /// here of each value that it captures.
    pub(crate) fn body(&self, node: &Node, number: usize) -> (Module, BTreeMap<ValueId, ValueId>) {
        let Captures { first, at } =
            node.op.as_ref().map(|op| op.operator().arity().captures).unwrap_or_default();
        self.opened(node.bodies[number].clone(), at, &node.inputs[first..])
    }

    /// A body whose inputs from one on are captures.
    fn opened(
        &self,
        graph: Graph,
        at: usize,
        captured: &[ValueId],
    ) -> (Module, BTreeMap<ValueId, ValueId>) {
        let folded_bytes = self.folded_bytes;
        let mut inner = Module { graph, folded_bytes, ..Module::default() };
        let mut known = BTreeMap::new();
        let ports = inner.graph.inputs.split_off(at);
        for (port, &outer) in ports.into_iter().zip(captured) {
            known.insert(port.value, outer);
            match self.constants.get(&outer) {
                Some(constant) => {
                    inner.constants.insert(port.value, Arc::clone(constant));
                }
                None => inner.graph.inputs.push(port),
            }
        }
        (inner, known)
    }

    /// Does something with every body as if it were a module: constants that it captures are
    /// constants there. What it leaves unread is captured no more.
    pub(crate) fn each_body(&mut self, run: &dyn Fn(&mut Module) -> Result<()>) -> Result<()> {
        if self.graph.nodes.iter().all(|node| node.bodies.is_empty()) {
            return Ok(());
        }
        let mut names = Names::of(self);
        for index in 0..self.graph.nodes.len() {
            if self.graph.nodes[index].bodies.is_empty() {
                continue;
            }
            let mut node = std::mem::take(&mut self.graph.nodes[index]);
            self.bodies_of(&mut node, &mut names, run)?;
            self.graph.nodes[index] = node;
        }
        Ok(())
    }

    fn bodies_of(
        &mut self,
        node: &mut Node,
        names: &mut Names,
        run: &dyn Fn(&mut Module) -> Result<()>,
    ) -> Result<()> {
        let Captures { first, at } =
            node.op.as_ref().map(|op| op.operator().arity().captures).unwrap_or_default();
        let captured = node.inputs.split_off(first);
        // Of each body, the value that each captured value is in it.
        let mut bodies = Vec::new();
        for graph in std::mem::take(&mut node.bodies) {
            let (mut inner, known) = self.opened(graph, at, &captured);
            run(&mut inner)?;
            self.notes.append(&mut inner.notes);
            let read = inner.read();
            let mut captures = BTreeMap::new();
            for port in inner.graph.inputs.split_off(at) {
                if read.contains(&port.value) {
                    captures.insert(known[&port.value], port);
                }
            }
            for (value, constant) in std::mem::take(&mut inner.constants) {
                if !read.contains(&value) {
                    continue;
                }
                let same = known.get(&value).filter(|outer| {
                    self.constants.get(outer).is_some_and(|other| *other == constant)
                });
                let fact = constant.fact();
                let outer = match same {
                    Some(outer) => *outer,
                    None => {
                        let id = self.add_value(names.unique(inner.name(value), '.'));
                        self.constants.insert(id, constant);
                        id
                    }
                };
                let data_type = fact.data_type as i32;
                captures
                    .insert(outer, Port { value, data_type, dims: fact.dims, ..Port::default() });
            }
            bodies.push((inner.graph, captures));
        }
        let all: BTreeMap<ValueId, Port> =
            bodies.iter().flat_map(|(_, captures)| captures.clone()).collect();
        for (mut graph, captures) in bodies {
            for (outer, port) in &all {
                let port = captures.get(outer).cloned().unwrap_or_else(|| {
                    // Another body reads it.
                    let value = graph.values.len() as ValueId;
                    graph.values.push(format!("unread/{value}"));
                    Port { value, ..port.clone() }
                });
                graph.inputs.push(port);
            }
            node.bodies.push(graph);
        }
        node.inputs.extend(all.keys());
        Ok(())
    }
}

/// Shows every node, those of bodies after the one that runs them.
pub(crate) fn visit(graph: &Graph, see: &mut dyn FnMut(&Place, &Node, &Outermost<'_>)) {
    visit_in(graph, &mut Place::default(), &|value| value, see);
}

fn visit_in(
    graph: &Graph,
    place: &mut Place,
    outermost: &Outermost<'_>,
    see: &mut dyn FnMut(&Place, &Node, &Outermost<'_>),
) {
    for (index, node) in graph.nodes.iter().enumerate() {
        place.node = index;
        see(place, node, outermost);
        let Some(op) = &node.op else { continue };
        let Captures { first, at } = op.operator().arity().captures;
        for (number, body) in node.bodies.iter().enumerate() {
            let captured = body.inputs.iter().skip(at).map(|port| port.value);
            let outer: BTreeMap<ValueId, ValueId> =
                captured.zip(node.inputs.iter().skip(first).copied()).collect();
            let inner =
                |value: ValueId| outer.get(&value).map_or(ABSENT, |&value| outermost(value));
            place.within.push((index, number));
            visit_in(body, place, &inner, see);
            place.within.pop();
        }
    }
}

/// Lets the node at a place read a value of the outermost graph as one of its inputs; gives the node.
pub(crate) fn set_input<'g>(
    graph: &'g mut Graph,
    place: &Place,
    input: usize,
    port: &Port,
) -> &'g mut Node {
    let mut graph = graph;
    let mut value = port.value;
    for &(index, number) in &place.within {
        let node = &mut graph.nodes[index];
        let Captures { first, at } =
            node.op.as_ref().map(|op| op.operator().arity().captures).unwrap_or_default();
        let known = node.inputs.iter().skip(first).position(|&known| known == value);
        let capture = known.unwrap_or_else(|| {
            node.inputs.push(value);
            for body in &mut node.bodies {
                let value = body.values.len() as ValueId;
                body.values.push(format!("coded/{value}"));
                body.inputs.push(Port { value, ..port.clone() });
            }
            node.inputs.len() - 1 - first
        });
        graph = &mut node.bodies[number];
        value = graph.inputs[at + capture].value;
    }
    let node = &mut graph.nodes[place.node];
    node.inputs[input] = value;
    node
}

/// Drops captures that no body reads.
pub(crate) fn drop_unread(graph: &mut Graph) {
    for node in &mut graph.nodes {
        node.bodies.iter_mut().for_each(drop_unread);
        let Some(op) = node.op.as_ref().filter(|_| !node.bodies.is_empty()) else { continue };
        let Captures { first, at } = op.operator().arity().captures;
        let read = |body: &Graph| -> BTreeSet<ValueId> {
            let read = body.nodes.iter().flat_map(|node| &node.inputs).copied();
            read.chain(body.outputs.iter().map(|port| port.value)).collect()
        };
        let of_bodies: Vec<_> = node.bodies.iter().map(read).collect();
        let captures = node.inputs.len() - first;
        let unread: Vec<usize> = (0..captures)
            .filter(|i| {
                let mut bodies = node.bodies.iter().zip(&of_bodies);
                !bodies.any(|(body, read)| read.contains(&body.inputs[at + i].value))
            })
            .collect();
        for i in unread.into_iter().rev() {
            node.inputs.remove(first + i);
            node.bodies.iter_mut().for_each(|body| drop(body.inputs.remove(at + i)));
        }
    }
}
