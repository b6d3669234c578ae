//! What a graph says of time: which axis it is, whether a call takes one step, and whether a layer
//! starts each call anew.

use std::collections::BTreeSet;

use amq_format::graph::{ABSENT, Cell, Dim, Graph, Op, Port, ValueId};

use crate::error::{Error, Result};
use crate::loaded::value_name;

/// Whether a model with states has to be fed one token a call: `axis`, along which tokens follow, is
/// a batch, as states have it too, or the scores do not have it and are those of the last step.
pub fn takes_steps(graph: &Graph, axis: &Dim, output: &Port) -> bool {
    let mentions = |dim: &Dim| {
        let other = |name: &str| (Some(name) != axis.as_name()).then(|| Dim::from(1));
        dim.substitute(&other).is_err()
    };
    let is_state = |port: &&Port| graph.states.iter().any(|state| state.input == port.value);
    let mut of_states = graph.inputs.iter().filter(is_state).flat_map(|port| &port.dims);
    !graph.states.is_empty() && (of_states.any(mentions) || !output.dims.iter().any(mentions))
}

/// Whether a recurrent layer starts each call from what no state gives.
pub fn starts_anew(graph: &Graph) -> bool {
    let mut carried: BTreeSet<ValueId> = graph.states.iter().map(|state| state.input).collect();
    graph.nodes.iter().any(|node| {
        if node.inputs.iter().any(|input| carried.contains(input)) {
            carried.extend(node.outputs.iter().filter(|&&output| output != ABSENT));
        }
        let Some(Op::Recurrent(layer)) = &node.op else { return false };
        let states = if layer.cell() == Cell::Lstm { 5..7 } else { 5..6 };
        !states.into_iter().all(|i| node.inputs.get(i).is_some_and(|input| carried.contains(input)))
    })
}

/// The axis of an input along which tokens follow each other, and its size if that is fixed.
/// Every other axis can have size 1.
///
/// # Errors
/// An axis that cannot be told from a batch, a batch of fixed size above 1, and no steps at all.
pub fn time_axis(graph: &Graph, input: &Port) -> Result<(usize, Option<usize>)> {
    let name = value_name(graph, input.value);
    let sizes: Vec<Option<i64>> = input.dims.iter().map(|dim| dim.as_size()).collect();
    let stream = graph.streams.iter().find(|stream| stream.value == input.value);
    let named_batch = |axis: usize| {
        let name = input.dims[axis].as_name().unwrap_or("").to_ascii_lowercase();
        name.contains("batch") || name == "n" || name == "b"
    };
    let one = Some(1);
    let axis = match (stream, sizes.as_slice()) {
        (Some(stream), _) => Some(stream.time_axis as usize),
        (None, [_]) => Some(0),
        (None, [_, batch]) if *batch == one && !named_batch(0) => Some(0),
        (None, [batch, _]) if *batch == one && !named_batch(1) => Some(1),
        // A step of a batch.
        (None, [time, _]) if *time == one => Some(0),
        (None, [_, time]) if *time == one => Some(1),
        (None, [Some(_), None]) => Some(0),
        (None, [None, Some(_)]) => Some(1),
        (None, [None, None]) if named_batch(0) != named_batch(1) => {
            Some(usize::from(named_batch(0)))
        }
        _ => None,
    };
    let Some(axis) = axis.filter(|&axis| axis < sizes.len()) else {
        return Err(Error::unsupported(format!("which axis of {name:?} is time is not clear"))
            .remedy("export the model with axes called seq and batch, or with a batch of 1"));
    };
    let others = sizes.iter().enumerate().filter(|&(other, _)| other != axis);
    if let Some((_, Some(size))) = others.into_iter().find(|(_, size)| size.is_some_and(|s| s != 1))
    {
        return Err(Error::unsupported(format!(
            "{name:?} takes {size} streams at once, and eval feeds one"
        ))
        .remedy("export the model with a batch of 1, or of any size"));
    }
    match sizes[axis].map(usize::try_from) {
        None => Ok((axis, None)),
        Some(Ok(steps @ 1..)) => Ok((axis, Some(steps))),
        Some(_) => Err(Error::unsupported(format!("{name:?} takes no tokens"))),
    }
}

