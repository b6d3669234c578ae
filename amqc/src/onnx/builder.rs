//! The module under construction: what each ONNX value has become.

use std::collections::{HashMap, HashSet};

use amq_format::graph::{ABSENT, Cast, DataType, Dim, Dims, Node, Op, Reshape, Unary, ValueId};
use amq_format::{Elements, Fact, Fault, Inference};
use prost::Message;

use super::kept::chooses;
use super::missing::Refusals;
use super::notes::Notes;
use super::proto::ElementType;
use super::tensor::Precision;
use crate::error::{Error, Result};
use crate::ir::{Module, Names, node};
use crate::tensor::{Data, Tensor};

/// A value of the ONNX graph, or one between the operators that an ONNX node became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value(pub(super) usize);

/// What is known of a value.
pub(super) struct Entry {
    /// Its name in the module, once it is there.
    pub(super) name: String,
    pub(super) fact: Fact,
    precision: Precision,
    /// The type that it has in the model, where that is of fewer bits than the one that holds it.
    narrower: Option<ElementType>,
    /// What it was made of, where it is part of the arithmetic of a quantized model.
    origin: Option<Origin>,
    /// Its place in the module. Constants and shapes get one when an operator reads them as data.
    pub(super) id: Option<ValueId>,
    constant: Option<Tensor>,
    /// What it is, where it is no tensor.
    pub(super) structure: Option<Structure>,
    /// Whether an ONNX value is bound to it, so that its name stays.
    bound: bool,
}

/// What a value of the arithmetic of quantized models was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// x in integers from `low` to `high`.
    Quantized { x: Value, scale: Value, zero: Option<Value>, low: f32, high: f32 },
    /// x in integers, by a scale that follows from it.
    Dynamic { x: Value, scale: Value },
    /// Such a scale.
    DynamicScale,
    /// Such a scale, multiplied by something.
    Scaled { scale: Value, by: Value },
    /// A product of integers, or what is added to one, which in floats is `float / scale`.
    Product { float: Value, scale: Value },
}

/// A value that is no tensor. What is in it is known, and no operator is left of it.
#[derive(Clone, Debug)]
pub(super) enum Structure {
    /// Tensors in their order.
    Sequence(Vec<Value>),
    /// An optional value that is not there.
    Nothing,
}

/// The most bytes that one dimension may take, as it is written to a file.
const MAX_DIM: usize = 2048;

/// The most bytes that all dimensions and known elements may take together.
const MAX_DIMS: usize = 64 << 20;

/// Builds a module.
#[derive(Default)]
pub(super) struct Builder {
    /// Bytes that dimensions and known elements take.
    dims_bytes: usize,
    pub(super) module: Module,
    pub(super) notes: Notes,
    pub(super) refusals: Refusals,
    /// Inputs of the graph that are constants although the model has them as inputs or defaults.
    fixed: HashSet<String>,
    pub(super) inference: Inference,
    pub(super) entries: Vec<Entry>,
    bindings: HashMap<String, Value>,
    /// Of each value of the module that has one, its entry.
    pub(super) owners: HashMap<ValueId, usize>,
    /// Names that dimensions have.
    dim_names: HashSet<String>,
    /// Of each body that is being read, the names that are bound in it.
    scopes: Vec<Vec<String>>,
    names: Names,
}

impl Builder {
    /// Keeps a name of the ONNX graph from being given to another value.
    pub(super) fn reserve(&mut self, name: &str) {
        self.names.reserve(name);
    }

    /// A name for a value that ONNX does not name.
    pub(super) fn fresh_name(&mut self, wanted: &str) -> String {
        self.names.unique(wanted, '_')
    }

    /// The value bound to an ONNX name.
    pub(super) fn lookup(&self, name: &str) -> Option<Value> {
        self.bindings.get(name).copied()
    }

    /// Begins a body: names bound from now on are forgotten when it ends.
    pub(super) fn enter(&mut self) {
        self.scopes.push(Vec::new());
    }

    /// Ends a body.
    pub(super) fn leave(&mut self) {
        for name in self.scopes.pop().unwrap_or_default() {
            self.bindings.remove(&name);
        }
    }

