//! The rules of a graph, apart from its constants' data.

use crate::carried::check_states;
use crate::error::{Error, Quoted, Rule, within};
use crate::fact::list;
use crate::fault::{Refusal, refuse_unless};
use crate::graph::{ABSENT, DataType, Dim, Graph, Node, Op, Port, Precision, Tensor, ValueId};
use crate::limits::Limits;
use crate::operator::{Captures, Constants, unfit};
use crate::scan::scan;
use crate::since::Since;
use crate::spec::{MAJOR, MAX_BODIES, MAX_RANK, MINOR};
use alloc::collections::BTreeSet;
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
    let weights = vec![false; graph.tensors.len()];
    let mut checker =
        Checker { tensors: &graph.tensors, weights, names: BTreeSet::new(), depth: 0, limits };
    checker.graph(graph, &|_| None)?;
    Ok(checker.weights)
}

/// What a graph and its bodies are checked with.
struct Checker<'a> {
    /// The constants, of which all are the outermost graph's.
    tensors: &'a [Tensor],
    /// Of each, whether it is a weight or a bias.
    weights: Vec<bool>,
    /// Names that dimensions may have.
    names: BTreeSet<&'a str>,
    /// Graphs around the one that is checked.
    depth: usize,
    limits: &'a Limits,
}

impl<'a> Checker<'a> {
    /// Checks a graph, of whose inputs `given` tells which are constants.
    fn graph(
        &mut self,
        graph: &'a Graph,
        given: &dyn Fn(usize) -> Option<usize>,
    ) -> Result<(), Error> {
        check_names(graph, self.limits)?;
        graph.nodes.iter().try_for_each(|node| known(node, self.limits, false))?;
        let mut constants = check_values(graph)?;
        for (i, port) in graph.inputs.iter().enumerate() {
            constants[port.value as usize] = given(i);
        }
        // Names of a body are forgotten after it.
        let mut added = self.check_inputs(graph)?;
        for node in &graph.nodes {
            let Some(op) = &node.op else { continue };
            let refused = |(rule, what): Refusal| at_node(rule, node, &what);
            check_arity(node, op).map_err(refused)?;
            self.add_binds(node)?;
            added.extend(node.binds.iter().map(String::as_str));
            let context = Context { tensors: self.tensors, constants: &constants };
            context.check(node, op, &self.names).map_err(refused)?;
            for slot in op.operator().slots().iter().filter(|slot| slot.is_constant()) {
                let value = node.inputs.get(slot.input).copied().unwrap_or(ABSENT);
                if let Some(tensor) = constants[value as usize] {
                    self.weights[tensor] = true;
                }
            }
            for body in &node.bodies {
                self.body(node, op, body, &constants)?;
            }
        }
        check_outputs(graph, self.tensors, &constants, &self.names)?;
        check_states(graph, self.tensors, &constants)?;
        for name in added.iter().filter(|_| self.depth > 0) {
            self.names.remove(name);
        }
        Ok(())
    }

    fn body(
        &mut self,
        node: &Node,
        op: &Op,
        body: &'a Graph,
        constants: &[Option<usize>],
    ) -> Result<(), Error> {
        let refuse = |rule, what: &str| Err(at_node(rule, node, what));
        if self.depth == MAX_BODIES {
            return refuse(Rule::G9, "bodies are nested too deeply");
        }
        if !(body.tensors.is_empty() && body.states.is_empty() && body.streams.is_empty()) {
            return refuse(Rule::G9, "a body has constants, states or streams");
        }
        let Captures { first, at } = op.operator().arity().captures;
        let (found, needed) = (body.inputs.len(), at + node.inputs.len() - first);
        if found != needed {
            return refuse(Rule::G9, &format!("a body has {found} inputs, not {needed}"));
        }
        let given = |input: usize| {
            let value = *node.inputs.get(first + input.checked_sub(at)?)?;
            constants[value as usize]
        };
        self.depth += 1;
        let checked = self.graph(body, &given);
        self.depth -= 1;
        checked
    }

    /// Adds the names that inputs' shapes have alone, in a body also those less 1; gives those that are
    /// new.
    fn check_inputs(&mut self, graph: &'a Graph) -> Result<Vec<&'a str>, Error> {
        let mut added = Vec::new();
        let body = self.depth > 0;
        let name = |dim: &'a Dim| dim.as_name().or_else(|| dim.as_given().filter(|_| body));
        for name in graph.inputs.iter().flat_map(|port| &port.dims).filter_map(name) {
            within("name_bytes", name.len() as u64, self.limits.name_bytes)?;
            if name.is_empty() {
                let detail = "an input has a dimension with an empty name";
                return Err(Error::invalid(Rule::G12, detail));
            }
            if self.names.insert(name) {
                added.push(name);
            }
        }
        for port in &graph.inputs {
            check_port(graph, port, &self.names)?;
            if self.depth == 0 && port.dims.iter().any(|dim| dim.as_size() == Some(0)) {
                let name = &graph.values[port.value as usize];
                let detail = format!("input {} has a dimension of 0", Quoted(name));
                return Err(Error::invalid(Rule::G16, detail));
            }
        }
        Ok(added)
    }

    /// Adds the names of the sizes that a node gives.
    fn add_binds(&mut self, node: &'a Node) -> Result<(), Error> {
        for name in &node.binds {
            within("name_bytes", name.len() as u64, self.limits.name_bytes)?;
            if name.is_empty() || !self.names.insert(name) {
                let what = format!("it gives a size {}, which is there already", Quoted(name));
                return Err(at_node(Rule::G9, node, &what));
            }
        }
        Ok(())
    }
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
    Error::invalid(rule, format!("node {} ({op}): {what}", Quoted(&node.name)))
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
            "node {} has an operator that version {MAJOR}.{MINOR} does not know",
            Quoted(&node.name)
        );
        return Err(Error::unsupported(Rule::G7, detail));
    };
    let newest = op.operator().newest();
    if node.version == 0 || node.version > newest {
        let detail = format!(
            "node {} has {} of version {}, this reader knows 1 to {newest}",
            Quoted(&node.name),
            op.name(),
            node.version
        );
        return Err(Error::unsupported(Rule::G8, detail));
    }
    Ok(())
}

