//! Drops nodes and constants that nothing reads, and outputs of nodes that nobody takes.

use std::collections::BTreeSet;

use amq_format::graph::{ABSENT, Dim, Node, Op};

use crate::error::Result;
use crate::ir::Module;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let mut live: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    let mut names = BTreeSet::new();
    module.graph.outputs.iter().for_each(|port| add_names(&mut names, &port.dims));
    let mut kept = Vec::new();
    for mut node in std::mem::take(&mut module.graph.nodes).into_iter().rev() {
        let first = node.outputs.iter().copied().find(|&output| output != ABSENT);
        for output in &mut node.outputs {
            if !live.contains(output) {
                *output = ABSENT;
            }
        }
        // A node that gives a size that is read gives something.
        let gives = node.binds.iter().any(|name| names.contains(name));
        if gives && node.outputs.iter().all(|&output| output == ABSENT) {
            node.outputs[0] = first.unwrap_or_default();
        }
        // Those of a body are as many as the shapes that its operator states.
        while node.bodies.is_empty() && node.outputs.last() == Some(&ABSENT) {
            node.outputs.pop();
        }
        if node.outputs.iter().any(|&output| output != ABSENT) {
            live.extend(&node.inputs);
            names_of(&mut names, &node);
            kept.push(node);
        }
    }
    kept.reverse();
    module.graph.nodes = kept;
    module.constants.retain(|value, _| live.contains(value));
    Ok(())
}

fn add_names(names: &mut BTreeSet<String>, dims: &[Dim]) {
    dims.iter().for_each(|dim| {
        dim.each_name(&mut |name| {
            names.insert(name.to_owned());
        });
    });
}

/// Adds the names of the sizes that a node reads.
fn names_of(names: &mut BTreeSet<String>, node: &Node) {
    let lists = node.op.iter().flat_map(|op| Op::operator(op).dims());
    lists.for_each(|dims| add_names(names, dims));
    for body in &node.bodies {
        let ports = body.inputs.iter().chain(&body.outputs);
        ports.for_each(|port| add_names(names, &port.dims));
        body.nodes.iter().for_each(|inner| names_of(names, inner));
    }
}
