//! Finds what a stream carries from one call to the next, and which axes are time.
//!
//! A graph input is a state where all of it, part by part, is the initial state of recurrent layers
//! that read forward, and a graph output is those layers' last states in the same order. Only nodes
//! that reshape, cut or join along the outermost axis may stand between. An input that is the initial
//! value of two states is none of them.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::Fact;
use amq_format::graph::{
    ABSENT, Dim, Direction, Node, Op, Port, State, Stream, UnaryFunction, ValueId,
};

use crate::error::{Error, Result};
use crate::ir::{self, Module, fact};
use crate::names::no_such;
use crate::passes::unify::Equal;
use crate::tensor::Data;

/// Declares the states that are found and those that the user names as `(input, output)`, and, if
/// there are any, the streamed inputs and outputs.
pub(crate) fn declare(module: &mut Module, named: &[(String, String)]) -> Result<()> {
    let mut states = named_states(module, named)?;
    let facts = module.facts()?;
    let mut notes = Vec::new();
    let trace = Trace { module, facts: &facts, producers: ir::producers(&module.graph.nodes) };
    let claim = |output| Some((trace.state_input(output)?, trace.layers(output)?));
    let claims: BTreeMap<ValueId, (ValueId, Vec<ValueId>)> =
        module.graph.outputs.iter().filter_map(|o| Some((o.value, claim(o.value)?))).collect();
    let mut shared = BTreeSet::new();
    for output in &module.graph.outputs {
        let Some((input, layers)) = claims.get(&output.value) else { continue };
        let input = *input;
        let taken = |s: &State| s.input == input || s.output == output.value;
        if let Some(index) = states.iter().position(taken) {
            let state = &states[index];
            if index < named.len() && (state.input, state.output) != (input, output.value) {
                notes.push(format!(
                    "--state {}={} takes the place of the state {} <- {}, which the layers have",
                    state.name,
                    module.name(state.output),
                    module.name(input),
                    module.name(output.value)
                ));
            }
            continue;
        }
        let Some(port) = module.graph.inputs.iter().find(|port| port.value == input) else {
            continue;
        };
        // Which of two states it would be, nobody can tell.
        let other = module.graph.outputs.iter().find(|other| {
            let claim = claims.get(&other.value);
            compatible(port, other) && claim.is_some_and(|(of, by)| *of == input && by != layers)
        });
        if let Some(other) = other {
            if shared.insert(input) {
                let [name, a, b] = [input, output.value, other.value].map(|v| module.name(v));
                notes.push(format!(
                    "the input {name} is the initial value of two states, whose next ones are {a} \
                     and {b}, so it is taken for neither: give each an input of its own, or name \
                     one: --state {name}={a}"
                ));
            }
            continue;
        }
        if compatible(port, output) {
            states.push(State {
                name: module.graph.values[input as usize].clone(),
                input,
                output: output.value,
                initial: ABSENT,
            });
        }
    }
    let mut initial = BTreeSet::new();
    for node in &module.graph.nodes {
        let forward = matches!(&node.op, Some(Op::Recurrent(layer)) if layer.direction() == Direction::Forward);
        let values = node.inputs.iter().skip(5).take(2).filter(|_| forward);
        initial.extend(values.filter_map(|&value| Some(trace.source(value)?.0)));
    }
    for port in &module.graph.inputs {
        let found = states.iter().any(|state| state.input == port.value);
        if initial.contains(&port.value) && !found && !shared.contains(&port.value) {
            let name = module.name(port.value);
            notes.push(format!(
                "the input {name} is an initial state, and no output was found to be its next; \
                 --state {name}=OUT names one"
            ));
        }
    }
    let order = |state: &State| module.graph.inputs.iter().position(|p| p.value == state.input);
    states.sort_by_key(order);
    let streams = if states.is_empty() { Vec::new() } else { streams(module, &facts, &states) };
    module.graph.states = states;
    module.notes.append(&mut notes);
    module.graph.streams = streams;
    Ok(())
}