    /// Keeps a name of a dimension from being given to another.
    pub(super) fn reserve_dim(&mut self, name: &str) {
        self.dim_names.insert(name.to_owned());
    }

    /// A name for a dimension.
    pub(super) fn fresh_dim(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.dim_names.insert(name.clone()) {
            name.push('\'');
        }
        name
    }

    /// The names that dimensions have.
    pub(super) fn dim_names(&self) -> &HashSet<String> {
        &self.dim_names
    }

    pub(super) fn set_id(&mut self, value: Value, id: ValueId) {
        self.entries[value.0].id = Some(id);
        self.owners.insert(id, value.0);
    }

    /// Makes a constant of an input of the graph, which has this float type if it is one.
    pub(super) fn fix(&mut self, name: &str, constant: Tensor, precision: Precision) -> Result<()> {
        self.fixed.insert(name.to_owned());
        let value = self.constant(name, constant)?;
        self.set_precision(value, precision);
        self.bind(name, value)
    }

    /// Whether an input of the graph was made a constant.
    pub(super) fn is_fixed(&self, name: &str) -> bool {
        self.scopes.is_empty() && self.fixed.contains(name)
    }

    /// Binds an ONNX name to a value, which takes the name if it has none of ONNX yet. Names of bodies
    /// do not leave them: values are not called so.
    pub(super) fn bind(&mut self, name: &str, value: Value) -> Result<()> {
        if self.bindings.insert(name.to_owned(), value).is_some() {
            return Err(Error::bad_file(format!("the value {name:?} is defined twice")));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(name.to_owned());
            return Ok(());
        }
        let entry = &mut self.entries[value.0];
        if !entry.bound {
            entry.bound = true;
            name.clone_into(&mut entry.name);
            if let Some(id) = entry.id {
                name.clone_into(&mut self.module.graph.values[id as usize]);
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, name: String, fact: Fact) -> Result<Value> {
        let dims = fact.dims.iter().chain(fact.value.iter().flat_map(|e| &e.values));
        for dim in dims {
            let bytes = dim.encoded_len();
            if bytes > MAX_DIM {
                return Err(Error::unsupported("an expression of dimensions is too complex"));
            }
            self.dims_bytes += bytes + size_of::<Dim>();
        }
        if self.dims_bytes > MAX_DIMS {
            return Err(Error::unsupported("the model computes too many shapes"));
        }
        let precision = Precision::default();
        self.entries.push(Entry {
            name,
            fact,
            precision,
            narrower: None,
            origin: None,
            id: None,
            constant: None,
            structure: None,
            bound: false,
        });
        Ok(Value(self.entries.len() - 1))
    }

    /// An input of the graph, already named.
    pub(super) fn input(&mut self, name: &str, fact: Fact) -> Result<Value> {
        let id = self.module.add_value(name);
        let value = self.push(name.to_owned(), fact)?;
        self.set_id(value, id);
        self.bind(name, value)?;
        Ok(value)
    }

    /// A constant, named when it is bound or else `wanted`.
    pub(super) fn constant(&mut self, wanted: &str, constant: Tensor) -> Result<Value> {
        let name = self.fresh_name(wanted);
        let value = self.push(name, constant.fact())?;
        self.entries[value.0].constant = Some(constant);
        Ok(value)
    }

    /// A tensor of integers that are known.
    pub(super) fn elements(
        &mut self,
        wanted: &str,
        data_type: DataType,
        elements: Elements,
    ) -> Result<Value> {
        let name = self.fresh_name(wanted);
        self.push(name, Fact::known(data_type, elements))
    }

    pub(super) fn fact(&self, value: Value) -> &Fact {
        &self.entries[value.0].fact
    }

    /// The float type that a value has in the model.
    pub(super) fn precision(&self, value: Value) -> Precision {
        self.entries[value.0].precision
    }

    /// Says which float type a value has in the model, whose elements are such.
    pub(super) fn set_precision(&mut self, value: Value, precision: Precision) {
        self.entries[value.0].precision = precision;
    }

    /// The type that a value has in the model.
    pub(super) fn element(&self, value: Value) -> ElementType {
        let entry = &self.entries[value.0];
        entry.narrower.unwrap_or(match entry.fact.data_type {
            DataType::F32 => match entry.precision {
                Precision::F32 => ElementType::Float,
                Precision::F16 => ElementType::Float16,
                Precision::Bf16 => ElementType::Bfloat16,
                Precision::F64 => ElementType::Double,
            },
            other => other.into(),
        })
    }

    /// Says which type a value has in the model; of wide floats its precision says it.
    pub(super) fn set_element(&mut self, value: Value, element: ElementType) {
        use ElementType as E;
        let wide = matches!(element, E::Float | E::Float16 | E::Bfloat16 | E::Double);
        self.entries[value.0].narrower = Some(element).filter(|_| !wide);
    }

    /// What a value of a quantized model's arithmetic was made of.
    pub(super) fn origin(&self, value: Value) -> Option<Origin> {
        self.entries[value.0].origin
    }

    /// Says what a value was made of.
    pub(super) fn set_origin(&mut self, value: Value, origin: Origin) {
        self.entries[value.0].origin = Some(origin);
    }

    /// The value in a float type of the model; what is no float stays.
    pub(super) fn rounded(
        &mut self,
        name: &str,
        value: Value,
        precision: Precision,
    ) -> Result<Value> {
        let Entry { fact, precision: found, .. } = &self.entries[value.0];
        if fact.data_type != DataType::F32 || *found == precision {
            return Ok(value);
        }
        let rounded = match precision.rounding() {
            Some(function) => {
                let op = Op::Unary(Unary { function: function.into(), ..Unary::default() });
                let outputs = self.emit(&format!("{name}/round"), op, &[Some(value)], &[true])?;
                outputs.into_iter().flatten().next().unwrap_or(value)
            }
            None if self.entries[value.0].bound => self.again(value)?,
            None => value,
        };
        self.set_precision(rounded, precision);
        Ok(rounded)
    }

    /// The same value once more, so that something else can be known of it.
    fn again(&mut self, value: Value) -> Result<Value> {
        let id = self.id(value)?;
        let Entry { name, fact, .. } = &self.entries[value.0];
        let again = self.push(name.clone(), fact.clone())?;
        let entry = &mut self.entries[again.0];
        (entry.id, entry.bound) = (Some(id), true);
        Ok(again)
    }

    pub(super) fn elements_of(&self, value: Value) -> Option<&Elements> {
        self.entries[value.0].fact.value.as_deref()
    }

    pub(super) fn constant_of(&self, value: Value) -> Option<&Tensor> {
        let entry = &self.entries[value.0];
        entry.constant.as_ref().or_else(|| self.module.constant(entry.id?))
    }

    /// The value's number in the module, to which constants and shapes are added now.
    pub(super) fn id(&mut self, value: Value) -> Result<ValueId> {
        let entry = &mut self.entries[value.0];
        if let Some(id) = entry.id {
            return Ok(id);
        }
        if entry.structure.is_some() {
            return Err(Error::unsupported(
                "a sequence, or an optional value, is taken as a tensor",
            )
            .remedy("export the model with tensors alone"));
        }
        let name = entry.name.clone();
        let constant = match (entry.constant.take(), &entry.fact.value) {
            (None, Some(elements)) => elements
                .numbers()
                .map(|numbers| {
                    let data = Data::from_integers(entry.fact.data_type, &numbers);
                    let data = data.ok_or_else(|| {
                        Error::unsupported(format!("an element of {name:?} does not fit its type"))
                    })?;
                    Ok(Tensor { dims: elements.dims.clone(), data })
                })
                .transpose()?,
            (constant, _) => constant,
        };
        let id = match constant {
            Some(constant) => self.module.add_constant(name, constant),
            None => self.computed_shape(value, &name)?,
        };
        self.set_id(value, id);
        Ok(id)
    }

    /// Adds the operators that give a shape as data.
    fn computed_shape(&mut self, value: Value, name: &str) -> Result<ValueId> {
        let entry = &self.entries[value.0];
        let fact = entry.fact.clone();
        let values = fact.value.map(|known| known.values.clone()).unwrap_or_default();
        let mut steps = vec![Op::Dims(Dims { dims: values.clone() })];
        if fact.data_type != DataType::I64 {
            steps.push(Op::Cast(Cast { to: fact.data_type.into() }));
        }
        if fact.dims != [Dim::from(values.len() as i64)] {
            steps.push(Op::Reshape(Reshape { dims: fact.dims }));
        }
        let last = steps.len() - 1;
        let mut input = ABSENT;
        for (i, op) in steps.into_iter().enumerate() {
            let part = if i == last {
                name.to_owned()
            } else {
                self.fresh_name(&format!("{name}/{}", ["dims", "cast"][i]))
            };
            let output = self.module.add_value(part.clone());
            let inputs = if input == ABSENT { Vec::new() } else { vec![input] };
            self.module.add_node(&part, op, inputs, vec![output]);
            input = output;
        }
        Ok(input)
    }

    /// Adds an operator and gives those of its outputs that are wanted. Where their elements are
    /// known, nothing needs to be computed and nothing is added.
    pub(super) fn emit(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        self.emit_giving(name, op, inputs, wanted, Vec::new())
    }

    /// As [`Builder::emit`], of an operator that gives sizes under these names.
    pub(super) fn emit_giving(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<Value>],
        wanted: &[bool],
        binds: Vec<String>,
    ) -> Result<Vec<Option<Value>>> {
        let present = inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let inputs = &inputs[..present];
        let kept = wanted.iter().rposition(|&wanted| wanted).map_or(0, |last| last + 1);
        let mut node = Node { binds, ..node(name, op, Vec::new(), vec![ABSENT; kept]) };
        let inferred = self.infer(&node, inputs)?;
        let precision = self.kept_precision(node.op.as_ref(), inputs);
        let narrower: Vec<_> =
            inferred.iter().map(|fact| self.kept_narrower(&node, inputs, fact)).collect();
        let known = node.binds.is_empty()
            && inferred.iter().zip(wanted).all(|(fact, wanted)| !wanted || fact.value.is_some());
        if !known {
            node.inputs = inputs
                .iter()
                .map(|input| input.map_or(Ok(ABSENT), |value| self.id(value)))
                .collect::<Result<_>>()?;
        }
        let mut outputs = vec![None; wanted.len()];
        for (i, fact) in inferred.into_iter().enumerate().filter(|(i, _)| wanted[*i]) {
            let name = self.fresh_name(name);
            let value = self.push(name.clone(), fact)?;
            self.set_precision(value, precision);
            self.entries[value.0].narrower = narrower[i];
            if !known {
                let id = self.module.add_value(name);
                self.set_id(value, id);
                node.outputs[i] = id;
            }
            outputs[i] = Some(value);
        }
        if !known {
            self.module.graph.nodes.push(node);
        }
        Ok(outputs)
    }

    /// The float type of what an operator gives: that of its inputs where it only chooses among their
    /// elements, else f32.
    fn kept_precision(&self, op: Option<&Op>, inputs: &[Option<Value>]) -> Precision {
        let floats = inputs.iter().flatten().map(|value| &self.entries[value.0]);
        let mut floats = floats.filter(|entry| entry.fact.data_type == DataType::F32);
        let first = floats.next().map_or(Precision::default(), |entry| entry.precision);
        match chooses(op) && floats.all(|entry| entry.precision == first) {
            true => first,
            false => Precision::default(),
        }
    }

    /// The type of fewer bits of what a node gives: that of the first input whose elements it may choose.
    fn kept_narrower(
        &self,
        node: &Node,
        inputs: &[Option<Value>],
        given: &Fact,
    ) -> Option<ElementType> {
        let inputs = inputs.iter().flatten().map(|value| &self.entries[value.0]);
        let mut same = inputs.filter(|entry| entry.fact.data_type == given.data_type);
        same.next().filter(|_| chooses(node.op.as_ref()))?.narrower
    }

    fn infer(&mut self, node: &Node, inputs: &[Option<Value>]) -> Result<Vec<Fact>> {
        let entries = &self.entries;
        let facts: Vec<_> =
            inputs.iter().map(|input| input.map(|value| &entries[value.0].fact)).collect();
        self.inference.node(node, &facts).map_err(|fault| refused(node, &fault))
    }
}

pub(super) fn refused(node: &Node, fault: &Fault) -> Error {
    let op = node.op.as_ref().map_or("no operator", Op::name);
    Error::unsupported(format!("{op}: {fault}"))
}
