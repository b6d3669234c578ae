//! Programs: graphs that can run, with what their nodes keep of their constants.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use amq_format::graph::{self, ABSENT, DataType, Dim, Graph, Node, Precision};
use amq_format::{Inference, TensorView};

use crate::constant::Constant;
use crate::error::{Error, MisfitKind, fault};
use crate::infer::{self, Fact, list};
use crate::ops::{self, Kept};
use crate::shape::Shape;
use crate::weights::Constants;

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub data_type: DataType,
    /// Float type that it has in the source model. Elements are f32 all the same: an output's are numbers of this type,
    /// and an input's should be.
    pub precision: Precision,
    /// Its shape. Names stand for sizes of at least 1 that calls choose.
    pub dims: Vec<Dim>,
}

impl fmt::Display for Port {
    /// Such as `tokens: i64 [seq, batch]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Port { name, data_type, dims, .. } = self;
        write!(f, "{name}: {} {}", data_type.name(), list(dims))
    }
}

/// A graph that can run. Whatever does not depend on the shapes of a call is found here, once.
pub(crate) struct Program {
    pub(crate) graph: Graph,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// Of each value that is a constant, its shape.
    pub(crate) constant_shapes: Vec<Option<Shape>>,
    /// Of each value that is a constant read by kernels, its elements.
    pub(crate) constants: Vec<Option<Constant>>,
    /// Of each node.
    pub(crate) kept: Vec<Kept>,
    /// Nodes that are planned together: between segments, nodes may bind sizes.
    pub(crate) segments: Vec<Range<usize>>,
    /// Of each value, up to which node its elements are needed: the number of nodes for the
    /// graph's outputs, none if nothing reads it.
    pub(crate) last_read: Vec<Option<usize>>,
}

impl Program {
    /// Checks types and packs the weights of a graph.
    pub(crate) fn new(graph: Graph, constants: &mut Constants<'_>) -> Result<Program, Error> {
        let constant_shapes = constants.shapes()?;
        check_types(&graph, &constant_shapes)?;
        let mut kept = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            kept.push(ops::keep(node, constants).map_err(|f| infer::at(node, f))?);
        }
        let ports = |ports: &[graph::Port]| -> Vec<Port> {
            let port = |port: &graph::Port| Port {
                name: graph.values[port.value as usize].clone(),
                data_type: port.data_type(),
                precision: port.precision(),
                dims: port.dims.clone(),
            };
            ports.iter().map(port).collect()
        };
        Ok(Program {
            inputs: ports(&graph.inputs),
            outputs: ports(&graph.outputs),
            constant_shapes,
            constants: {
                let read = read_as_they_are(&graph, constants);
                constants.plain(&read)
            },
            kept,
            segments: segments(&graph),
            last_read: last_read(&graph),
            graph,
        })
    }
}

/// A segment ends where a node binds a size.
fn segments(graph: &Graph) -> Vec<Range<usize>> {
    let mut start = 0;
    let nodes = graph.nodes.split_inclusive(|node| !node.binds.is_empty());
    let segment = |nodes: &[Node]| {
        start += nodes.len();
        start - nodes.len()..start
    };
    nodes.map(segment).collect()
}

fn last_read(graph: &Graph) -> Vec<Option<usize>> {
    let mut last_read = alloc::vec![None; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&value| last_read[value as usize] = Some(i));
    }
    let end = Some(graph.nodes.len());
    graph.outputs.iter().for_each(|port| last_read[port.value as usize] = end);
    last_read
}

/// Bytes that the shapes of all values may take, with names: each node of a few bytes could repeat a
/// long expression.
const MAX_SHAPES: usize = 128 << 20;

/// Infers through the graph with names, so that what can never run is refused when it is loaded.
fn check_types(graph: &Graph, constants: &[Option<Shape>]) -> Result<(), Error> {
    let mut facts: Vec<Option<Fact>> =
        constants.iter().map(|shape| shape.as_ref().map(Shape::fact)).collect();
    let mut left = MAX_SHAPES;
    let mut inference = Inference::default();
    for port in &graph.inputs {
        let fact = Fact::new(port.data_type(), port.dims.clone());
        facts[port.value as usize] = Some(fact);
    }
    for node in &graph.nodes {
        let inputs: Vec<Option<&Fact>> =
            node.inputs.iter().map(|&value| facts[value as usize].as_ref()).collect();
        let outputs = inference.node(node, &inputs).map_err(|fault| infer::at(node, fault))?;
        for (&value, mut fact) in node.outputs.iter().zip(outputs) {
            if value != ABSENT {
                // A call computes elements; here they would only take memory.
                fact.value = None;
                let bytes = fact.dims.iter().map(Dim::memory).sum();
                left = left.checked_sub(bytes).ok_or_else(|| {
                    infer::at(
                        node,
                        fault!("the shapes up to here take more than {MAX_SHAPES} bytes"),
                    )
                })?;
                facts[value as usize] = Some(fact);
            }
        }
    }
    for port in &graph.outputs {
        let name = &graph.values[port.value as usize];
        let found = facts[port.value as usize].as_ref().map(|fact| fact.data_type);
        if found != Some(port.data_type()) {
            let (found, declared) = (found.map_or("absent", DataType::name), port.data_type());
            let what = format!("output {name} is {found}, the file declares {}", declared.name());
            return Err(Error::input(MisfitKind::Model, name, what));
        }
    }
    Ok(())
}

/// Of each value, whether it is read as it is if it is a constant: by kernels, as an output, or as
/// an initial state.
fn read_as_they_are(graph: &Graph, constants: &Constants<'_>) -> Vec<bool> {
    let mut read = alloc::vec![false; graph.values.len()];
    for node in &graph.nodes {
        let Some(op) = &node.op else { continue };
        for (i, &value) in node.inputs.iter().enumerate() {
            let multi_bit = matches!(constants.view(value), Some(TensorView::MultiBit(_)));
            read[value as usize] |= !ops::is_kept(op, i, multi_bit);
        }
    }
    graph.outputs.iter().for_each(|port| read[port.value as usize] = true);
    graph.states.iter().for_each(|state| read[state.initial as usize] = true);
    // The absent value is read by nobody.
    read[ABSENT as usize] = false;
    read
}
