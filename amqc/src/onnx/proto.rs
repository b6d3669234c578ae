//! The messages of an ONNX file, as far as they are read.
//!
//! What is always refused (types that are no tensors) is not decoded.

use std::mem::size_of;

use amq_format::graph::DataType;
use prost::bytes::Bytes;

use crate::error::{Error, Result};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) functions: Vec<FunctionProto>,
}

/// A function of the model, which nodes call by its name and domain.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FunctionProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) opset_import: Vec<OperatorSetIdProto>,
    #[prost(string, tag = "10")]
    pub(crate) domain: String,
    /// Defaults of its attributes.
    #[prost(message, repeated, tag = "11")]
    pub(crate) attribute_proto: Vec<AttributeProto>,
    #[prost(string, tag = "13")]
    pub(crate) overload: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "15")]
    pub(crate) sparse_initializer: Vec<SparseTensorProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
    #[prost(string, tag = "8")]
    pub(crate) overload: String,
    #[prost(message, repeated, tag = "9")]
    pub(crate) metadata_props: Vec<StringStringEntryProto>,
}

/// Which field of an attribute holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AttributeType {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    TypeProto = 13,
    TypeProtos = 14,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) f: f32,
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) s: Bytes,
    #[prost(message, optional, boxed, tag = "5")]
    pub(crate) t: Option<Box<TensorProto>>,
    #[prost(message, optional, boxed, tag = "6")]
    pub(crate) g: Option<Box<GraphProto>>,
    #[prost(float, repeated, tag = "7")]
    pub(crate) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub(crate) strings: Vec<Bytes>,
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub(crate) r#type: i32,
    #[prost(string, tag = "21")]
    pub(crate) ref_attr_name: String,
    #[prost(message, optional, boxed, tag = "22")]
    pub(crate) sparse_tensor: Option<Box<SparseTensorProto>>,
}

/// A tensor of which only some elements are stored; the others are 0.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparseTensorProto {
    /// Its elements that are stored; their name is the tensor's.
    #[prost(message, optional, tag = "1")]
    pub(crate) values: Option<TensorProto>,
    /// Where they are: places in row-major order, or for each a place on every axis.
    #[prost(message, optional, tag = "2")]
    pub(crate) indices: Option<TensorProto>,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) dims: Vec<i64>,
}

impl SparseTensorProto {
    pub(crate) fn name(&self) -> &String {
        const NAMELESS: &String = &String::new();
        self.values.as_ref().map_or(NAMELESS, |values| &values.name)
    }
}

/// Type of a tensor's elements in an ONNX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ElementType {
    Undefined = 0,
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Uint16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Double = 11,
    Uint32 = 12,
    Uint64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    Bfloat16 = 16,
    Float8e4m3fn = 17,
    Float8e4m3fnuz = 18,
    Float8e5m2 = 19,
    Float8e5m2fnuz = 20,
    Uint4 = 21,
    Int4 = 22,
    Float4e2m1 = 23,
    Float8e8m0 = 24,
    Uint2 = 25,
    Int2 = 26,
    Float6e2m3 = 27,
    Float6e3m2 = 28,
}

impl From<DataType> for ElementType {
    fn from(data_type: DataType) -> ElementType {
        match data_type {
            DataType::F32 => ElementType::Float,
            DataType::I64 => ElementType::Int64,
            DataType::I32 => ElementType::Int32,
            DataType::U8 => ElementType::Uint8,
            DataType::I8 => ElementType::Int8,
            DataType::Bool => ElementType::Bool,
            DataType::I16 => ElementType::Int16,
            DataType::U16 => ElementType::Uint16,
            DataType::U32 => ElementType::Uint32,
            DataType::U64 => ElementType::Uint64,
        }
    }
}

impl ElementType {
    /// The name that errors use for the type numbered `number`.
    pub(crate) fn name_of(number: i32) -> String {
        match ElementType::try_from(number) {
            Ok(ElementType::Undefined) => "no type".to_owned(),
            Ok(known) => format!("{known:?}").to_lowercase(),
            Err(_) => format!("type {number}"),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) segment: Option<Bytes>,
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(crate) raw_data: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub(crate) uint64_data: Vec<u64>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<StringStringEntryProto>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
    /// In no model: in an outline it stands for raw data.
    #[prost(message, optional, tag = "536870911")]
    pub(crate) kept: Option<Kept>,
}

/// Where in a model's file raw data stand that were not taken along.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Kept {
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) length: u64,
}

impl Kept {
    /// Its tag in a tensor: the largest that there is.
    pub(crate) const TAG: u32 = 536_870_911;
}

