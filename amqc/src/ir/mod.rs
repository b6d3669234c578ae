//! The compiler's intermediate representation: the vocabulary of [`amq_format::graph`] with
//! constants as plain vectors.

mod bodies;
mod check;
mod compact;
mod sizes;
mod text;
mod uses;

pub use bodies::Place;
pub(crate) use bodies::{Outermost, Part, drop_unread, enclose, set_input, visit};
pub(crate) use compact::compact;
pub(crate) use sizes::settle;
pub(crate) use uses::{fact, in_order, producers};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amq_format::graph::{self, ABSENT, Graph, Node, Op, ValueId};
use amq_format::{Fact, Inference};

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A network on its way from ONNX to an `.amq` file.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its operators. Tensors are empty until the module is emitted; [`Module::constants`] has them.
    pub graph: Graph,
    /// Its constants, by the value that each gives. Copies of the module share them.
    pub constants: BTreeMap<ValueId, Arc<Tensor>>,
    /// What the user should know, such as a changed precision.
    pub notes: Vec<String>,
    /// Most bytes of what is computed of constants, each element counted as 8.
    pub folded_bytes: u64,
    /// Modules of the source program that nodes come from, by the names of the nodes.
    pub scopes: BTreeMap<String, String>,
}

impl Default for Module {
    fn default() -> Self {
        let graph = Graph { values: vec![String::new()], ..Graph::default() };
        Module {
            graph,
            constants: BTreeMap::new(),
            notes: Vec::new(),
            folded_bytes: u64::MAX,
            scopes: BTreeMap::new(),
        }
    }
}

impl Module {
    /// Adds a value. Its name must be unique in the module.
    pub fn add_value(&mut self, name: impl Into<String>) -> ValueId {
        let id = self.graph.values.len() as ValueId;
        self.graph.values.push(name.into());
        id
    }

    /// Adds a value that is a constant. Its name must be unique in the module.
    pub fn add_constant(&mut self, name: impl Into<String>, constant: Tensor) -> ValueId {
        let id = self.add_value(name);
        self.constants.insert(id, Arc::new(constant));
        id
    }

    /// A constant; none where the value is none.
    pub fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.constants.get(&value).map(Arc::as_ref)
    }

    /// Adds an operator after the others.
    pub fn add_node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, outputs: Vec<ValueId>) {
        self.graph.nodes.push(node(name, op, inputs, outputs));
    }

    /// Name of a value; empty for [`ABSENT`] and for a number that is no value's.
    pub fn name(&self, value: ValueId) -> &str {
        self.graph.values.get(value as usize).map_or("", String::as_str)
    }

    /// Type and shape of every value, by its number, as the operators' own rules give them.
    ///
    /// # Errors
    /// An operator cannot take the inputs that it has.
    pub fn facts(&self) -> Result<Vec<Option<Fact>>> {
        let mut facts = vec![None; self.graph.values.len()];
        let set = |facts: &mut Vec<Option<Fact>>, value: ValueId, fact| {
            if let Some(slot) = facts.get_mut(value as usize)
                && value != ABSENT
            {
                *slot = Some(fact);
            }
        };
        for port in &self.graph.inputs {
            set(&mut facts, port.value, Fact::new(port.data_type(), port.dims.clone()));
        }
        for (&value, constant) in &self.constants {
            set(&mut facts, value, constant.fact());
        }
        let mut inference = Inference::default();
        for node in &self.graph.nodes {
            let fact = |&value: &ValueId| facts.get(value as usize).and_then(Option::as_ref);
            let inputs: Vec<_> = node.inputs.iter().map(fact).collect();
            let inferred = inference.node(node, &inputs).map_err(|fault| {
                let op = node.op.as_ref().map_or("no operator", Op::name);
                Error::unsupported(format!("node {:?} ({op}): {fault}", node.name))
            })?;
            for (&value, fact) in node.outputs.iter().zip(inferred) {
                set(&mut facts, value, fact);
            }
        }
        Ok(facts)
    }
}

/// Names that are taken, each with the number that is tried next where it is wanted again: so many
/// wishes for one name do not each begin at 1.
#[derive(Default)]
pub(crate) struct Names(HashMap<String, usize>);

impl Names {
    /// The names of a module's values.
    pub(crate) fn of(module: &Module) -> Names {
        Names(module.graph.values.iter().map(|name| (name.clone(), 1)).collect())
    }

    /// Takes a name.
    pub(crate) fn reserve(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_insert(1);
    }

    /// Takes `wanted`, or it with a number, so that nothing else has the name.
    pub(crate) fn unique(&mut self, wanted: &str, separator: char) -> String {
        let mut name = wanted.to_owned();
        if let Some(&last) = self.0.get(wanted).or(wanted.is_empty().then_some(&1)) {
            let mut number = last;
            while name.is_empty() || self.0.contains_key(&name) {
                number += 1;
                name = format!("{wanted}{separator}{number}");
            }
            self.0.insert(wanted.to_owned(), number);
        }
        self.reserve(&name);
        name
    }
}

/// A node in the version of its operator that this crate writes.
pub(crate) fn node(name: &str, op: Op, inputs: Vec<ValueId>, outputs: Vec<ValueId>) -> Node {
    Node { name: name.to_owned(), inputs, outputs, version: 1, op: Some(op), ..Node::default() }
}

/// The description of a constant that is stored as it is.
pub(crate) fn plain_tensor(value: ValueId, constant: &Tensor) -> graph::Tensor {
    graph::Tensor {
        value,
        data_type: constant.data.data_type() as i32,
        dims: constant.dims.iter().map(|&dim| dim as u64).collect(),
        section: 0,
        multi_bit: None,
    }
}
