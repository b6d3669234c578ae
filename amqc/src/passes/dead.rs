//! Drops nodes and constants that nothing reads, and outputs of nodes that nobody takes.

use std::collections::BTreeSet;

use amq_format::graph::ABSENT;

use crate::error::Result;
use crate::ir::Module;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let mut live: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    let mut kept = Vec::new();
    for mut node in std::mem::take(&mut module.graph.nodes).into_iter().rev() {
        for output in &mut node.outputs {
            if !live.contains(output) {
                *output = ABSENT;
            }
        }
        // Those of a body are as many as the shapes that its operator states.
        while node.bodies.is_empty() && node.outputs.last() == Some(&ABSENT) {
            node.outputs.pop();
        }
        if node.outputs.iter().any(|&output| output != ABSENT) {
            live.extend(&node.inputs);
            kept.push(node);
        }
    }
    kept.reverse();
    module.graph.nodes = kept;
    module.constants.retain(|value, _| live.contains(value));
    Ok(())
}
