//! From a decoded model to a module: settles names, inputs and constants, then reads node by node.

use std::collections::{BTreeSet, HashSet};

use amq_format::Fact;
use amq_format::graph::{DataType, Dim, Op, Port, Precision as Declared, Reshape};

use super::builder::Builder;
use super::graph;
use super::inline::inlined;
use super::load::Source;
use super::missing::INPUT;
use super::proto::{
    DimensionProto, ElementType, GraphProto, ModelProto, TensorShapeProto, ValueInfoProto,
};
use super::registry::{NEWEST_OPSET, OLDEST_OPSET, is_standard};
use super::tensor::{MAX_RANK, Precision, Store, data_type};
use crate::data::rounded;
use crate::error::{Error, Result};
use crate::interface::{self, Interface};
use crate::ir::Module;

/// Since this version of the file format an initializer of an input is a default, not a constant.
const IR_WITH_DEFAULTS: i64 = 4;

/// The newest version of the file format that is known.
const NEWEST_IR: i64 = 14;

/// Reads a model's graph into the operator vocabulary.
///
/// Names of the graph's inputs and outputs, and of values between nodes, stay. A node that becomes
/// several operators keeps its name on the one that bears the weights.
///
/// # Errors
/// The model contradicts ONNX, or uses a part of it that is not supported; the error names the node.
pub fn import(source: &Source, interface: &Interface) -> Result<Module> {
    let graph = source
        .model
        .graph
        .as_ref()
        .ok_or_else(|| Error::bad_file("not an ONNX model: it holds no graph"))?;
    let opset = opset(&source.model)?;
    let graph = inlined(source, graph, opset)?;
    let graph = graph.as_ref();
    let mut builder = Builder::default();
    let names = graph.input.iter().map(|input| &input.name);
    let names = names.chain(graph.initializer.iter().map(|tensor| &tensor.name));
    for name in names.chain(graph.node.iter().flat_map(|node| &node.output)) {
        builder.reserve(name);
    }
    builder.notes.newer_ir = Some(source.model.ir_version).filter(|&version| version > NEWEST_IR);
    let mut store = Store::new(&source.folder, source.file.as_ref(), &source.limits);
    inputs(graph, source.model.ir_version, interface, &mut builder)?;
    graph::read(graph, "", opset, &mut builder, &mut store)?;
    std::mem::take(&mut builder.refusals).finish()?;
    outputs(graph, &mut builder)?;

    let mut module = builder.module;
    module.notes = builder.notes.finish();
    module.folded_bytes = source.limits.folded_bytes;
    Ok(module)
}

fn opset(model: &ModelProto) -> Result<i64> {
    let mut versions =
        model.opset_import.iter().filter(|set| is_standard(&set.domain)).map(|set| set.version);
    let Some(version) = versions.next() else {
        let domains: Vec<_> = model.opset_import.iter().map(|set| set.domain.as_str()).collect();
        return Err(match domains.first() {
            None => Error::bad_file("the model does not say which opset it uses"),
            Some(_) => Error::unsupported(format!(
                "the model uses operators of {domains:?} only, none of ONNX's own"
            ))
            .remedy("only networks of ONNX's own operators can be converted"),
        });
    };
    if versions.any(|other| other != version) {
        return Err(Error::bad_file("the model names two versions of ONNX's operator set"));
    }
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&version) {
        return Err(Error::unsupported(format!(
            "the model uses opset {version}; supported are {OLDEST_OPSET} to {NEWEST_OPSET}"
        ))
        .remedy("export it with one of these, or convert it with onnx.version_converter"));
    }
    if let Some(function) = model.functions.iter().find(|f| is_standard(&f.domain)) {
        return Err(Error::unsupported(format!(
            "the model defines a function {:?} of its own among ONNX's operators",
            function.name
        ))
        .remedy("inline it with onnx.inliner.inline_local_functions"));
    }
    Ok(version)
}

