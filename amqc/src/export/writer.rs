//! An ONNX graph that is being written: names, constants and nodes.

use std::collections::BTreeMap;

use amq_format::Fact;
use amq_format::graph::{ABSENT, DataType, Dim, Port, ValueId};
use prost::bytes::Bytes;

use crate::error::Result;
use crate::ir::{Module, Names, fact};
use crate::onnx::proto::{
    AttributeProto, DimensionProto, ElementType, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::tensor::{Data, Tensor};

/// How a constant matrix stands in an ONNX model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// As it is.
    Same,
    /// `[n, m]` in the place of `[m, n]`.
    Turned,
    /// `[M, C, kernel..]` in the place of `[M, kernel.., C]`.
    ChannelsFirst,
}

/// An ONNX graph that is being written.
pub(super) struct Writer<'a> {
    pub(super) module: &'a Module,
    facts: Vec<Option<Fact>>,
    names: Names,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Constants that are there.
    constants: BTreeMap<(ValueId, Layout), String>,
    /// Vectors of integers that are there.
    vectors: BTreeMap<Vec<i64>, String>,
    /// Vectors of one element that hold what names of dimensions stand for.
    pub(super) sizes: BTreeMap<String, String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(module: &'a Module) -> Result<Writer<'a>> {
        Ok(Writer {
            module,
            facts: module.facts()?,
            names: Names::of(module),
            nodes: Vec::new(),
            initializers: Vec::new(),
            constants: BTreeMap::new(),
            vectors: BTreeMap::new(),
            sizes: BTreeMap::new(),
        })
    }

    pub(super) fn finish(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        (self.nodes, self.initializers)
    }

    pub(super) fn inputs(&self) -> Vec<ValueInfoProto> {
        self.module.graph.inputs.iter().map(|port| self.port(port)).collect()
    }

    /// The graph's outputs. Those that are constants are written as such.
    pub(super) fn outputs(&mut self) -> Vec<ValueInfoProto> {
        for port in &self.module.graph.outputs {
            self.value(port.value);
        }
        self.module.graph.outputs.iter().map(|port| self.port(port)).collect()
    }

    fn port(&self, port: &Port) -> ValueInfoProto {
        let dim = port.dims.iter().map(|dim| DimensionProto {
            dim_value: dim.as_size(),
            dim_param: dim.as_name().map(str::to_owned),
        });
        let tensor_type = TensorTypeProto {
            elem_type: ElementType::from(port.data_type()) as i32,
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        };
        ValueInfoProto {
            name: self.module.name(port.value).to_owned(),
            r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        }
    }

    /// Type of a value's elements.
    pub(super) fn data_type(&self, value: ValueId) -> DataType {
        fact(&self.facts, value).map_or(DataType::F32, |fact| fact.data_type)
    }

    /// Shape of a value.
    pub(super) fn dims(&self, value: ValueId) -> &[Dim] {
        fact(&self.facts, value).map_or(&[], |fact| fact.dims.as_slice())
    }

    /// A name that nothing has.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        self.names.unique(wanted, '_')
    }

    /// The name of a value that a node reads, empty where it is absent.
    pub(super) fn value(&mut self, value: ValueId) -> String {
        match self.module.constant(value) {
            Some(_) => self.constant(value, Layout::Same),
            None => self.module.name(value).to_owned(),
        }
    }

    /// The name of a constant in a layout.
    pub(super) fn constant(&mut self, value: ValueId, layout: Layout) -> String {
        if let Some(name) = self.constants.get(&(value, layout)) {
            return name.clone();
        }
        let own = self.module.name(value).to_owned();
        let name = if layout == Layout::Same { own } else { self.fresh(&own) };
        if let Some(constant) = self.module.constant(value) {
            let laid_out = laid_out(constant, layout);
            self.initializer(&name, &laid_out);
        }
        self.constants.insert((value, layout), name.clone());
        name
    }

    fn initializer(&mut self, name: &str, tensor: &Tensor) {
        self.initializers.push(TensorProto {
            dims: tensor.dims.iter().map(|&dim| dim as i64).collect(),
            data_type: ElementType::from(tensor.data.data_type()) as i32,
            name: name.to_owned(),
            raw_data: Some(Bytes::from(tensor.data.to_bytes())),
            ..TensorProto::default()
        });
    }

    /// A constant that the file does not have.
    pub(super) fn own(&mut self, wanted: &str, dims: &[usize], data: Data) -> String {
        let name = self.fresh(wanted);
        self.initializer(&name, &Tensor { dims: dims.to_vec(), data });
        name
    }

    /// A float without axes.
    pub(super) fn scalar(&mut self, value: f32) -> String {
        self.own("number", &[], Data::F32(vec![value]))
    }

    /// A vector of integers.
    pub(super) fn integers(&mut self, all: &[i64]) -> String {
        if let Some(name) = self.vectors.get(all) {
            return name.clone();
        }
        let name = self.own("integers", &[all.len()], Data::I64(all.to_vec()));
        self.vectors.insert(all.to_vec(), name.clone());
        name
    }

    /// Adds a node that gives the outputs with these names.
    pub(super) fn node(
        &mut self,
        op: &str,
        mut inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) {
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        self.nodes.push(NodeProto {
            input: inputs,
            output: outputs,
            op_type: op.to_owned(),
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// Adds a node whose one output nobody else has named.
    pub(super) fn step(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.fresh(&op.to_lowercase());
        self.node(op, inputs, vec![name.clone()], attributes);
        name
    }

    /// A value without axes, of which `value` has the one element.
    pub(super) fn without_axes(&mut self, value: ValueId) -> String {
        let name = self.value(value);
        if value == ABSENT || self.dims(value).is_empty() {
            return name;
        }
        let none = self.integers(&[]);
        self.step("Reshape", vec![name, none], Vec::new())
    }

    /// A value as i64.
    pub(super) fn i64s(&mut self, value: ValueId) -> String {
        let name = self.value(value);
        if self.data_type(value) == DataType::I64 {
            return name;
        }
        let to = super::attribute::int("to", ElementType::Int64 as i32);
        self.step("Cast", vec![name], vec![to])
    }
}

fn laid_out(constant: &Tensor, layout: Layout) -> Tensor {
    let Data::F32(data) = &constant.data else { return constant.clone() };
    let mut dims = constant.dims.clone();
    // Each is a transposition of matrices that lie one after the other.
    let (rows, cols) = match layout {
        Layout::Same => return constant.clone(),
        Layout::Turned => {
            dims.reverse();
            (constant.dims[0], data.len().checked_div(constant.dims[0]).unwrap_or(0))
        }
        Layout::ChannelsFirst => {
            let channels = dims.pop().unwrap_or(1);
            dims.insert(1, channels);
            (dims[2..].iter().product(), channels)
        }
    };
    let mut out = Vec::with_capacity(data.len());
    for matrix in data.chunks_exact((rows * cols).max(1)) {
        for col in 0..cols {
            out.extend((0..rows).map(|row| matrix[row * cols + col]));
        }
    }
    Tensor { dims, data: Data::F32(out) }
}
