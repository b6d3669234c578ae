//! Reading one ONNX node: its attributes and inputs, of which none may go unread.

use std::collections::HashSet;

use amq_format::Elements;
use amq_format::graph::{Activations, DataType, Dim, Op, Reshape, Transpose};
use prost::bytes::Bytes;

use super::builder::{Builder, Value};
use super::proto::{
    AttributeProto, AttributeType, ElementType, GraphProto, NodeProto, TensorProto,
};
use super::tensor::{MAX_RANK, Precision, Store, element};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How products take their activations until quantization decides otherwise.
pub(super) const FLOAT: i32 = Activations::F32 as i32;

/// One ONNX node while it is read.
///
/// Readers of operators ask it for attributes, inputs and outputs, and add operators of the
/// vocabulary through it. It remembers what was asked for, so that what a reader does not know is
/// refused and never ignored.
pub(super) struct Reader<'a, 'b> {
    /// Version of the operator set that the model uses.
    pub(super) opset: i64,
    pub(super) builder: &'a mut Builder,
    pub(super) store: &'a mut Store<'b>,
    node: &'a NodeProto,
    pub(super) name: String,
    pub(super) inputs: Vec<Option<Value>>,
    inputs_read: Vec<bool>,
    attributes_read: Vec<bool>,
    /// Whether anybody reads an output.
    wanted: Vec<bool>,
    outputs: Vec<Option<Value>>,
    /// The float type of its outputs, where it is not that of its first float input.
    pub(super) precision: Option<Precision>,
    /// The integer type in the model of the constant that it is.
    element: Option<ElementType>,
    pub(super) read_graph: ReadGraph,
}

