//! Which product a softmax is taken of.

use amq_format::graph::{Graph, Op, ValueId};

/// The node whose product a softmax is taken of to give `output`, seen through views. `implied` where a
/// softmax follows anyway.
pub(crate) fn behind(graph: &Graph, output: ValueId, implied: bool) -> Option<usize> {
    let (mut value, mut softmax) = (output, implied);
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.first() != Some(&value) {
            continue;
        }
        match &node.op {
            Some(Op::Softmax(_)) => softmax = true,
            Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)) => {}
            Some(Op::Linear(_)) if softmax => return Some(index),
            _ => return None,
        }
        value = *node.inputs.first()?;
    }
    None
}
