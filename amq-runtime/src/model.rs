//! A loaded model: checked, its weights packed for one instruction set, and never changed again.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use amq_format::graph::{self, Graph, ValueId};
use amq_format::{Network, Validated};

use crate::error::{Error, MisfitKind};
use crate::kernels::{Isa, Target};
use crate::product::Packer;
use crate::program::{Port, Program};
use crate::weights::Constants;
use crate::workers::{Alone, Workers};

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
        Model::with_workers(file, options, &Alone)
    }

    /// As [`with_options`](Model::with_options), with threads that the caller lends: large weights are
    /// packed by several. The model does not depend on them.
    ///
    /// # Errors
    /// As [`with_options`](Model::with_options).
    pub fn with_workers(
        file: &Validated<'_>,
        options: &LoadOptions,
        workers: &dyn Workers,
    ) -> Result<Model, Error> {
        let model = Model::new(file.network(), None, options, workers)?;
        Ok(Model { digest: file.root_digest(), ..model })
    }

    /// A model whose weights stay in the file, for devices with little memory: it takes little beside
    /// what lies there, in flash or in a mapped file. Products pack rows as they meet them, so that
    /// calls with few vectors take several times as long; results are the same.
    ///
    /// Kernels of depthwise convolutions are copied. Elements of plain constants, biases among them, are, too, where
    /// they are not aligned: let the file begin at a multiple of 8 bytes.
    ///
    /// # Errors
    /// As [`with_options`](Model::with_options).
    pub fn in_file(file: &Validated<'static>, options: &LoadOptions) -> Result<Model, Error> {
        let network = file.network();
        let model = Model::new(network, Some(network), options, &Alone)?;
        Ok(Model { digest: file.root_digest(), ..model })
    }

    /// Packs the weights of a network that is in no file. It has no digest: zeros, so that saved state
    /// fits every such model.
    ///
    /// # Errors
    /// As [`with_options`](Model::with_options).
    pub fn of_network(network: &Network<'_>, options: &LoadOptions) -> Result<Model, Error> {
        Model::new(network, None, options, &Alone)
    }

    fn new(
        network: &Network<'_>,
        kept: Option<&Network<'static>>,
        options: &LoadOptions,
        workers: &dyn Workers,
    ) -> Result<Model, Error> {
        let target = Target::new(options.isa).ok_or(Error::IsaUnavailable(options.isa))?;
        let mut constants = Constants::new(network, Packer { target, workers });
        constants.kept = kept;
        let program = Program::new(network.graph().clone(), &mut constants)?;
        let graph = &program.graph;
        let number = |ports: &[graph::Port], value: ValueId| {
            let at = ports.iter().position(|port| port.value == value);
            at.ok_or_else(|| {
                let what = format!("value {value} is no input or output");
                Error::state(MisfitKind::Model, "", what)
            })
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

    /// The number of the input of this name, by which calls find it at once: see
    /// [`Session::run_by_number`](crate::Session::run_by_number).
    pub fn input_number(&self, name: &str) -> Option<usize> {
        self.inputs().iter().position(|port| port.name == name)
    }

    /// The number of the output of this name: see [`Outputs::at`](crate::Outputs::at).
    pub fn output_number(&self, name: &str) -> Option<usize> {
        self.outputs().iter().position(|port| port.name == name)
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
