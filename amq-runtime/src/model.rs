//! A loaded model: checked, its weights packed for one instruction set, and never changed again.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use amq_format::graph::{self, Graph, ValueId};
use amq_format::{Network, Validated};

use crate::error::Error;
use crate::kernels::{Isa, Target};
use crate::program::{Port, Program};
use crate::weights::Constants;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The instruction set to use. Results do not depend on it.
    pub isa: Isa,
    /// Bytes that a session may take for the values of its calls and for working memory. The memory
    /// of weights, which the size of the file bounds, is not counted.
    pub max_arena_bytes: u64,
    /// Iterations that the loops of a model may take in a call, all together.
    pub max_iterations: u64,
}

impl Default for LoadOptions {
    /// The fastest instruction set of this CPU, 1 GiB, and 2^24 iterations.
    fn default() -> LoadOptions {
        LoadOptions { isa: Isa::detect(), max_arena_bytes: 1 << 30, max_iterations: 1 << 24 }
    }
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
    program: Program,
    digest: [u8; 32],
    target: Target,
    states: Vec<StatePort>,
    pub(crate) max_arena_bytes: u64,
    pub(crate) max_iterations: u64,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("inputs", &self.program.inputs)
            .field("outputs", &self.program.outputs)
            .field("states", &self.states)
            .field("nodes", &self.program.graph.nodes.len())
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
        let mut model = Model::of_network(file.network(), options)?;
        model.digest = file.root_digest();
        Ok(model)
    }

    /// Packs the weights of a network that is in no file. It has no digest: zeros, so that saved state
    /// fits every such model.
    ///
    /// # Errors
    /// As [`with_options`](Model::with_options).
    pub fn of_network(network: &Network<'_>, options: &LoadOptions) -> Result<Model, Error> {
        let target = Target::new(options.isa).ok_or(Error::IsaUnavailable(options.isa))?;
        let mut constants = Constants::new(network, target);
        let program = Program::new(network.graph().clone(), &mut constants)?;
        let graph = &program.graph;
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
            digest: [0; 32],
            target,
            states,
            max_arena_bytes: options.max_arena_bytes,
            max_iterations: options.max_iterations,
            program,
        })
    }

    /// The inputs, in the file's order.
    pub fn inputs(&self) -> &[Port] {
        &self.program.inputs
    }

    /// The outputs, in the file's order.
    pub fn outputs(&self) -> &[Port] {
        &self.program.outputs
    }

    /// What a stream carries from one step to the next.
    pub fn states(&self) -> &[StatePort] {
        &self.states
    }

    /// The graph, as the file holds it.
    pub fn graph(&self) -> &Graph {
        &self.program.graph
    }

    /// The file's root digest, which saved state is bound to.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The instruction set that its weights are packed for.
    pub fn isa(&self) -> Isa {
        self.target.isa()
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn target(&self) -> Target {
        self.target
    }
}
