//! The rules of a graph, apart from its constants' data.

use crate::error::{Error, Rule, within};
use crate::fault::{Refusal, refuse_unless};
use crate::graph::{ABSENT, DataType, Dim, Graph, Node, Op, Port, State, Tensor, ValueId};
use crate::limits::Limits;
use crate::operator::{Constants, unfit};
use crate::scan::scan;
use crate::since::Since;
use crate::spec::{MAJOR, MAX_RANK, MINOR};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use prost::Message;

/// Decodes the graph section of a file of version 1.`minor` and checks it. Also tells of each tensor whether it is a weight or a
/// bias, whose elements must be finite.
pub(crate) fn decode(
    bytes: &[u8],
    minor: u16,
    limits: &Limits,
) -> Result<(Graph, Vec<bool>), Error> {
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
    let least = least_minor(&graph, &|op| op.operator().since());
    if minor < least {
        let detail =
            format!("a file of version {MAJOR}.{minor} has what came with {MAJOR}.{least}");
        return Err(Error::invalid(Rule::G8, detail));
    }
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
    let context = Context { graph, constants, names };
    for node in &graph.nodes {
        let Some(op) = &node.op else { continue };
        let refused = |(rule, what): Refusal| at_node(rule, node, &what);
        context.check(node, op).map_err(refused)?;
        node.bodies.iter().try_for_each(|body| check(body, limits).map(drop))?;
        for slot in op.operator().slots().iter().filter(|slot| slot.is_constant()) {
            let value = node.inputs.get(slot.input).copied().unwrap_or(ABSENT);
            if let Some(tensor) = context.constants[value as usize] {
                weights[tensor] = true;
            }
        }
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

/// The minor version that first has all operators of a graph, as `since` tells of each. All else in
/// a graph is of version 1.0.
pub(crate) fn least_minor(graph: &Graph, since: &dyn Fn(&Op) -> Since) -> u16 {
    let of_node = |node: &Node| {
        let bodies = node.bodies.iter().map(|body| least_minor(body, since));
        bodies.chain(node.op.as_ref().map(|op| since(op).minor)).max()
    };
    graph.nodes.iter().filter_map(of_node).max().unwrap_or(0)
}

fn at_node(rule: Rule, node: &Node, what: &str) -> Error {
    let op = node.op.as_ref().map_or("no operator", Op::name);
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
    let newest = op.operator().newest();
    if node.version == 0 || node.version > newest {
        let detail = format!(
            "node {:?} has {} of version {}, this reader knows 1 to {newest}",
            node.name,
            op.name(),
            node.version
        );
        return Err(Error::unsupported(Rule::G8, detail));
    }
    Ok(())
}

/// What nodes are checked against.
struct Context<'a> {
    graph: &'a Graph,
    /// Each value's tensor.
    constants: Vec<Option<usize>>,
    /// Names that dimensions may have.
    names: BTreeSet<String>,
}

impl<'a> Context<'a> {
    /// The constant that gives a value, if one does.
    fn constant(&self, value: ValueId) -> Option<&'a Tensor> {
        let index = (*self.constants.get(value as usize)?)?;
        self.graph.tensors.get(index)
    }

    /// The rules of a node by itself, as its operator declares them.
    fn check(&self, node: &Node, op: &Op) -> Result<(), Refusal> {
        let declared = op.operator();
        check_arity(node, op)?;
        declared.attributes()?;
        // An operator of a version that lacks what its attributes say.
        let since = declared.since().version;
        refuse_unless(node.version >= since, Rule::G8, || {
            format!("its attributes are of version {since}, it is of version {}", node.version)
        })?;
        for dim in declared.dims().into_iter().flatten() {
            check_dim(dim, &self.names, i64::MIN).map_err(|what| (Rule::G12, what))?;
        }
        self.check_multi_bit(node, op)?;
        let constants = Constants { inputs: &node.inputs, constant: &|value| self.constant(value) };
        for slot in declared.slots().iter().filter(|slot| slot.is_constant()) {
            let present = node.inputs.get(slot.input).is_some_and(|&value| value != ABSENT);
            if present {
                let tensor = constants.get(slot)?;
                let floats = tensor.data_type == DataType::F32 as i32;
                refuse_unless(floats, Rule::G13, || unfit(slot, tensor))?;
            }
        }
        declared.weights(&constants)
    }

    /// Multi-bit inputs stand only where the operator takes them, divided into its rows.
    fn check_multi_bit(&self, node: &Node, op: &Op) -> Result<(), Refusal> {
        for (input, &value) in node.inputs.iter().enumerate() {
            let Some(tensor) = self.constant(value) else { continue };
            let Some(coding) = &tensor.multi_bit else { continue };
            let slots = op.operator().slots();
            let slot = slots.iter().find(|slot| slot.input == input);
            let Some(leading) = slot.and_then(|slot| slot.rows()) else {
                return Err((Rule::G14, format!("input {input} may not be multi-bit")));
            };
            let leading = tensor.dims.get(..leading).unwrap_or_default();
            let rows = leading.iter().try_fold(1u64, |rows, &dim| rows.checked_mul(dim));
            let divided = !leading.is_empty() && rows == Some(coding.rows);
            refuse_unless(divided, Rule::G14, || {
                format!("input {input} of shape {:?} has {} rows", tensor.dims, coding.rows)
            })?;
        }
        Ok(())
    }
}

/// A node has as many inputs, outputs, bodies and names as its operator states.
fn check_arity(node: &Node, op: &Op) -> Result<(), Refusal> {
    let arity = op.operator().arity();
    let (bodies, binds) = (node.bodies.len(), node.binds.len());
    refuse_unless(bodies == arity.bodies, Rule::G9, || format!("{bodies} bodies"))?;
    refuse_unless(binds == arity.binds, Rule::G9, || format!("{binds} names of sizes"))?;
    let (inputs, outputs) = (node.inputs.len(), node.outputs.len());
    refuse_unless(
        (arity.needed..=arity.inputs).contains(&inputs) && (1..=arity.outputs).contains(&outputs),
        Rule::G10,
        || format!("{inputs} inputs and {outputs} outputs"),
    )?;
    let needed = if arity.inputs == usize::MAX { inputs } else { arity.needed };
    refuse_unless(
        !node.inputs.iter().take(needed).any(|&value| value == ABSENT)
            && node.outputs.iter().any(|&value| value != ABSENT),
        Rule::G4,
        || String::from("an input or output that must be there is absent"),
    )
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
    context: &Context<'_>,
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
