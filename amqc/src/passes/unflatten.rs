//! Drops the reshapes around a product by which optimizers make a matrix of its operand.

use std::collections::BTreeSet;

use amq_format::graph::{Node, Op, ValueId};

use crate::error::Result;
use crate::ir::{Module, fact, producers};

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let (uses, given) = (module.uses(), producers(&module.graph.nodes));
    let nodes = &mut module.graph.nodes;
    let mut dropped = BTreeSet::new();
    for index in 0..nodes.len() {
        // x, in two axes, through the product, in the axes of x again.
        let before = |value: ValueId, is: fn(&Op) -> bool| {
            let index = *given.get(&value)?;
            let node: &Node = &nodes[index];
            node.op.as_ref().is_some_and(is).then_some((index, *node.inputs.first()?))
        };
        let is_view = |op: &Op| matches!(op, Op::Reshape(_));
        let node = &nodes[index];
        let (true, &[flat], &[output]) = (
            node.op.as_ref().is_some_and(is_view),
            node.inputs.as_slice(),
            node.outputs.as_slice(),
        ) else {
            continue;
        };
        let Some((product, operand)) = before(flat, |op| matches!(op, Op::Linear(_))) else {
            continue;
        };
        let Some((_, x)) = before(operand, is_view) else { continue };
        let split = |value| fact(&facts, value).and_then(|fact| fact.dims.split_last());
        let (Some((columns, batch)), Some((flat_columns, _))) = (split(x), split(operand)) else {
            continue;
        };
        let (Some((rows, same)), Some((flat_rows, _))) = (split(output), split(flat)) else {
            continue;
        };
        let keeps_last = columns == flat_columns && rows == flat_rows;
        if keeps_last && batch == same && uses.get(&flat) == Some(&1) {
            nodes[product].inputs[0] = x;
            nodes[product].outputs[0] = output;
            dropped.insert(index);
        }
    }
    let mut index = 0;
    nodes.retain(|_| {
        index += 1;
        !dropped.contains(&(index - 1))
    });
    Ok(())
}