/// The states that the user names. Dimensions of a state's input and output are taken to be equal
/// where one is a name.
fn named_states(module: &mut Module, named: &[(String, String)]) -> Result<Vec<State>> {
    let mut equal = Equal::default();
    let mut states: Vec<State> = Vec::new();
    let mut shapes = Vec::new();
    for (input, output) in named {
        let (from, to) = named_ports(module, input, output)?;
        if states.iter().any(|s| s.input == from.value || s.output == to.value) {
            return Err(Error::usage(format!(
                "--state {input}={output}: a value can belong to one state only"
            )));
        }
        for (from, to) in from.dims.iter().zip(&to.dims) {
            let mut terms = vec![to];
            while let Some(term) = terms.pop() {
                match term.as_broadcast() {
                    Some(parts) => terms.extend(parts),
                    None => equal.add(from.clone(), term.clone()),
                }
            }
        }
        // As the model has them: what is taken to be equal would show other names.
        shapes.push((describe(from), describe(to)));
        states.push(State {
            name: input.clone(),
            input: from.value,
            output: to.value,
            initial: ABSENT,
        });
    }
    equal.apply(module)?;
    for ((input, output), (from_text, to_text)) in named.iter().zip(shapes) {
        let (from, to) = named_ports(module, input, output)?;
        if !compatible(from, to) {
            return Err(Error::usage(format!(
                "--state {input}={output}: the input is {from_text} and the output {to_text}"
            ))
            .remedy("a state keeps its type and shape from call to call"));
        }
    }
    Ok(states)
}

/// The input and the output of these names.
fn named_ports<'a>(module: &'a Module, input: &str, output: &str) -> Result<(&'a Port, &'a Port)> {
    let find = |ports: &'a [Port], kind: &str, name: &str| {
        ports.iter().find(|port| module.name(port.value) == name).ok_or_else(|| {
            let names = ports.iter().map(|port| module.name(port.value));
            no_such(kind, name, names).within(format_args!("--state {input}={output}"))
        })
    };
    let graph = &module.graph;
    Ok((find(&graph.inputs, "input", input)?, find(&graph.outputs, "output", output)?))
}

/// Whether a call's output has the type and shape of the next call's input.
fn compatible(a: &Port, b: &Port) -> bool {
    a.data_type == b.data_type && a.dims == b.dims
}

fn describe(port: &Port) -> String {
    let dims: Vec<_> = port.dims.iter().map(Dim::to_string).collect();
    format!("{} [{}]", port.data_type().name(), dims.join(", "))
}

/// Whether the operator gives its input's elements in their order, at most in a shorter float type.
fn keeps_elements(op: &Op) -> bool {
    match op {
        Op::Reshape(_) => true,
        Op::Unary(unary) => {
            matches!(unary.function(), UnaryFunction::ToF16 | UnaryFunction::ToBf16)
        }
        _ => false,
    }
}

struct Trace<'a> {
    module: &'a Module,
    facts: &'a [Option<Fact>],
    producers: BTreeMap<ValueId, usize>,
}

