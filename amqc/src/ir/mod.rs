//! The compiler's intermediate representation: the vocabulary of [`amq_format::graph`] with
//! constants as plain vectors.

mod check;
mod compact;
mod text;

pub(crate) use compact::compact;

use std::collections::{BTreeMap, HashMap};

use amq_format::graph::{ABSENT, DataType, Dim, Graph, Node, Op, ValueId};
use amq_runtime::{Fact, infer};

use crate::error::{Error, Result};

/// A network on its way from ONNX to an `.amq` file.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its operators. Tensors are empty until the module is emitted; [`Module::constants`] has them.
    pub graph: Graph,
    /// Its constants, by the value that each gives.
    pub constants: BTreeMap<ValueId, Constant>,
    /// What the user should know, such as a changed precision.
    pub notes: Vec<String>,
}

/// A constant tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements, as many as the product of the shape.
    pub data: ConstantData,
}

/// Elements of a constant.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the types say it")]
pub enum ConstantData {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    /// Bytes that are 0 or 1.
    Bool(Vec<u8>),
}

impl ConstantData {
    /// Type of the elements.
    pub fn data_type(&self) -> DataType {
        match self {
            ConstantData::F32(_) => DataType::F32,
            ConstantData::I64(_) => DataType::I64,
            ConstantData::I32(_) => DataType::I32,
            ConstantData::U8(_) => DataType::U8,
            ConstantData::I8(_) => DataType::I8,
            ConstantData::Bool(_) => DataType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ConstantData::F32(data) => data.len(),
            ConstantData::I64(data) => data.len(),
            ConstantData::I32(data) => data.len(),
            ConstantData::U8(data) | ConstantData::Bool(data) => data.len(),
            ConstantData::I8(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as integers, where they are integers or bool.
    pub fn integers(&self) -> Option<Vec<i64>> {
        Some(match self {
            ConstantData::F32(_) => return None,
            ConstantData::I64(data) => data.clone(),
            ConstantData::I32(data) => data.iter().map(|&i| i.into()).collect(),
            ConstantData::U8(data) | ConstantData::Bool(data) => {
                data.iter().map(|&i| i.into()).collect()
            }
            ConstantData::I8(data) => data.iter().map(|&i| i.into()).collect(),
        })
    }

    /// Integers as elements of an integer type or bool, if they fit it.
    pub fn from_integers(data_type: DataType, integers: &[i64]) -> Option<ConstantData> {
        fn fit<T: TryFrom<i64>>(integers: &[i64]) -> Option<Vec<T>> {
            integers.iter().map(|&i| T::try_from(i).ok()).collect()
        }
        Some(match data_type {
            DataType::F32 => return None,
            DataType::I64 => ConstantData::I64(integers.to_vec()),
            DataType::I32 => ConstantData::I32(fit(integers)?),
            DataType::U8 => ConstantData::U8(fit(integers)?),
            DataType::I8 => ConstantData::I8(fit(integers)?),
            DataType::Bool => {
                let bytes: Vec<u8> = fit(integers)?;
                bytes.iter().all(|&b| b < 2).then_some(ConstantData::Bool(bytes))?
            }
        })
    }
}

impl Constant {
    /// A constant without axes.
    pub fn scalar(value: f32) -> Constant {
        Constant { dims: Vec::new(), data: ConstantData::F32(vec![value]) }
    }

    /// Its type and shape.
    pub fn fact(&self) -> Fact {
        let dims = self.dims.iter().map(|&d| Dim::from(i64::try_from(d).unwrap_or(i64::MAX)));
        Fact { data_type: self.data.data_type(), dims: dims.collect() }
    }
}

impl Default for Module {
    fn default() -> Self {
        let graph = Graph { values: vec![String::new()], ..Graph::default() };
        Module { graph, constants: BTreeMap::new(), notes: Vec::new() }
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
    pub fn add_constant(&mut self, name: impl Into<String>, constant: Constant) -> ValueId {
        let id = self.add_value(name);
        self.constants.insert(id, constant);
        id
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
            set(
                &mut facts,
                port.value,
                Fact { data_type: port.data_type(), dims: port.dims.clone() },
            );
        }
        for (&value, constant) in &self.constants {
            set(&mut facts, value, constant.fact());
        }
        for node in &self.graph.nodes {
            let inputs: Vec<_> =
                node.inputs.iter().map(|&v| facts.get(v as usize).cloned().flatten()).collect();
            let inferred = infer(node, &inputs).map_err(|e| Error::unsupported(e.to_string()))?;
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
    Node { name: name.to_owned(), inputs, outputs, version: 1, bodies: Vec::new(), op: Some(op) }
}
