//! The rules of a graph, apart from its constants' data.

mod ops;

use crate::error::{Error, Rule, within};
use crate::graph::{ABSENT, DataType, Dim, Graph, Node, Port, State, ValueId};
use crate::limits::Limits;
use crate::scan::scan;
use crate::spec::{MAJOR, MAX_RANK, MINOR, operator};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use prost::Message;

/// Decodes the graph section and checks it. Also tells of each tensor whether it is a weight or a
/// bias, whose elements must be finite.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(Graph, Vec<bool>), Error> {
    within("graph_bytes", bytes.len() as u64, limits.graph_bytes)?;
    scan(bytes, limits)?;
    let graph = Graph::decode(bytes)
        .map_err(|error| Error::invalid(Rule::G1, format!("the graph section: {error}")))?;
    if graph.encode_to_vec() != bytes {
        // What is unknown may be an operator, or part of a version, that a newer reader knows.
        graph.nodes.iter().try_for_each(|node| known(node, limits, true))?;
        let detail = "the graph section has unknown fields or is not in the canonical encoding";
        return Err(Error::invalid(Rule::G2, detail));
    }
    let weights = check(&graph, limits)?;
    Ok((graph, weights))
}

/// Checks a graph; tells of each tensor whether it is a weight or a bias.
pub(crate) fn check(graph: &Graph, limits: &Limits) -> Result<Vec<bool>, Error> {
    check_names(graph, limits)?;
    graph.nodes.iter().try_for_each(|node| known(node, limits, false))?;
    let constants = check_values(graph)?;
    let names = check_inputs(graph, limits)?;
    let (inputs, outputs) = (by_value(&graph.inputs), by_value(&graph.outputs));
    check_outputs(graph, &constants, &names)?;
    let mut weights = vec![false; graph.tensors.len()];
    let mut context = ops::Context { graph, constants, names, weights: &mut weights };
    for node in &graph.nodes {
        context.check(node).map_err(|(rule, what)| at_node(rule, node, &what))?;
    }
    let mut joined = (BTreeSet::new(), BTreeSet::new());
    for state in &graph.states {
        if !joined.0.insert(state.input) || !joined.1.insert(state.output) {
            return Err(at_state(Rule::G17, state, "another state has its input or output"));
        }
        let (input, output) = (inputs.get(&state.input), outputs.get(&state.output));
        let (Some(input), Some(output)) = (input, output) else {
            return Err(at_state(Rule::G17, state, "it does not join an input and an output"));
        };
        check_state(&context, state, input, output)
            .map_err(|(rule, what)| at_state(rule, state, what))?;
    }
    check_streams(graph, &inputs, &outputs)?;
    Ok(weights)
}

fn at_node(rule: Rule, node: &Node, what: &str) -> Error {
    let op = node.op.as_ref().map_or("no operator", |op| operator(op).0);
    Error::invalid(rule, format!("node {:?} ({op}): {what}", node.name))
}

fn at_state(rule: Rule, state: &State, what: &str) -> Error {
    Error::invalid(rule, format!("state {:?}: {what}", state.name))
}

fn by_value(ports: &[Port]) -> BTreeMap<ValueId, &Port> {
    ports.iter().map(|port| (port.value, port)).collect()
}

/// The operator is one that this crate knows. Where a node has none and the graph has unknown
/// fields, one of them may be an operator of a later version.
fn known(node: &Node, limits: &Limits, unknown_fields: bool) -> Result<(), Error> {
    within("name_bytes", node.name.len() as u64, limits.name_bytes)?;
    let Some(op) = &node.op else {
        if !unknown_fields {
            return Err(at_node(Rule::G7, node, "it computes nothing"));
        }
        let detail = format!(
            "node {:?} has an operator that version {MAJOR}.{MINOR} does not know",
            node.name
        );
        return Err(Error::unsupported(Rule::G7, detail));
    };
    let (name, newest) = operator(op);
    if node.version == 0 || node.version > newest {
        let detail = format!(
            "node {:?} has {name} of version {}, this reader knows 1 to {newest}",
            node.name, node.version
        );
        return Err(Error::unsupported(Rule::G8, detail));
    }
    if !node.bodies.is_empty() {
        return Err(at_node(Rule::G9, node, "there are bodies"));
    }
    Ok(())
}