fn inputs(graph: &GraphProto, ir: i64, interface: &Interface, builder: &mut Builder) -> Result<()> {
    let initialized: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let mut dim_names: HashSet<String> =
        graph.input.iter().flat_map(dimensions).filter_map(dim_name).map(str::to_owned).collect();
    let mut sized = BTreeSet::new();
    for input in &graph.input {
        let fixed = interface.fixed(&input.name);
        if initialized.contains(input.name.as_str()) && fixed.is_none() {
            if ir >= IR_WITH_DEFAULTS {
                builder.notes.default_inputs.push(input.name.clone());
            }
            continue;
        }
        let (mut fact, precision) = match input_fact(input, &mut dim_names) {
            Ok(known) => known,
            Err(error) => {
                let located = |e: Error| e.within(format_args!("input {:?}", input.name));
                builder.refusals.add(INPUT, &input.name, error).map_err(located)?;
                builder.refusals.lose(&input.name);
                continue;
            }
        };
        for dim in &mut fact.dims {
            let Some(name) = dim.as_name() else { continue };
            sized.insert(name.to_owned());
            if let Some(size) = interface.size(name) {
                *dim = Dim::from(size);
            }
        }
        if precision == Precision::F64 {
            builder.notes.narrowed_inputs.push(input.name.clone());
        }
        if let Some(text) = fixed {
            let size = |dim: &Dim| dim.as_size().and_then(|size| usize::try_from(size).ok());
            let dims: Vec<_> = fact.dims.iter().map(size).collect();
            let constant = interface::constant(text, fact.data_type, &dims);
            let constant =
                constant.and_then(|constant| rounded(constant, &input.name, precision.declared()));
            let located = |e: Error| e.within(format_args!("--fix {}={text}", input.name));
            builder.fix(&input.name, constant.map_err(located)?, precision)?;
            continue;
        }
        let (data_type, dims) = (fact.data_type.into(), fact.dims.clone());
        let value = builder.input(&input.name, fact)?;
        builder.set_precision(value, precision);
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        if let Some(Ok(element)) = tensor.map(|tensor| ElementType::try_from(tensor.elem_type)) {
            builder.set_element(value, element);
        }
        let precision = precision.declared().into();
        let port = Port { value: builder.id(value)?, data_type, dims, precision };
        builder.module.graph.inputs.push(port);
    }
    dim_names.iter().for_each(|name| builder.reserve_dim(name));
    let names: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    interface.check(&names, &sized)
}

fn dimensions(info: &ValueInfoProto) -> impl Iterator<Item = &DimensionProto> {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    tensor.and_then(|t| t.shape.as_ref()).into_iter().flat_map(|shape| &shape.dim)
}

/// The name of a dimension; some exporters write "?" for one that is not known.
fn dim_name(dim: &DimensionProto) -> Option<&str> {
    dim.dim_param.as_deref().filter(|name| !matches!(*name, "" | "?"))
}

fn input_fact(info: &ValueInfoProto, dim_names: &mut HashSet<String>) -> Result<(Fact, Precision)> {
    if info.name.is_empty() {
        return Err(Error::bad_file("it has no name"));
    }
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).ok_or_else(|| {
        Error::unsupported("it is not a tensor").remedy("only tensors can be inputs")
    })?;
    let (data_type, precision) = data_type(tensor.elem_type).ok_or_else(|| {
        let name = ElementType::name_of(tensor.elem_type);
        Error::unsupported(format!("inputs of {name} are not supported"))
            .remedy("supported are float types of 16 to 64 bits, integers of 8 to 64 bits and bool")
    })?;
    let shape: &TensorShapeProto = tensor.shape.as_ref().ok_or_else(|| {
        Error::unsupported("its number of axes is not known")
            .remedy("give the input a shape; dimensions may be names")
    })?;
    let rank = shape.dim.len();
    if rank > MAX_RANK {
        return Err(Error::unsupported(format!(
            "it has {rank} axes; at most {MAX_RANK} are possible"
        )));
    }
    let mut dims = Vec::with_capacity(rank);
    for (axis, dim) in shape.dim.iter().enumerate() {
        dims.push(match (dim.dim_value, dim_name(dim)) {
            // Some exporters write 0 where they do not know the size.
            (Some(size), _) if size > 0 => Dim::from(size),
            (_, Some(name)) => Dim::named(name),
            _ => {
                let mut name = format!("{}.{axis}", info.name);
                while !dim_names.insert(name.clone()) {
                    name.push('\'');
                }
                Dim::named(name)
            }
        });
    }
    Ok((Fact::new(data_type, dims), precision))
}

fn outputs(graph: &GraphProto, builder: &mut Builder) -> Result<()> {
    let mut seen = HashSet::new();
    for output in &graph.output {
        let place = format!("output {:?}", output.name);
        let value = builder
            .lookup(&output.name)
            .ok_or_else(|| Error::bad_file(format!("{place} is not defined by any node")))?;
        if !seen.insert(&output.name) {
            return Err(Error::bad_file(format!("{place} is there twice")));
        }
        let mut id = builder.id(value)?;
        let Fact { data_type, dims, .. } = builder.fact(value).clone();
        if builder.module.name(id) != output.name {
            // The value has another name already; a view gives it this one.
            let op = Op::Reshape(Reshape { dims: dims.clone() });
            let named = builder.module.add_value(&output.name);
            builder.module.add_node(&output.name, op, vec![id], vec![named]);
            id = named;
        }
        let precision = match data_type {
            DataType::F32 => builder.precision(value).declared(),
            _ => Declared::F32,
        };
        let (data_type, precision) = (data_type.into(), precision.into());
        let port = Port { value: id, data_type, dims, precision };
        builder.module.graph.outputs.push(port);
    }
    if graph.output.is_empty() {
        return Err(Error::bad_file("the graph has no outputs"));
    }
    Ok(())
}