impl TensorProto {
    /// The `data_location` of a tensor whose data stands in a file of its own.
    pub(crate) const EXTERNAL: i32 = 1;
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub(crate) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) dim_param: Option<String>,
}

/// The kinds of message, for [`check_growth`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message without messages in it, or a string.
    Leaf,
}

impl Kind {
    /// What field `tag` holds, if it is decoded into memory of its own, and the memory an entry takes
    /// beside its bytes.
    pub(super) fn field(self, tag: u64) -> Option<(Kind, usize)> {
        let string = (Kind::Leaf, size_of::<String>());
        let bytes = (Kind::Leaf, size_of::<Bytes>());
        Some(match (self, tag) {
            (Kind::Model, 7) => (Kind::Graph, 0),
            (Kind::Model, 8) => (Kind::Leaf, size_of::<OperatorSetIdProto>()),
            (Kind::Model, 25) => (Kind::Function, size_of::<FunctionProto>()),
            (Kind::Function, 4 | 5) => string,
            (Kind::Function, 7) => (Kind::Node, size_of::<NodeProto>()),
            (Kind::Function, 9) => (Kind::Leaf, size_of::<OperatorSetIdProto>()),
            (Kind::Function, 11) => (Kind::Attribute, size_of::<AttributeProto>()),
            (Kind::Graph, 1) => (Kind::Node, size_of::<NodeProto>()),
            (Kind::Graph, 5) => (Kind::Tensor, size_of::<TensorProto>()),
            (Kind::Graph, 11 | 12) => (Kind::ValueInfo, size_of::<ValueInfoProto>()),
            (Kind::Graph, 15) => (Kind::Sparse, size_of::<SparseTensorProto>()),
            (Kind::Sparse, 1 | 2) => (Kind::Tensor, size_of::<TensorProto>()),
            (Kind::Attribute, 9) => bytes,
            (Kind::Attribute, 22) => (Kind::Sparse, size_of::<SparseTensorProto>()),
            (Kind::Node, 1 | 2) => string,
            (Kind::Node, 5) => (Kind::Attribute, size_of::<AttributeProto>()),
            (Kind::Attribute, 5) => (Kind::Tensor, size_of::<TensorProto>()),
            (Kind::Attribute, 6) => (Kind::Graph, size_of::<GraphProto>()),
            (Kind::Tensor, 13) => (Kind::Leaf, size_of::<StringStringEntryProto>()),
            (Kind::ValueInfo, 2) => (Kind::Type, 0),
            (Kind::Type, 1) => (Kind::TensorType, 0),
            (Kind::TensorType, 2) => (Kind::Shape, 0),
            (Kind::Shape, 1) => (Kind::Leaf, size_of::<DimensionProto>()),
            _ => return None,
        })
    }
}

/// Refuses a file whose messages, beside their strings and numbers, take more than `limit` bytes
/// when decoded: a node of two bytes becomes a structure of hundreds.
///
/// Strings and raw data take no more than their bytes in the file, numbers at most eight times.
pub(crate) fn check_growth(file: &[u8], limit: usize) -> Result<()> {
    // Vectors grow by doubling, so entries can take twice their size.
    let mut left = limit / 2;
    walk(file, Kind::Model, &mut left, 0)?
        .then_some(())
        .ok_or_else(|| {
            Error::unsupported(format!(
                "the model has so many nodes, attributes and names that they would take more than {} MiB",
                limit >> 20
            ))
        })
}

/// Messages inside each other: a graph, a node and an attribute for each body in a body.
pub(super) const MAX_NESTING: usize = 64;

/// Walks a message; false when its entries exceed what is `left`.
fn walk(mut message: &[u8], kind: Kind, left: &mut usize, depth: usize) -> Result<bool> {
    if depth > MAX_NESTING {
        return Err(Error::unsupported("its graphs are nested too deeply"));
    }
    let damaged = || {
        Error::bad_file("not an ONNX model: its protobuf is damaged")
            .remedy("it may have been cut short: get the file again")
    };
    while !message.is_empty() {
        let key = varint(&mut message).ok_or_else(damaged)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message).ok_or_else(damaged)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut message).ok_or_else(damaged)?,
            5 => 4,
            _ => return Err(damaged()),
        };
        let length = usize::try_from(length).map_err(|_| damaged())?;
        let (entry, rest) = message.split_at_checked(length).ok_or_else(damaged)?;
        message = rest;
        if key & 7 == 2
            && let Some((inner, cost)) = kind.field(key >> 3)
        {
            match left.checked_sub(cost) {
                Some(less) => *left = less,
                None => return Ok(false),
            }
            if !matches!(inner, Kind::Leaf) && !walk(entry, inner, left, depth + 1)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
