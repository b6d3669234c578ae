//! A graph with only the values that it uses.

use std::collections::BTreeMap;

use amq_format::graph::{ABSENT, Graph, ValueId};

/// `graph` with its values numbered anew, in the order in which they are defined, and the former
/// number of each.
pub(crate) fn compact(mut graph: Graph) -> (Graph, Vec<ValueId>) {
    let mut former = vec![ABSENT];
    let mut number = BTreeMap::from([(ABSENT, ABSENT)]);
    let defined = graph.inputs.iter().map(|port| port.value);
    let defined = defined.chain(graph.tensors.iter().map(|tensor| tensor.value));
    let defined = defined.chain(graph.nodes.iter().flat_map(|node| node.outputs.iter().copied()));
    for value in defined {
        number.entry(value).or_insert_with(|| {
            former.push(value);
            (former.len() - 1) as ValueId
        });
    }
    let old = std::mem::take(&mut graph.values);
    graph.values = former.iter().map(|&value| old[value as usize].clone()).collect();
    // A value that nothing defines keeps no number: the validator refuses it by place.
    let renumber = |value: &mut ValueId| *value = *number.get(value).unwrap_or(&ValueId::MAX);
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(|port| renumber(&mut port.value));
    graph.tensors.iter_mut().for_each(|tensor| renumber(&mut tensor.value));
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).for_each(renumber);
        let bodies = std::mem::take(&mut node.bodies);
        node.bodies = bodies.into_iter().map(|body| compact(body).0).collect();
    }
    for state in &mut graph.states {
        [&mut state.input, &mut state.output, &mut state.initial].into_iter().for_each(renumber);
    }
    graph.streams.iter_mut().for_each(|stream| renumber(&mut stream.value));
    (graph, former)
}
