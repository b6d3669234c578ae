//! Reading the nodes of a graph, be it the model's or a body.

use std::collections::HashSet;

use super::attrs::Reader;
use super::builder::Builder;
use super::proto::{GraphProto, NodeProto};
use super::registry;
use super::tensor::Store;
use crate::error::{Error, Result};

/// Reads a graph's initializers and nodes, whose inputs are bound. Nodes without a name get one that
/// begins with `prefix`.
pub(super) fn read(
    graph: &GraphProto,
    prefix: &str,
    opset: i64,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    if !graph.sparse_initializer.is_empty() {
        return Err(Error::unsupported("the graph has sparse initializers")
            .remedy("store its weights as dense tensors"));
    }
    let mut used = HashSet::new();
    add_used(graph, &mut used);
    initializers(graph, &used, builder, store)?;
    for (index, node) in graph.node.iter().enumerate() {
        let name = match node.name.as_str() {
            "" => format!("{prefix}{}_{index}", node.op_type),
            name => name.to_owned(),
        };
        let place = format!("node {name:?} ({})", node.op_type);
        read_node(node, name, opset, &used, builder, store).map_err(|error| error.within(place))?;
    }
    Ok(())
}

/// Adds the names that a graph's nodes, their bodies and its outputs read.
fn add_used<'a>(graph: &'a GraphProto, used: &mut HashSet<&'a str>) {
    used.extend(graph.output.iter().map(|output| output.name.as_str()));
    for node in &graph.node {
        used.extend(node.input.iter().map(String::as_str));
        node.attribute.iter().filter_map(|a| a.g.as_deref()).for_each(|body| add_used(body, used));
    }
}

fn initializers(
    graph: &GraphProto,
    used: &HashSet<&str>,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for tensor in &graph.initializer {
        if !seen.insert(tensor.name.as_str()) {
            return Err(Error::bad_file(format!("the value {:?} is defined twice", tensor.name)));
        }
        if !used.contains(tensor.name.as_str()) || builder.is_fixed(&tensor.name) {
            continue;
        }
        let (constant, changed) = store
            .constant(tensor)
            .map_err(|error| error.within(format!("initializer {:?}", tensor.name)))?;
        builder.notes.narrowed_constants += usize::from(changed);
        let value = builder.constant(&tensor.name, constant)?;
        builder.bind(&tensor.name, value)?;
    }
    Ok(())
}

pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn read_node(
    node: &NodeProto,
    name: String,
    opset: i64,
    used: &HashSet<&str>,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    if !is_standard(&node.domain) {
        return Err(Error::unsupported(format!(
            "its operator belongs to {:?}, not to ONNX's own operators",
            node.domain
        ))
        .remedy(
            "export with ONNX's own operators; functions of the model can be inlined with \
             onnx.inliner.inline_local_functions",
        ));
    }
    let operator = registry::find(&node.op_type)?;
    if opset < operator.since {
        return Err(Error::bad_file(format!(
            "the operator exists since opset {}, and the model uses {opset}",
            operator.since
        )));
    }
    let is_used = |name: &str| used.contains(name);
    let mut reader = Reader::new(node, name, opset, builder, store, is_used, read)?;
    (operator.read)(&mut reader)?;
    reader.builder.notes.narrowed_nodes += usize::from(reader.changed_precision);
    reader.finish()
}
