//! The rules of what a stream carries from call to call, and of its axes.

use crate::error::{Error, Rule};
use crate::graph::{ABSENT, Dim, Graph, Port, State, Tensor, ValueId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

/// What a stream carries, and its axes.
pub(crate) fn check_states(
    graph: &Graph,
    tensors: &[Tensor],
    constants: &[Option<usize>],
) -> Result<(), Error> {
    let (inputs, outputs) = (by_value(&graph.inputs), by_value(&graph.outputs));
    let mut joined = (BTreeSet::new(), BTreeSet::new());
    for state in &graph.states {
        if !joined.0.insert(state.input) || !joined.1.insert(state.output) {
            return Err(at_state(Rule::G17, state, "another state has its input or output"));
        }
        let (input, output) = (inputs.get(&state.input), outputs.get(&state.output));
        let (Some(input), Some(output)) = (input, output) else {
            return Err(at_state(Rule::G17, state, "it does not join an input and an output"));
        };
        check_state(graph, tensors, constants, state, input, output)
            .map_err(|(rule, what)| at_state(rule, state, what))?;
    }
    check_streams(graph, &inputs, &outputs)
}

fn check_state(
    graph: &Graph,
    tensors: &[Tensor],
    constants: &[Option<usize>],
    state: &State,
    input: &Port,
    output: &Port,
) -> Result<(), (Rule, &'static str)> {
    let refuse = |what| Err((Rule::G17, what));
    if state.name != graph.values[state.input as usize] {
        return refuse("it has not the name of its input");
    }
    if input.data_type != output.data_type || input.dims != output.dims {
        return refuse("its input and output have different types or shapes");
    }
    if state.initial == ABSENT {
        return Ok(());
    }
    let index = constants.get(state.initial as usize).copied().flatten();
    let Some(initial) = index.and_then(|index| tensors.get(index)) else {
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

fn at_state(rule: Rule, state: &State, what: &str) -> Error {
    Error::invalid(rule, format!("state {:?}: {what}", state.name))
}

fn by_value(ports: &[Port]) -> BTreeMap<ValueId, &Port> {
    ports.iter().map(|port| (port.value, port)).collect()
}
