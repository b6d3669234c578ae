//! A loaded model: checked, its weights packed for one instruction set, and never changed again.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use amq_format::graph::{self, ABSENT, DataType, Dim, Graph, ValueId};
use amq_format::{Inference, TensorView, Validated};

use crate::error::{Error, fault};
use crate::infer::{self, Fact};
use crate::kernels::{Isa, Target};
use crate::ops::{self, Kept};
use crate::shape::Shape;
use crate::view::Buffer;
use crate::weights::Constants;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The instruction set to use. Results do not depend on it.
    pub isa: Isa,
    /// Bytes that a session may take for the values of its calls and for working memory. The memory
    /// of weights, which the size of the file bounds, is not counted.
    pub max_arena_bytes: u64,
}

impl Default for LoadOptions {
    /// The fastest instruction set of this CPU, and 1 GiB.
    fn default() -> LoadOptions {
        LoadOptions { isa: Isa::detect(), max_arena_bytes: 1 << 30 }
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub data_type: DataType,
    /// Its shape. Names stand for sizes of at least 1 that calls choose.
    pub dims: Vec<Dim>,
}

/// What a stream carries from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePort {
    /// Number of the input that takes it.
    pub input: usize,
    /// Number of the output that gives its next value.
    pub output: usize,
}

/// A network that is ready to run. Sessions share it.
pub struct Model {
    graph: Graph,
    digest: [u8; 32],
    target: Target,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    states: Vec<StatePort>,
    pub(crate) max_arena_bytes: u64,
    /// Of each value that is a constant, its shape.
    pub(crate) constant_shapes: Vec<Option<Shape>>,
    /// Of each value that is a constant read by kernels, its elements.
    pub(crate) constants: Vec<Option<Buffer>>,
    /// Of each node.
    pub(crate) kept: Vec<Kept>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("states", &self.states)
            .field("nodes", &self.graph.nodes.len())
            .field("isa", &self.isa())
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Validates a file and packs its weights for the fastest instruction set of this CPU.
    ///
    /// # Errors
    /// [`Error::Format`] where the file is not valid, [`Error::Node`] where the types or shapes of a
    /// node's inputs do not fit its operator.
    pub fn load(bytes: &[u8]) -> Result<Model, Error> {
        Model::with_options(&Validated::new(bytes)?, &LoadOptions::default())
    }

    /// Packs the weights of a validated file.
    ///
    /// # Errors
    /// As [`load`](Model::load), and [`Error::IsaUnavailable`].
    pub fn with_options(file: &Validated<'_>, options: &LoadOptions) -> Result<Model, Error> {
        let target = Target::new(options.isa).ok_or(Error::IsaUnavailable(options.isa))?;
        let graph = file.graph().clone();
        let mut constants = Constants::new(file, target);
        let constant_shapes = constants.shapes()?;
        check_types(&graph, &constant_shapes)?;
        let mut kept = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            kept.push(ops::keep(node, &mut constants).map_err(|f| infer::at(node, f))?);
        }
        let plain = constants.plain(&read_as_they_are(&graph, &constants));
        let ports = |ports: &[graph::Port]| -> Vec<Port> {
            let port = |port: &graph::Port| Port {
                name: graph.values[port.value as usize].clone(),
                data_type: port.data_type(),
                dims: port.dims.clone(),
            };
            ports.iter().map(port).collect()
        };
        let (inputs, outputs) = (ports(&graph.inputs), ports(&graph.outputs));
        let number = |ports: &[graph::Port], value: ValueId| {
            let at = ports.iter().position(|port| port.value == value);
            at.ok_or_else(|| Error::State(format!("value {value} is no input or output")))
        };
        let mut states = Vec::with_capacity(graph.states.len());
        for state in &graph.states {
            states.push(StatePort {
                input: number(&graph.inputs, state.input)?,
                output: number(&graph.outputs, state.output)?,
            });
        }
        Ok(Model {
            digest: file.root_digest(),
            target,
            inputs,
            outputs,
            states,
            max_arena_bytes: options.max_arena_bytes,
            constant_shapes,
            constants: plain,
            kept,
            graph,
        })
    }

    /// The inputs, in the file's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the file's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What a stream carries from one step to the next.
    pub fn states(&self) -> &[StatePort] {
        &self.states
    }

    /// The graph, as the file holds it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The file's root digest, which saved state is bound to.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The instruction set that its weights are packed for.
    pub fn isa(&self) -> Isa {
        self.target.isa()
    }

    pub(crate) fn target(&self) -> Target {
        self.target
    }
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
            return Err(Error::Input(format!(
                "output {name} is {found}, the file declares {}",
                declared.name()
            )));
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
    read
}