#[cfg(test)]
mod tests {
    use amq_format::graph::{DataType, Node, Recurrent, Reshape, State, Stream};

    use super::*;

    fn port(dims: &[&str]) -> Port {
        let dims = dims.iter().map(|&text| text.parse().map_or(Dim::named(text), i64::into));
        Port { value: 1, data_type: DataType::I64 as i32, dims: dims.collect(), ..Port::default() }
    }

    fn graph() -> Graph {
        Graph { values: vec!["".into(), "tokens".into()], ..Graph::default() }
    }

    #[test]
    fn the_time_axis_is_found_or_refused() {
        for (dims, expected) in [
            (&["seq"][..], Some((0, None))),
            (&["seq", "batch"], Some((0, None))),
            (&["batch_size", "length"], Some((1, None))),
            (&["35", "1"], Some((0, Some(35)))),
            (&["1", "35"], Some((1, Some(35)))),
            (&["1", "1"], Some((0, Some(1)))),
            (&["t", "1"], Some((0, None))),
            (&["1", "t"], Some((1, None))),
            (&["1", "batch"], Some((0, Some(1)))),
            (&["n", "1"], Some((1, Some(1)))),
            (&["batch", "35"], Some((1, Some(35)))),
            (&["35", "n"], Some((0, Some(35)))),
            (&["x", "y"], None),
            (&["35", "20"], None),
            (&["a", "b", "c"], None),
            (&[], None),
        ] {
            assert_eq!(time_axis(&graph(), &port(dims)).ok(), expected, "{dims:?}");
        }
    }

    #[test]
    fn a_declared_stream_decides() {
        let mut graph = graph();
        graph.streams = vec![Stream { value: 1, time_axis: 1, batch_axis: Some(0) }];
        assert_eq!(time_axis(&graph, &port(&["x", "y"])).ok(), Some((1, None)));
        assert!(time_axis(&graph, &port(&["20", "35"])).is_err());
        assert!(time_axis(&graph, &port(&["x"])).is_err());
    }

    #[test]
    fn batches_and_last_steps_are_fed_token_by_token() {
        for (state, output, expected) in [
            (&["1", "batch", "8"][..], &["seq", "batch", "9"][..], false),
            (&["1", "1", "8"], &["seq", "9"], false),
            (&["seq", "8"], &["seq", "9"], true),
            (&["1", "batch", "8"], &["batch", "9"], true),
        ] {
            let mut graph = graph();
            graph.inputs = vec![Port { value: 2, ..port(state) }];
            let steps = |graph: &Graph| takes_steps(graph, &Dim::named("seq"), &port(output));
            assert!(!steps(&graph), "without states a text is read at once");
            graph.states = vec![State { input: 2, ..State::default() }];
            assert_eq!(steps(&graph), expected, "{state:?} {output:?}");
        }
    }

    #[test]
    fn a_layer_starts_anew_unless_states_give_all_it_starts_from() {
        // x, h, c, a half of h, and a layer that starts from that half and from c.
        let mut cut = Node { inputs: vec![2], outputs: vec![4], ..Node::default() };
        cut.op = Some(Op::Reshape(Reshape::default()));
        let layer = Recurrent { cell: Cell::Lstm as i32, ..Recurrent::default() };
        let mut lstm = Node { inputs: vec![1, 8, 9, 0, 0, 4, 3], ..Node::default() };
        lstm.op = Some(Op::Recurrent(Box::new(layer)));
        let state = |input| State { input, ..State::default() };
        let mut graph = Graph { nodes: vec![cut, lstm], ..Graph::default() };
        for (states, expected) in
            [(vec![2, 3], false), (vec![2], true), (vec![3], true), (vec![1, 3], true)]
        {
            graph.states = states.into_iter().map(state).collect();
            assert_eq!(starts_anew(&graph), expected, "{:?}", graph.states);
        }
        // An output that is not wanted gives nothing to an input that is not there.
        graph.states = vec![state(2), state(3)];
        graph.nodes[1].inputs[5] = ABSENT;
        graph.nodes[1].outputs = vec![5, ABSENT, 6];
        assert!(starts_anew(&graph));
    }
}
