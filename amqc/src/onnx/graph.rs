//! Reading the nodes of a graph, be it the model's or a body.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::attrs::Reader;
use super::builder::Builder;
use super::missing::INITIALIZER;
use super::proto::{GraphProto, NodeProto};
use super::registry::{self, Operator};
use super::tensor::{Precision, Store, Stored, element};
use crate::error::{Error, Result};

/// The module of the source program that a node comes from, such as `encoder.linear`: PyTorch's exporter, whose names of
/// nodes change with every export, tells it as a list of modules, each in the one before, with the operation at its end.
fn scope(node: &NodeProto) -> Option<String> {
    const KEY: &str = "pkg.torch.onnx.name_scopes";
    let list = &node.metadata_props.iter().find(|entry| entry.key == KEY)?.value;
    let scope = list.trim_matches(['[', ']']).split(',').rev().nth(1)?;
    let scope = scope.trim_matches([' ', '\'', '"']);
    (!scope.is_empty()).then(|| scope.to_owned())
}

/// Reads a graph's initializers and nodes, whose inputs are bound. Nodes without a name get one that
/// begins with `prefix`.
pub(super) fn read(
    graph: &GraphProto,
    prefix: &str,
    opset: i64,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    let mut used = HashSet::new();
    add_used(graph, &mut used);
    initializers(graph, &used, builder, store)?;
    for index in order(graph)? {
        let node = &graph.node[index];
        let name = match node.name.as_str() {
            "" => format!("{prefix}{}_{index}", node.op_type),
            name => name.to_owned(),
        };
        if let Some(scope) = scope(node) {
            builder.module.scopes.insert(name.clone(), scope);
        }
        let place = format!("node {name:?} ({})", node.op_type);
        let told = builder.refusals.count();
        let lost = node.input.iter().any(|input| builder.refusals.is_lost(input));
        let read = match lost {
            true => {
                builder.refusals.pass_over();
                operator(node, opset).map(|_| ())
            }
            false => read_node(node, name.clone(), opset, &used, builder, store),
        };
        let refused = read.is_err();
        match read {
            // What stops a body stops the node, and is told there.
            Err(_) if builder.refusals.count() > told => {}
            Err(error) => {
                let added = builder.refusals.add(&node.op_type, &name, error);
                added.map_err(|error| error.within(place))?;
            }
            Ok(()) => {}
        }
        if refused || lost {
            node.output.iter().for_each(|output| builder.refusals.lose(output));
        }
    }
    Ok(())
}

/// The nodes in an order in which each follows those whose results it reads: as they stand, where
/// that is such.
fn order(graph: &GraphProto) -> Result<Vec<usize>> {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        producers.extend(node.output.iter().map(|output| (output.as_str(), index)));
    }
    // What is there before is told to be defined twice when its node is read.
    let before = graph.input.iter().map(|input| &input.name);
    for name in before.chain(graph.initializer.iter().map(|tensor| &tensor.name)) {
        producers.remove(name.as_str());
    }
    producers.remove("");
    let mut waiting = vec![0usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        let mut read = HashSet::new();
        add_read(node, &mut read);
        for &producer in read.iter().filter_map(|name| producers.get(name)) {
            waiting[index] += 1;
            readers[producer].push(index);
        }
    }
    let ready = waiting.iter().enumerate().filter(|(_, waiting)| **waiting == 0);
    let mut ready: BinaryHeap<_> = ready.map(|(index, _)| Reverse(index)).collect();
    let mut order = Vec::with_capacity(graph.node.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match waiting.iter().position(|&waiting| waiting > 0) {
        None => Ok(order),
        Some(index) => {
            let NodeProto { name, op_type, .. } = &graph.node[index];
            Err(Error::bad_file(format!(
                "node {name:?} ({op_type}): what it reads follows from what it gives"
            )))
        }
    }
}

/// Adds the names that a graph's nodes, their bodies and its outputs read.
fn add_used<'a>(graph: &'a GraphProto, used: &mut HashSet<&'a str>) {
    used.extend(graph.output.iter().map(|output| output.name.as_str()));
    graph.node.iter().for_each(|node| add_read(node, used));
}

/// Adds the names that a node and its bodies read.
fn add_read<'a>(node: &'a NodeProto, used: &mut HashSet<&'a str>) {
    used.extend(node.input.iter().map(String::as_str));
    for body in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
        let mut inner = HashSet::new();
        add_used(body, &mut inner);
        // What a body defines is its own.
        let own = body.input.iter().map(|input| &input.name);
        let own = own.chain(body.initializer.iter().map(|tensor| &tensor.name));
        let own = own.chain(body.node.iter().flat_map(|node| &node.output));
        let own: HashSet<&str> = own.map(String::as_str).collect();
        used.extend(inner.difference(&own));
    }
}

fn initializers(
    graph: &GraphProto,
    used: &HashSet<&str>,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    let dense = graph.initializer.iter().map(|tensor| (&tensor.name, Stored::Dense(tensor)));
    let sparse =
        graph.sparse_initializer.iter().map(|sparse| (sparse.name(), Stored::Sparse(sparse)));
    let mut seen = HashSet::new();
    for (name, stored) in dense.chain(sparse) {
        if !seen.insert(name) {
            return Err(Error::bad_file(format!("the value {name:?} is defined twice")));
        }
        if !used.contains(name.as_str()) || builder.is_fixed(name) {
            continue;
        }
        match store.read(stored) {
            Ok((constant, precision)) => {
                builder.notes.narrowed_constants += usize::from(precision != Precision::F32);
                let value = builder.constant(name, constant)?;
                builder.set_precision(value, precision);
                if let Stored::Dense(tensor) = stored {
                    builder.set_element(value, element(tensor));
                }
                builder.bind(name, value)?;
            }
            Err(error) => {
                let located = |e: Error| e.within(format_args!("initializer {name:?}"));
                builder.refusals.add(INITIALIZER, name, error).map_err(located)?;
                builder.refusals.lose(name);
            }
        }
    }
    Ok(())
}

/// The operator of a node.
fn operator(node: &NodeProto, opset: i64) -> Result<&'static Operator> {
    let operator = registry::find(&node.domain, &node.op_type)?;
    if opset < operator.since {
        return Err(Error::bad_file(format!(
            "the operator exists since opset {}, and the model uses {opset}",
            operator.since
        )));
    }
    Ok(operator)
}

fn read_node(
    node: &NodeProto,
    name: String,
    opset: i64,
    used: &HashSet<&str>,
    builder: &mut Builder,
    store: &mut Store<'_>,
) -> Result<()> {
    let operator = operator(node, opset)?;
    let is_used = |name: &str| used.contains(name);
    let mut reader = Reader::new(node, name, opset, builder, store, is_used, read)?;
    reader.refuse_structures(operator.name)?;
    (operator.read)(&mut reader)?;
    let narrowed = reader.precision.is_some_and(|precision| precision != Precision::F32);
    reader.builder.notes.narrowed_nodes += usize::from(narrowed);
    reader.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

    #[test]
    fn the_module_is_the_last_but_one() {
        for (list, expected) in [
            ("['', 'encoder', 'encoder.linear', 'linear_1']", Some("encoder.linear")),
            ("['', 'mm']", None),
            ("['mm']", None),
            ("", None),
        ] {
            let entry = StringStringEntryProto {
                key: "pkg.torch.onnx.name_scopes".into(),
                value: list.into(),
            };
            let node = NodeProto { metadata_props: vec![entry], ..NodeProto::default() };
            assert_eq!(scope(&node).as_deref(), expected, "{list}");
        }
    }
}