fn check_names(graph: &Graph, limits: &Limits) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (value, name) in graph.values.iter().enumerate() {
        within("name_bytes", name.len() as u64, limits.name_bytes)?;
        if name.is_empty() != (value == 0) || !seen.insert(name) {
            return Err(Error::invalid(Rule::G3, format!("value {value} is called {name:?}")));
        }
    }
    if graph.values.is_empty() {
        return Err(Error::invalid(Rule::G3, "there is no value 0"));
    }
    Ok(())
}

/// Where values come from, and that they come before they are read. Gives each value's tensor.
fn check_values(graph: &Graph) -> Result<Vec<Option<usize>>, Error> {
    let mut given = vec![false; graph.values.len()];
    let mut constants = vec![None; graph.values.len()];
    let mut give = |value: ValueId, by: &dyn Fn() -> String| match given.get_mut(value as usize) {
        Some(given) if value != ABSENT => {
            if core::mem::replace(given, true) {
                let detail = format!("{} gives value {value}, which is there already", by());
                return Err(Error::invalid(Rule::G5, detail));
            }
            Ok(())
        }
        _ => Err(Error::invalid(Rule::G4, format!("{} gives value {value}", by()))),
    };
    for (index, port) in graph.inputs.iter().enumerate() {
        give(port.value, &|| format!("input {index}"))?;
    }
    for (index, tensor) in graph.tensors.iter().enumerate() {
        give(tensor.value, &|| format!("tensor {index}"))?;
        if tensor.dims.len() > MAX_RANK {
            let detail = format!("tensor {index} has {} axes", tensor.dims.len());
            return Err(Error::invalid(Rule::T3, detail));
        }
        constants[tensor.value as usize] = Some(index);
    }
    for node in &graph.nodes {
        for &value in node.outputs.iter().filter(|&&value| value != ABSENT) {
            give(value, &|| format!("node {:?}", node.name))?;
        }
    }
    if let Some(value) = given.iter().skip(1).position(|given| !given) {
        let name = &graph.values[value + 1];
        return Err(Error::invalid(Rule::G5, format!("nothing gives value {name:?}")));
    }

    let mut ready = vec![true; graph.values.len()];
    for &value in graph.nodes.iter().flat_map(|node| &node.outputs) {
        ready[value as usize] = value == ABSENT;
    }
    for node in &graph.nodes {
        for &value in &node.inputs {
            match ready.get(value as usize) {
                Some(true) => {}
                Some(false) => {
                    let what = format!("reads {:?} too early", graph.values[value as usize]);
                    return Err(at_node(Rule::G6, node, &what));
                }
                None => return Err(at_node(Rule::G4, node, &format!("reads value {value}"))),
            }
        }
        node.outputs.iter().for_each(|&value| ready[value as usize] = true);
    }
    Ok(constants)
}

/// What inputs and outputs have in common.
fn check_port(graph: &Graph, port: &Port, names: &BTreeSet<String>) -> Result<(), Error> {
    let refuse = |rule, what: String| {
        let name = graph.values.get(port.value as usize);
        Err(Error::invalid(rule, format!("port {:?}: {what}", name.map_or("?", |name| name))))
    };
    if DataType::try_from(port.data_type).is_err() {
        return refuse(Rule::T2, format!("elements of type {}", port.data_type));
    }
    if port.dims.len() > MAX_RANK {
        return refuse(Rule::T3, format!("{} axes", port.dims.len()));
    }
    for dim in &port.dims {
        if let Err(what) = check_dim(dim, names, 0) {
            return refuse(Rule::G12, what);
        }
    }
    Ok(())
}

