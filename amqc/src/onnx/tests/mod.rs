//! Small models, built here, and what they become.

mod composed;
mod control;
mod functions;
mod hostile;
mod missing;
mod old;
mod operators;
mod quantized;
mod recurrent;
mod sequences;
mod shapes;
mod sizes;
mod strict;

use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;

use super::load::{Limits, Source};
pub(crate) use super::proto::*;
use crate::error::Result;
use crate::interface::Interface;
use crate::ir::Module;

/// An attribute's value.
#[allow(clippy::large_enum_variant, reason = "there are few")]
#[derive(Clone)]
pub(crate) enum A<'a> {
    I(i64),
    F(f32),
    S(&'a str),
    Is(&'a [i64]),
    Fs(&'a [f32]),
    Ss(&'a [&'a str]),
    T(TensorProto),
    G(GraphProto),
}

/// A model under construction.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) model: ModelProto,
}

impl TensorProto {
    /// The tensor with its data in another file.
    pub(crate) fn kept_in(self, location: &str) -> TensorProto {
        let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
        TensorProto {
            raw_data: None,
            data_location: TensorProto::EXTERNAL,
            external_data: vec![entry],
            ..self
        }
    }
}

pub(crate) fn f32s(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    let raw = data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: ElementType::Float as i32,
        raw_data: Some(Bytes::from(raw)),
        ..TensorProto::default()
    }
}

pub(crate) fn i64s(name: &str, dims: &[i64], data: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: ElementType::Int64 as i32,
        int64_data: data.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn bools(name: &str, dims: &[i64], data: &[u8]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: ElementType::Bool as i32,
        raw_data: Some(Bytes::copy_from_slice(data)),
        ..TensorProto::default()
    }
}

fn names(list: &str) -> Vec<String> {
    list.split_whitespace().map(|name| if name == "_" { "" } else { name }.to_owned()).collect()
}

impl Build {
    pub(crate) fn new(opset: i64) -> Build {
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
        let graph = Some(GraphProto::default());
        Build { model: ModelProto { ir_version: 8, opset_import, graph, ..ModelProto::default() } }
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }

    /// A typed input; sizes that are no numbers are names, and "_" is not known.
    pub(crate) fn typed(mut self, name: &str, element: ElementType, dims: &str) -> Build {
        let dim = |size: &str| DimensionProto {
            dim_value: size.parse().ok(),
            dim_param: (size.parse::<i64>().is_err() && size != "_").then(|| size.to_owned()),
        };
        let shape = TensorShapeProto { dim: dims.split_whitespace().map(dim).collect() };
        let tensor = TensorTypeProto { elem_type: element as i32, shape: Some(shape) };
        let r#type = Some(TypeProto { tensor_type: Some(tensor) });
        self.graph().input.push(ValueInfoProto { name: name.into(), r#type });
        self
    }

    pub(crate) fn input(self, name: &str, dims: &str) -> Build {
        self.typed(name, ElementType::Float, dims)
    }

    pub(crate) fn initializer(mut self, tensor: TensorProto) -> Build {
        self.graph().initializer.push(tensor);
        self
    }

    /// A float initializer of ones.
    pub(crate) fn weight(self, name: &str, dims: &[i64]) -> Build {
        let count = dims.iter().product::<i64>() as usize;
        self.initializer(f32s(name, dims, &vec![1.0; count]))
    }

    pub(crate) fn ints(self, name: &str, data: &[i64]) -> Build {
        self.initializer(i64s(name, &[data.len() as i64], data))
    }

    /// A node; names are separated by spaces, "_" is the empty name.
    pub(crate) fn node(self, op: &str, inputs: &str, outputs: &str) -> Build {
        self.node_with(op, inputs, outputs, &[])
    }

    pub(crate) fn node_with(
        mut self,
        op: &str,
        inputs: &str,
        outputs: &str,
        attributes: &[(&str, A<'_>)],
    ) -> Build {
        let attribute = attributes.iter().map(|(name, value)| attribute(name, value)).collect();
        self.graph().node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            op_type: op.into(),
            attribute,
            ..NodeProto::default()
        });
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Build {
        self.graph().output.push(ValueInfoProto { name: name.into(), r#type: None });
        self
    }

    /// The graph alone, as a body of another.
    pub(crate) fn body(self) -> GraphProto {
        self.model.graph.unwrap_or_default()
    }

    pub(crate) fn source(&self) -> Result<Source> {
        Source::decode(self.model.encode_to_vec(), Path::new("."), &Limits::default())
    }

    pub(crate) fn import(&self) -> Result<Module> {
        self.import_with(&Interface::default())
    }

    /// As `import`, with what a user says of it.
    pub(crate) fn import_with(&self, interface: &Interface) -> Result<Module> {
        super::import(&self.source()?, interface)
    }

    /// The module as text.
    pub(crate) fn text(&self) -> String {
        match self.import() {
            Ok(module) => module.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// The lines of the module's operators and outputs.
    pub(crate) fn ops(&self) -> String {
        let text = self.import().map_err(|error| panic!("{error}")).unwrap().to_string();
        let shown = |line: &&str| !line.starts_with("input") && !line.starts_with("constant");
        text.lines().filter(shown).map(|line| format!("{line}\n")).collect()
    }

    /// The error's message and advice.
    pub(crate) fn error(&self) -> String {
        match self.import() {
            Ok(module) => panic!("imported:\n{module}"),
            Err(error) => error.to_string(),
        }
    }
}

fn attribute(name: &str, value: &A<'_>) -> AttributeProto {
    let empty = AttributeProto { name: name.into(), ..AttributeProto::default() };
    let (r#type, attribute) = match value {
        A::I(i) => (AttributeType::Int, AttributeProto { i: *i, ..empty }),
        A::F(f) => (AttributeType::Float, AttributeProto { f: *f, ..empty }),
        A::S(s) => (
            AttributeType::String,
            AttributeProto { s: Bytes::copy_from_slice(s.as_bytes()), ..empty },
        ),
        A::Is(ints) => (AttributeType::Ints, AttributeProto { ints: ints.to_vec(), ..empty }),
        A::Fs(floats) => {
            (AttributeType::Floats, AttributeProto { floats: floats.to_vec(), ..empty })
        }
        A::Ss(strings) => {
            let strings = strings.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
            (AttributeType::Strings, AttributeProto { strings, ..empty })
        }
        A::G(g) => (AttributeType::Graph, AttributeProto { g: Some(Box::new(g.clone())), ..empty }),
        A::T(t) => {
            (AttributeType::Tensor, AttributeProto { t: Some(Box::new(t.clone())), ..empty })
        }
    };
    AttributeProto { r#type: r#type as i32, ..attribute }
}
