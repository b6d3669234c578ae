//! A node that the runtime computes by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::graph::{ABSENT, DataType, Graph, Node, Port};
use amq_runtime::Isa;

use super::layer::Inputs;
use crate::emit::emit;
use crate::error::Result;
use crate::fit::Fitted;
use crate::ir::{Module, fact};
use crate::loaded::Loaded;
use crate::plan::Plan;
use crate::tensor::{Tensor, views};

/// Elements of integers that may be sizes, which a node must know before it runs.
const MOST_SIZES: usize = 64;

/// A node, for inputs of some shapes.
#[derive(Clone, Debug)]
struct Single {
    loaded: Arc<Loaded>,
    /// Of each output whether the node has it.
    outputs: Vec<bool>,
    /// Inputs that are constants here, with what they are.
    constants: Vec<(usize, Tensor)>,
    /// The others.
    inputs: Vec<usize>,
}

impl Single {
    /// Makes a program of a node in whose sizes numbers stand, for inputs like these.
    ///
    /// # Errors
    /// What the node cannot take.
    fn new(path: &Path, isa: Isa, node: &Node, inputs: &Inputs<'_>) -> Result<Single> {
        let mut node = node.clone();
        let mut part = Module { graph: Graph::default(), ..Module::default() };
        part.graph.values.push(String::new());
        let (mut constants, mut fed) = (Vec::new(), Vec::new());
        for (index, (value, input)) in node.inputs.iter_mut().zip(inputs).enumerate() {
            let Some(tensor) = input.filter(|_| *value != ABSENT) else {
                *value = ABSENT;
                continue;
            };
            let name = format!("input {index}");
            let data_type = tensor.data.data_type();
            if data_type != DataType::F32 && tensor.data.len() <= MOST_SIZES {
                constants.push((index, (*tensor).clone()));
                *value = part.add_constant(name, (*tensor).clone());
                continue;
            }
            fed.push(index);
            *value = part.add_value(name);
            part.graph.inputs.push(Port {
                value: *value,
                data_type: data_type as i32,
                dims: tensor.dims.iter().map(|&size| (size as i64).into()).collect(),
                ..Port::default()
            });
        }
        let outputs: Vec<bool> = node.outputs.iter().map(|&value| value != ABSENT).collect();
        for (index, value) in node.outputs.iter_mut().enumerate() {
            if *value != ABSENT {
                *value = part.add_value(format!("output {index}"));
            }
        }
        let given = node.outputs.clone();
        part.graph.nodes.push(node);
        let facts = part.facts().map_err(|error| error.within(path.display()))?;
        let port = |&value: &u32| {
            let fact = fact(&facts, value)?;
            let data_type = fact.data_type as i32;
            Some(Port { value, data_type, dims: fact.dims.clone(), ..Port::default() })
        };
        part.graph.outputs = given.iter().filter_map(port).collect();
        let plan = Plan { matrices: Vec::new(), raised: Vec::new() };
        let draft = emit(part, &plan, &Fitted::default());
        let loaded = Loaded::of_draft(path, &draft, isa)?;
        Ok(Single { loaded: Arc::new(loaded), outputs, constants, inputs: fed })
    }

    /// Whether it was made for inputs like these.
    fn takes(&self, inputs: &Inputs<'_>) -> bool {
        self.constants.iter().all(|(index, constant)| inputs[*index] == Some(constant))
    }

    /// The node's outputs.
    ///
    /// # Errors
    /// What the runtime refuses.
    fn run(&self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let named = |&index: &usize| Some((format!("input {index}"), inputs[index]?.clone()));
        let named: Vec<(String, Tensor)> = self.inputs.iter().filter_map(named).collect();
        let mut session = self.loaded.session();
        let given = session.run(&views(&named)).map_err(|error| self.loaded.error(error))?;
        let mut given = given.iter().map(|(_, view)| Tensor::from(view));
        Ok(self.outputs.iter().map(|&there| if there { given.next() } else { None }).collect())
    }
}

/// A node whose program is made when inputs need another.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    isa: Isa,
    node: Node,
    single: Option<Single>,
}

impl Program {
    /// Of a node in whose sizes numbers stand.
    pub(super) fn new(path: &Path, isa: Isa, node: &Node) -> Program {
        Program { path: path.to_owned(), isa, node: node.clone(), single: None }
    }

    /// That of another node.
    pub(super) fn of(&self, node: Node) -> Program {
        Program { path: self.path.clone(), isa: self.isa, node, single: None }
    }

    /// The node.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The node's outputs, for inputs that have the same shapes each time.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn run(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let single = match self.single.take() {
            Some(single) if single.takes(inputs) => single,
            _ => Single::new(&self.path, self.isa, &self.node, inputs)?,
        };
        self.single.insert(single).run(inputs)
    }
}
