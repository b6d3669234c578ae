//! The rules of what a stream carries from call to call, and of its axes.

use crate::error::{Error, Quoted, Rule};
use crate::graph::{ABSENT, Dim, Graph, Port, State, Tensor, ValueId};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

/// What a stream carries, and its axes.
pub(crate) fn check_states(
    graph: &Graph,
    tensors: &[Tensor],
    constants: &[Option<usize>],
) -> Result<(), Error> {
    let inputs = by_value(graph, &graph.inputs);
    let outputs = by_value(graph, &graph.outputs);
    let none = vec![false; graph.values.len()];
    let (mut from, mut to) = (none.clone(), none);
    for state in &graph.states {
        let (input, output) = (port(&inputs, state.input), port(&outputs, state.output));
        let (Some(input), Some(output)) = (input, output) else {
            return Err(at_state(Rule::G17, state, "it does not join an input and an output"));
        };
        let taken = [&mut from[state.input as usize], &mut to[state.output as usize]];
        if taken.map(|taken| mem::replace(taken, true)) != [false; 2] {
            return Err(at_state(Rule::G17, state, "another state has its input or output"));
        }
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
    inputs: &[Option<&Port>],
    outputs: &[Option<&Port>],
) -> Result<(), Error> {
    let mut seen = vec![false; graph.values.len()];
    for stream in &graph.streams {
        let port = port(inputs, stream.value).or_else(|| port(outputs, stream.value));
        let fits = port.is_some_and(|port| {
            let rank = port.dims.len();
            (stream.time_axis as usize) < rank
                && stream
                    .batch_axis
                    .is_none_or(|axis| (axis as usize) < rank && axis != stream.time_axis)
        });
        if !fits || mem::replace(&mut seen[stream.value as usize], true) {
            let detail = format!("the stream of value {} is wrong or repeated", stream.value);
            return Err(Error::invalid(Rule::G18, detail));
        }
    }
    Ok(())
}

fn at_state(rule: Rule, state: &State, what: &str) -> Error {
    Error::invalid(rule, format!("state {}: {what}", Quoted(&state.name)))
}

/// Of each value, its port among some of a graph.
fn by_value<'a>(graph: &Graph, ports: &'a [Port]) -> Vec<Option<&'a Port>> {
    let mut found = vec![None; graph.values.len()];
    for port in ports {
        found[port.value as usize] = Some(port);
    }
    found
}

fn port<'a>(ports: &[Option<&'a Port>], value: ValueId) -> Option<&'a Port> {
    ports.get(value as usize).copied().flatten()
}