/// Reads the initializers and nodes of a body, with what their names begin with.
pub(super) type ReadGraph = fn(&GraphProto, &str, i64, &mut Builder, &mut Store<'_>) -> Result<()>;

impl<'a, 'b> Reader<'a, 'b> {
    /// Prepares to read a node whose inputs are bound; `used` says which names anybody reads, and
    /// `read_graph` reads its bodies.
    pub(super) fn new(
        node: &'a NodeProto,
        name: String,
        opset: i64,
        builder: &'a mut Builder,
        store: &'a mut Store<'b>,
        used: impl Fn(&str) -> bool,
        read_graph: ReadGraph,
    ) -> Result<Self> {
        let find = |input: &String| match (input.as_str(), builder.lookup(input)) {
            ("", _) => Ok(None),
            (_, Some(value)) => Ok(Some(value)),
            (_, None) => Err(Error::bad_file(format!(
                "its input {input:?} is not defined by the graph before it"
            ))),
        };
        let inputs = node.input.iter().map(find).collect::<Result<Vec<_>>>()?;
        let mut names = HashSet::new();
        for attribute in &node.attribute {
            if !names.insert(&attribute.name) {
                return Err(Error::bad_file(format!(
                    "attribute {:?} is there twice",
                    attribute.name
                )));
            }
        }
        Ok(Reader {
            opset,
            builder,
            store,
            inputs_read: vec![false; inputs.len()],
            inputs,
            attributes_read: vec![false; node.attribute.len()],
            wanted: node.output.iter().map(|name| !name.is_empty() && used(name)).collect(),
            outputs: vec![None; node.output.len()],
            node,
            name,
            precision: None,
            element: None,
            read_graph,
        })
    }

    /// Refuses what was not read, rounds the outputs to the node's float type, and binds them.
    pub(super) fn finish(self) -> Result<()> {
        let floats = self.inputs.iter().flatten().filter(|&&x| self.data_type(x) == DataType::F32);
        let first = floats.map(|&x| self.builder.precision(x)).next();
        let precision = self.precision.or(first);
        // Legacy of opsets before 6, where it names inputs whose memory may be written.
        let nothing =
            |attribute: &AttributeProto| self.opset < 6 && attribute.name == "consumed_inputs";
        let mut attributes = self.node.attribute.iter().zip(&self.attributes_read);
        if let Some((attribute, _)) = attributes.find(|(a, read)| !**read && !nothing(a)) {
            return Err(Error::unsupported(format!(
                "its attribute {} = {} is not supported in opset {}",
                attribute.name,
                shown(attribute),
                self.opset
            ))
            .remedy("export the model without it"));
        }
        for (i, input) in self.node.input.iter().enumerate() {
            if !input.is_empty() && !self.inputs_read[i] {
                return Err(Error::unsupported(format!(
                    "its input {i} ({input:?}) is not supported in opset {}",
                    self.opset
                ))
                .remedy("export the model without it"));
            }
        }
        for (i, name) in self.node.output.iter().enumerate() {
            match self.outputs[i] {
                Some(mut value) if !name.is_empty() => {
                    if let Some(precision) = precision {
                        value = self.builder.rounded(&self.name, value, precision)?;
                    }
                    if let Some(element) = self.element {
                        self.builder.set_element(value, element);
                    }
                    self.builder.bind(name, value)?;
                }
                None if self.wanted[i] => {
                    return Err(Error::unsupported(format!(
                        "its output {i} ({name:?}) is used, but is not supported"
                    ))
                    .remedy("export the model so that nothing reads that output"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn attribute(
        &mut self,
        name: &str,
        expected: AttributeType,
    ) -> Result<Option<&'a AttributeProto>> {
        let Some(i) = self.node.attribute.iter().position(|a| a.name == name) else {
            return Ok(None);
        };
        let attribute = &self.node.attribute[i];
        if !attribute.ref_attr_name.is_empty() {
            return Err(Error::bad_file(format!(
                "attribute {name:?} refers to {:?} of a function, and the node stands in none",
                attribute.ref_attr_name
            )));
        }
        if attribute.r#type() != expected {
            return Err(Error::bad_file(format!(
                "attribute {name:?} is of type {:?} instead of {expected:?}",
                attribute.r#type()
            )));
        }
        self.attributes_read[i] = true;
        Ok(Some(attribute))
    }

    /// Reads an attribute of which nothing is needed.
    pub(super) fn skip(&mut self, name: &str) {
        let place = self.node.attribute.iter().position(|a| a.name == name);
        if let Some(i) = place {
            self.attributes_read[i] = true;
        }
    }

    /// An integer attribute.
    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>> {
        Ok(self.attribute(name, AttributeType::Int)?.map(|a| a.i))
    }

    /// An integer attribute that is 0 or 1, or absent for `default`.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => {
                Err(Error::bad_file(format!("attribute {name:?} is {other}, not 0 or 1")))
            }
        }
    }

    /// A float attribute.
    pub(super) fn float(&mut self, name: &str) -> Result<Option<f32>> {
        Ok(self.attribute(name, AttributeType::Float)?.map(|a| a.f))
    }

    /// A string attribute.
    pub(super) fn string(&mut self, name: &str) -> Result<Option<&'a str>> {
        self.attribute(name, AttributeType::String)?.map(|a| utf8(name, &a.s)).transpose()
    }

    /// An attribute of integers.
    pub(super) fn ints(&mut self, name: &str) -> Result<Option<&'a [i64]>> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|a| a.ints.as_slice()))
    }

    /// An attribute of floats.
    pub(super) fn floats(&mut self, name: &str) -> Result<Option<&'a [f32]>> {
        Ok(self.attribute(name, AttributeType::Floats)?.map(|a| a.floats.as_slice()))
    }

    /// An attribute of strings.
    pub(super) fn strings(&mut self, name: &str) -> Result<Option<Vec<&'a str>>> {
        self.attribute(name, AttributeType::Strings)?
            .map(|a| a.strings.iter().map(|s| utf8(name, s)).collect())
            .transpose()
    }

    /// An attribute that is a tensor.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let tensor = self.attribute(name, AttributeType::Tensor)?.map(|a| a.t.as_deref());
        tensor.map(|t| self.decode(t.unwrap_or(&TensorProto::default()))).transpose()
    }

    /// An attribute that is a sparse tensor.
    pub(super) fn sparse_tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        let attribute = self.attribute(name, AttributeType::SparseTensor)?;
        let Some(sparse) = attribute.and_then(|a| a.sparse_tensor.as_deref()) else {
            return Ok(None);
        };
        let (constant, precision) = self.store.sparse(sparse)?;
        self.precision = Some(precision);
        Ok(Some(constant))
    }

    fn decode(&mut self, tensor: &TensorProto) -> Result<Tensor> {
        let (constant, precision) = self.store.constant(tensor)?;
        (self.precision, self.element) = (Some(precision), Some(element(tensor)));
        Ok(constant)
    }

    /// Input `i`, which must be there.
    pub(super) fn input(&mut self, i: usize) -> Result<Value> {
        self.optional_input(i).ok_or_else(|| Error::bad_file(format!("its input {i} is missing")))
    }

    /// Input `i`, if it is there.
    pub(super) fn optional_input(&mut self, i: usize) -> Option<Value> {
        let value = *self.inputs.get(i)?;
        self.inputs_read[i] = true;
        value
    }

    /// All inputs, at least one.
    pub(super) fn inputs(&mut self) -> Result<Vec<Value>> {
        (0..self.inputs.len().max(1)).map(|i| self.input(i)).collect()
    }

    /// Elements of input `i`, which must be a shape or the like and not depend on data.
    pub(super) fn known_input(&mut self, i: usize) -> Result<Elements> {
        self.optional_known_input(i)?
            .ok_or_else(|| Error::bad_file(format!("its input {i} is missing")))
    }

    /// Elements of input `i`, if it is there.
    pub(super) fn optional_known_input(&mut self, i: usize) -> Result<Option<Elements>> {
        let Some(value) = self.optional_input(i) else { return Ok(None) };
        match self.builder.elements_of(value) {
            Some(elements) => Ok(Some(elements.clone())),
            None => Err(Error::unsupported(format!(
                "its input {i} ({:?}) depends on data, and would make a shape depend on data",
                self.node.input[i]
            ))
            .remedy("export the model so that shapes follow from the inputs' shapes alone")),
        }
    }

    /// Numbers of input `i`, if it is there.
    pub(super) fn optional_numbers(&mut self, i: usize) -> Result<Option<Vec<i64>>> {
        let Some(elements) = self.optional_known_input(i)? else { return Ok(None) };
        elements.numbers().map(Some).ok_or_else(|| {
            Error::unsupported(format!(
                "its input {i} ({:?}) depends on the inputs' shapes; only constants are supported",
                self.node.input[i]
            ))
        })
    }

    /// Number of inputs that the node names or leaves empty.
    pub(super) fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Number of outputs that the node names or leaves empty.
    pub(super) fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Whether the node names output `i`.
    pub(super) fn names_output(&self, i: usize) -> bool {
        self.node.output.get(i).is_some_and(|name| !name.is_empty())
    }

    /// Whether anybody reads output `i`.
    pub(super) fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// Gives output `i`.
    pub(super) fn give(&mut self, i: usize, value: Value) -> Result<()> {
        match self.outputs.get_mut(i) {
            Some(output) => *output = Some(value),
            None if i == 0 => return Err(Error::bad_file("it has no output")),
            None => {}
        }
        Ok(())
    }

    pub(super) fn data_type(&self, value: Value) -> DataType {
        self.builder.fact(value).data_type
    }

    pub(super) fn dims(&self, value: Value) -> Vec<Dim> {
        self.builder.fact(value).dims.clone()
    }

    pub(super) fn rank(&self, value: Value) -> usize {
        self.builder.fact(value).dims.len()
    }

    /// Name of one of several operators that the node becomes; the main one's `part` is empty.
    pub(super) fn part_name(&self, part: &str) -> String {
        if part.is_empty() { self.name.clone() } else { format!("{}/{part}", self.name) }
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, part: &str, constant: Tensor) -> Result<Value> {
        self.builder.constant(&self.part_name(part), constant)
    }

    /// Adds a scalar of f32.
    pub(super) fn scalar(&mut self, part: &str, value: f32) -> Result<Value> {
        self.constant(part, Tensor::scalar(value))
    }

    /// Adds a tensor of integers that are known.
    pub(super) fn known(&mut self, data_type: DataType, elements: Elements) -> Result<Value> {
        self.builder.elements(&self.name, data_type, elements)
    }

    /// Adds an operator with one output.
    pub(super) fn emit(&mut self, part: &str, op: Op, inputs: &[Value]) -> Result<Value> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.emit_one(part, op, &inputs)
    }

    /// Adds an operator with optional inputs and one output.
    pub(super) fn emit_one(
        &mut self,
        part: &str,
        op: Op,
        inputs: &[Option<Value>],
    ) -> Result<Value> {
        let outputs = self.emit_many(part, op, inputs, &[true])?;
        outputs
            .first()
            .copied()
            .flatten()
            .ok_or_else(|| Error::unsupported("its operator has no output here"))
    }

    /// Adds an operator with optional inputs and those outputs that are wanted.
    pub(super) fn emit_many(
        &mut self,
        part: &str,
        op: Op,
        inputs: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        self.builder.emit(&self.part_name(part), op, inputs, wanted)
    }

    /// The elements of `x` in another shape, which need no operator where they are in that shape
    /// already.
    pub(super) fn reshape(&mut self, part: &str, x: Value, dims: Vec<Dim>) -> Result<Value> {
        if self.dims(x) == dims {
            return Ok(x);
        }
        self.emit(part, Op::Reshape(Reshape { dims }), &[x])
    }

    /// `x` with its axes in another order.
    pub(super) fn transpose(&mut self, part: &str, x: Value, perm: &[u32]) -> Result<Value> {
        self.emit(part, Op::Transpose(Transpose { perm: perm.to_vec() }), &[x])
    }

    /// An axis from an attribute: negative ones count from the end of `rank` axes.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| Error::bad_file(format!("axis {axis} of a tensor with {rank} axes")))
    }

    /// Axes from an attribute or input, in the order given; none twice.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        if rank > MAX_RANK {
            return Err(Error::unsupported(format!("a tensor with {rank} axes")));
        }
        let mut seen = [false; MAX_RANK];
        let place = |&axis: &i64| {
            let place = self.axis(axis, rank)?;
            if std::mem::replace(&mut seen[place], true) {
                return Err(Error::bad_file(format!("axis {axis} is given twice")));
            }
            Ok(place)
        };
        axes.iter().map(place).collect()
    }
}

fn utf8<'a>(name: &str, bytes: &'a Bytes) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::bad_file(format!("attribute {name:?} is not UTF-8")))
}

/// An attribute's value for an error.
fn shown(attribute: &AttributeProto) -> String {
    let text = match attribute.r#type() {
        AttributeType::Float => attribute.f.to_string(),
        AttributeType::Int => attribute.i.to_string(),
        AttributeType::String => format!("{:?}", String::from_utf8_lossy(&attribute.s)),
        AttributeType::Floats => format!("{:?}", attribute.floats),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Strings => {
            let strings = attribute.strings.iter().map(|s| String::from_utf8_lossy(s));
            format!("{:?}", strings.collect::<Vec<_>>())
        }
        other => format!("a {other:?}"),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}