/// The constants that nodes are checked against.
struct Context<'a, 'c> {
    tensors: &'a [Tensor],
    /// Each value's tensor.
    constants: &'c [Option<usize>],
}

impl<'a> Context<'a, '_> {
    /// The constant that gives a value, if one does.
    fn constant(&self, value: ValueId) -> Option<&'a Tensor> {
        let index = (*self.constants.get(value as usize)?)?;
        self.tensors.get(index)
    }

    /// The rules of a node by itself, as its operator declares them.
    fn check(&self, node: &Node, op: &Op, names: &BTreeSet<&str>) -> Result<(), Refusal> {
        let declared = op.operator();
        declared.attributes()?;
        // An operator of a version that lacks what its attributes say.
        let since = declared.since().version;
        refuse_unless(node.version >= since, Rule::G8, || {
            format!("its attributes are of version {since}, it is of version {}", node.version)
        })?;
        for dim in declared.dims().into_iter().flatten() {
            check_dim(dim, names, i64::MIN).map_err(|what| (Rule::G12, what))?;
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
        // What a body gets is seen where the body uses it.
        let own = match node.bodies.is_empty() {
            true => node.inputs.len(),
            false => op.operator().arity().captures.first,
        };
        for (input, &value) in node.inputs.iter().enumerate().take(own) {
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
                format!("input {input} of shape {} has {} rows", list(&tensor.dims), coding.rows)
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
    refuse_unless(arity.binds == usize::MAX || binds == arity.binds, Rule::G9, || {
        format!("{binds} names of sizes")
    })?;
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
        if name.is_empty() != (value == 0) || !seen.insert(name.as_str()) {
            return Err(Error::invalid(
                Rule::G3,
                format!("value {value} is called {}", Quoted(name)),
            ));
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
            give(value, &|| format!("node {}", Quoted(&node.name)))?;
        }
    }
    if let Some(value) = given.iter().skip(1).position(|given| !given) {
        let name = &graph.values[value + 1];
        return Err(Error::invalid(Rule::G5, format!("nothing gives value {}", Quoted(name))));
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
                    let what = format!("reads {} too early", Quoted(&graph.values[value as usize]));
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
fn check_port(graph: &Graph, port: &Port, names: &BTreeSet<&str>) -> Result<(), Error> {
    let refuse = |rule, what: String| {
        let name = graph.values.get(port.value as usize);
        Err(Error::invalid(rule, format!("port {}: {what}", Quoted(name.map_or("?", |name| name)))))
    };
    if DataType::try_from(port.data_type).is_err() {
        return refuse(Rule::T2, format!("elements of type {}", port.data_type));
    }
    match Precision::try_from(port.precision) {
        Ok(Precision::F32) => {}
        Ok(_) if port.data_type() == DataType::F32 => {}
        _ => return refuse(Rule::T2, format!("precision {}", port.precision)),
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
fn check_dim(dim: &Dim, names: &BTreeSet<&str>, least: i64) -> Result<(), String> {
    dim.check(&|name| names.contains(name)).map_err(|error| format!("{error}"))?;
    match dim.as_size() {
        Some(size) if size < least => Err(format!("dimension {size}")),
        _ => Ok(()),
    }
}

fn check_outputs(
    graph: &Graph,
    tensors: &[Tensor],
    constants: &[Option<usize>],
    names: &BTreeSet<&str>,
) -> Result<(), Error> {
    let mut seen = vec![false; graph.values.len()];
    for (index, port) in graph.outputs.iter().enumerate() {
        if port.value == ABSENT || port.value as usize >= graph.values.len() {
            let detail = format!("output {index} is value {}", port.value);
            return Err(Error::invalid(Rule::G4, detail));
        }
        let name = &graph.values[port.value as usize];
        if core::mem::replace(&mut seen[port.value as usize], true) {
            return Err(Error::invalid(
                Rule::G16,
                format!("output {} is listed twice", Quoted(name)),
            ));
        }
        let tensor = constants[port.value as usize].map(|index| &tensors[index]);
        if tensor.is_some_and(|tensor| tensor.multi_bit.is_some()) {
            return Err(Error::invalid(Rule::G14, format!("output {} is multi-bit", Quoted(name))));
        }
        check_port(graph, port, names)?;
    }
    Ok(())
}