/// A dimension of known names that, if it is a number, is at least `least`.
fn check_dim(dim: &Dim, names: &BTreeSet<String>, least: i64) -> Result<(), String> {
    dim.check(&|name| names.contains(name)).map_err(|error| format!("{error}"))?;
    match dim.as_size() {
        Some(size) if size < least => Err(format!("dimension {size}")),
        _ => Ok(()),
    }
}

/// Gives the names that dimensions are made of.
fn check_inputs(graph: &Graph, limits: &Limits) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    for name in graph.inputs.iter().flat_map(|port| &port.dims).filter_map(Dim::as_name) {
        within("name_bytes", name.len() as u64, limits.name_bytes)?;
        if name.is_empty() {
            return Err(Error::invalid(Rule::G12, "an input has a dimension with an empty name"));
        }
        names.insert(String::from(name));
    }
    for port in &graph.inputs {
        check_port(graph, port, &names)?;
        if port.dims.iter().any(|dim| dim.as_size() == Some(0)) {
            let name = &graph.values[port.value as usize];
            let detail = format!("input {name:?} has a dimension of 0");
            return Err(Error::invalid(Rule::G16, detail));
        }
    }
    Ok(names)
}

fn check_outputs(
    graph: &Graph,
    constants: &[Option<usize>],
    names: &BTreeSet<String>,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (index, port) in graph.outputs.iter().enumerate() {
        if port.value == ABSENT || port.value as usize >= graph.values.len() {
            let detail = format!("output {index} is value {}", port.value);
            return Err(Error::invalid(Rule::G4, detail));
        }
        let name = &graph.values[port.value as usize];
        if !seen.insert(port.value) {
            return Err(Error::invalid(Rule::G16, format!("output {name:?} is listed twice")));
        }
        let tensor = constants[port.value as usize].map(|index| &graph.tensors[index]);
        if tensor.is_some_and(|tensor| tensor.multi_bit.is_some()) {
            return Err(Error::invalid(Rule::G14, format!("output {name:?} is multi-bit")));
        }
        check_port(graph, port, names)?;
    }
    Ok(())
}

fn check_state(
    context: &ops::Context<'_>,
    state: &State,
    input: &Port,
    output: &Port,
) -> Result<(), (Rule, &'static str)> {
    let refuse = |what| Err((Rule::G17, what));
    if state.name != context.graph.values[state.input as usize] {
        return refuse("it has not the name of its input");
    }
    if input.data_type != output.data_type || input.dims != output.dims {
        return refuse("its input and output have different types or shapes");
    }
    if state.initial == ABSENT {
        return Ok(());
    }
    let Some(initial) = context.constant(state.initial) else {
        return refuse("its initial value is no constant");
    };
    if initial.multi_bit.is_some() {
        return Err((Rule::G14, "its initial value is multi-bit"));
    }
    let fits = |(&size, dim): (&u64, &Dim)| {
        size == 1 || dim.as_size().is_some_and(|d| u64::try_from(d) == Ok(size))
    };
    if initial.data_type != input.data_type
        || initial.dims.len() != input.dims.len()
        || !initial.dims.iter().zip(&input.dims).all(fits)
    {
        return refuse("its initial value has another type or shape");
    }
    Ok(())
}

fn check_streams(
    graph: &Graph,
    inputs: &BTreeMap<ValueId, &Port>,
    outputs: &BTreeMap<ValueId, &Port>,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for stream in &graph.streams {
        let port = inputs.get(&stream.value).or_else(|| outputs.get(&stream.value));
        let fits = port.is_some_and(|port| {
            let rank = port.dims.len();
            (stream.time_axis as usize) < rank
                && stream
                    .batch_axis
                    .is_none_or(|axis| (axis as usize) < rank && axis != stream.time_axis)
        });
        if !fits || !seen.insert(stream.value) {
            let detail = format!("the stream of value {} is wrong or repeated", stream.value);
            return Err(Error::invalid(Rule::G18, detail));
        }
    }
    Ok(())
}