impl Trace<'_> {
    /// The values of layers that `output` is made of.
    fn layers(&self, output: ValueId) -> Option<Vec<ValueId>> {
        let mut layers = Vec::new();
        self.parts(output, &mut layers, 0)?;
        Some(layers)
    }

    /// The graph input that `output` is the next state for.
    fn state_input(&self, output: ValueId) -> Option<ValueId> {
        let mut offset = Dim::from(0);
        let mut input = None;
        for last in self.layers(output)? {
            let initial = self.initial(last)?;
            let (source, start) = self.source(initial)?;
            if start != offset || *input.get_or_insert(source) != source {
                return None;
            }
            offset = offset.add(&self.elements(last)?).ok()?;
        }
        let whole = input.filter(|&input| self.elements(input).as_ref() == Some(&offset));
        whole.filter(|input| self.module.graph.inputs.iter().any(|port| port.value == *input))
    }

    /// What `value` is made of, in order, looking through joins and reshapes.
    fn parts(&self, value: ValueId, parts: &mut Vec<ValueId>, depth: usize) -> Option<()> {
        let node = &self.module.graph.nodes[*self.producers.get(&value)?];
        match &node.op {
            // Each part is a layer's of its own: more are joined more than once, maybe endlessly.
            _ if depth > 64 || parts.len() > self.module.graph.nodes.len() => None,
            Some(op) if keeps_elements(op) => self.parts(node.inputs[0], parts, depth + 1),
            Some(Op::Concat(concat)) if self.outermost(value, concat.axis) => {
                node.inputs.iter().try_for_each(|&input| self.parts(input, parts, depth + 1))
            }
            _ => {
                parts.push(value);
                Some(())
            }
        }
    }

    /// The initial state that belongs to a recurrent layer's last state.
    fn initial(&self, last: ValueId) -> Option<ValueId> {
        let node = &self.module.graph.nodes[*self.producers.get(&last)?];
        let Some(Op::Recurrent(layer)) = &node.op else { return None };
        let input = match node.outputs.iter().position(|&output| output == last)? {
            1 => 5,
            2 => 6,
            _ => return None,
        };
        let forward = layer.direction() == Direction::Forward;
        node.inputs.get(input).copied().filter(|&value| forward && value != ABSENT)
    }

    /// The value that `value` is a part of, and the element at which the part starts.
    fn source(&self, mut value: ValueId) -> Option<(ValueId, Dim)> {
        let mut start = Dim::from(0);
        while let Some(&index) = self.producers.get(&value) {
            let node = &self.module.graph.nodes[index];
            let input = *node.inputs.first()?;
            let (axis, first) = match &node.op {
                Some(op) if keeps_elements(op) => (0, Dim::from(0)),
                Some(Op::Slice(slice)) => match (slice.axes.as_slice(), slice.steps.as_slice()) {
                    (&[axis], &[1]) => (axis, slice.starts.first()?.clone()),
                    _ => return None,
                },
                Some(Op::Gather(gather)) => {
                    let index = self.module.constants.get(node.inputs.get(1)?)?;
                    match &index.data {
                        Data::I64(data) if data.len() == 1 => (gather.axis, Dim::from(data[0])),
                        _ => return None,
                    }
                }
                _ => return None,
            };
            if !node.op.as_ref().is_some_and(keeps_elements) {
                if !self.outermost(input, axis) {
                    return None;
                }
                let dims = &fact(self.facts, input)?.dims;
                let size = dims.get(axis as usize)?;
                let first = match first.as_size() {
                    Some(index) if index < 0 => size.add(&first).ok()?,
                    _ => first,
                };
                let inner = Dim::product(&dims[axis as usize + 1..]).ok()?;
                start = start.add(&first.mul(&inner).ok()?).ok()?;
            }
            value = input;
        }
        Some((value, start))
    }

    /// Whether every axis of `value` before `axis` has size 1.
    fn outermost(&self, value: ValueId, axis: u32) -> bool {
        fact(self.facts, value).is_some_and(|fact| {
            fact.dims.iter().take(axis as usize).all(|dim| dim.as_size() == Some(1))
        })
    }

    fn elements(&self, value: ValueId) -> Option<Dim> {
        Dim::product(&fact(self.facts, value)?.dims).ok()
    }
}

/// Inputs and outputs, but for states, that have the time axis of a recurrent layer. There are none
/// where a layer reads backwards. That an axis is time does not say that the sequence may be cut
/// anywhere: a convolution may look around.
fn streams(module: &Module, facts: &[Option<Fact>], states: &[State]) -> Vec<Stream> {
    let backward = |node: &Node| matches!(&node.op, Some(Op::Recurrent(layer)) if layer.direction() != Direction::Forward);
    if module.graph.nodes.iter().any(backward) {
        return Vec::new();
    }
    let layer = |node: &&Node| matches!(&node.op, Some(Op::Recurrent(_)));
    let sequence =
        module.graph.nodes.iter().find(layer).and_then(|node| fact(facts, node.inputs[0]));
    let Some([time, batch, _]) = sequence.map(|fact| fact.dims.as_slice()) else {
        return Vec::new();
    };
    // A fixed number of steps is not a stream that can be cut anywhere.
    if time.as_name().is_none() {
        return Vec::new();
    }
    let axis_of = |port: &Port, wanted: &Dim| {
        port.dims.iter().position(|dim| dim == wanted).map(|axis| axis as u32)
    };
    let is_state = |port: &&Port| {
        states.iter().any(|state| state.input == port.value || state.output == port.value)
    };
    let ports = module.graph.inputs.iter().chain(&module.graph.outputs);
    ports
        .filter(|port| !is_state(port))
        .filter_map(|port| {
            let time_axis = axis_of(port, time)?;
            let batch_axis = batch.as_name().and_then(|_| axis_of(port, batch));
            let batch_axis = batch_axis.filter(|&axis| axis != time_axis);
            Some(Stream { value: port.value, time_axis, batch_axis })
        })
        .collect()
}
