//! The functions that a model defines, put where they are called.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use prost::Message;

use super::load::Source;
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use super::registry::is_standard;
use crate::error::{Error, Result};

/// Functions that call each other may be nested so deep.
const MAX_DEPTH: usize = 32;

/// The model's graph, without calls of functions that the model itself defines.
///
/// # Errors
/// A function that was written for another opset than the model, or that calls itself, and a model that
/// would become larger than [`Limits::message_bytes`](super::Limits::message_bytes).
pub(super) fn inlined<'a>(
    source: &'a Source,
    graph: &'a GraphProto,
    opset: i64,
) -> Result<Cow<'a, GraphProto>> {
    let functions = &source.model.functions;
    if functions.is_empty() {
        return Ok(Cow::Borrowed(graph));
    }
    let key = |f: &'a FunctionProto| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), f);
    let mut names = HashSet::new();
    add_names(graph, &mut names);
    let mut inliner = Inliner {
        functions: functions.iter().map(key).collect(),
        opset,
        names,
        left: source.limits.message_bytes,
    };
    let mut whole = graph.clone();
    whole.node = inliner.expand(std::mem::take(&mut whole.node), 0)?;
    Ok(Cow::Owned(whole))
}

/// Adds every name of a value in the graph.
fn add_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.input.iter().chain(&graph.output).map(|info| info.name.clone()));
    names.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    names.extend(graph.sparse_initializer.iter().map(|tensor| tensor.name().clone()));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        node.attribute.iter().filter_map(|a| a.g.as_deref()).for_each(|g| add_names(g, names));
    }
}

/// What names of a function stand for where it is called.
type Scope = HashMap<String, String>;

struct Inliner<'a> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    opset: i64,
    /// Names of values that are taken.
    names: HashSet<String>,
    /// Bytes that what is put in may still take.
    left: usize,
}

impl Inliner<'_> {
    /// The nodes with their calls replaced, those in their bodies too.
    fn expand(&mut self, nodes: Vec<NodeProto>, depth: usize) -> Result<Vec<NodeProto>> {
        let mut expanded = Vec::with_capacity(nodes.len());
        for (index, mut node) in nodes.into_iter().enumerate() {
            for body in node.attribute.iter_mut().filter_map(|a| a.g.as_deref_mut()) {
                body.node = self.expand(std::mem::take(&mut body.node), depth)?;
            }
            let key = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
            let Some(&function) = self.functions.get(&key) else {
                expanded.push(node);
                continue;
            };
            let call = match node.name.as_str() {
                "" => format!("{}_{index}", node.op_type),
                name => name.to_owned(),
            };
            let located = |e: Error| e.within(format_args!("node {call:?} ({})", node.op_type));
            let nodes = self.call(function, &node, &call, depth).map_err(located)?;
            expanded.extend(nodes);
        }
        Ok(expanded)
    }

    /// The nodes of a function that is called.
    fn call(
        &mut self,
        function: &FunctionProto,
        node: &NodeProto,
        call: &str,
        depth: usize,
    ) -> Result<Vec<NodeProto>> {
        if depth == MAX_DEPTH {
            return Err(Error::unsupported("functions that call each other are nested too deeply"));
        }
        let sets = &function.opset_import;
        if let Some(set) = sets.iter().find(|s| is_standard(&s.domain) && s.version != self.opset) {
            return Err(Error::unsupported(format!(
                "its function is of opset {}, the model of {}",
                set.version, self.opset
            ))
            .remedy("export the model and its functions with one opset"));
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(Error::bad_file("it has more inputs or outputs than its function"));
        }
        let mut scope = Scope::new();
        for (i, name) in function.input.iter().enumerate() {
            scope.insert(name.clone(), node.input.get(i).cloned().unwrap_or_default());
        }
        let mut nodes = Vec::new();
        for (i, name) in function.output.iter().enumerate() {
            let Some(given) = node.output.get(i).filter(|given| !given.is_empty()) else {
                continue;
            };
            match scope.get(name).cloned() {
                // What passes an input on, or gives a value twice.
                Some(value) => nodes.push(identity(value, given.clone())),
                None => drop(scope.insert(name.clone(), given.clone())),
            }
        }
        for (index, inner) in function.node.iter().enumerate() {
            self.left =
                self.left.checked_sub(inner.encoded_len() + size_of::<NodeProto>()).ok_or_else(
                    || Error::unsupported("with its functions put in place the model is too large"),
                )?;
            let mut inner = inner.clone();
            let own = match inner.name.as_str() {
                "" => format!("{}_{index}", inner.op_type),
                name => name.to_owned(),
            };
            inner.name = format!("{call}/{own}");
            let attributes = std::mem::take(&mut inner.attribute);
            for attribute in attributes {
                inner.attribute.extend(given(attribute, function, node));
            }
            self.rename(&mut inner, call, &mut scope);
            nodes.push(inner);
        }
        self.expand(nodes, depth + 1)
    }

    /// Gives the values of a function's node, and of its bodies, the names that they have outside.
    fn rename(&mut self, node: &mut NodeProto, call: &str, scope: &mut Scope) {
        for name in node.input.iter_mut().chain(&mut node.output) {
            self.rename_value(name, call, scope);
        }
        for body in node.attribute.iter_mut().filter_map(|a| a.g.as_deref_mut()) {
            let dense = body.initializer.iter_mut().map(|tensor| &mut tensor.name);
            let values = body.sparse_initializer.iter_mut().filter_map(|s| s.values.as_mut());
            let infos = body.input.iter_mut().chain(&mut body.output).map(|info| &mut info.name);
            for name in dense.chain(values.map(|tensor| &mut tensor.name)).chain(infos) {
                self.rename_value(name, call, scope);
            }
            body.node.iter_mut().for_each(|node| self.rename(node, call, scope));
        }
    }

    fn rename_value(&mut self, name: &mut String, call: &str, scope: &mut Scope) {
        if name.is_empty() {
            return;
        }
        if !scope.contains_key(name) {
            let mut outside = format!("{call}/{name}");
            while !self.names.insert(outside.clone()) {
                outside.push('\'');
            }
            scope.insert(name.clone(), outside);
        }
        name.clone_from(&scope[name]);
    }
}

/// An attribute of a function's node: one that refers to the call's is the call's, or its default, or
/// is not there.
fn given(
    attribute: AttributeProto,
    function: &FunctionProto,
    node: &NodeProto,
) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute);
    }
    let mut found = node.attribute.iter().chain(&function.attribute_proto);
    let found = found.find(|other| other.name == attribute.ref_attr_name)?;
    Some(AttributeProto { name: attribute.name, ..found.clone() })
}

fn identity(input: String, output: String) -> NodeProto {
    NodeProto {
        input: vec![input],
        output: vec![output],
        op_type: "Identity".into(),
        ..NodeProto::default()
    }
}
