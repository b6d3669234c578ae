//! Drops operators that give back their input, and makes plain reshapes of transpositions that only
//! move axes of size 1.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::graph::{ABSENT, Dim, Node, Op, Reshape};

use crate::error::Result;
use crate::ir::Module;
use crate::passes::fact;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let outputs: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    let mut dropped = BTreeMap::new();
    for node in &mut module.graph.nodes {
        let (Some(&input), Some(&output)) = (node.inputs.first(), node.outputs.first()) else {
            continue;
        };
        let (Some(before), Some(after)) = (fact(&facts, input), fact(&facts, output)) else {
            continue;
        };
        if let Some(Op::Transpose(transpose)) = &node.op {
            let is_one = |axis: &&u32| before.dims[**axis as usize].as_size() == Some(1);
            if transpose.perm.iter().filter(|axis| !is_one(axis)).is_sorted() {
                node.op = Some(Op::Reshape(Reshape { dims: after.dims.clone() }));
            }
        }
        let same = before == after;
        let gives_back = match &node.op {
            Some(Op::Reshape(_) | Op::Expand(_) | Op::Cast(_)) => same,
            Some(Op::Concat(_)) => node.inputs.len() == 1,
            Some(Op::Pad(pad)) => {
                pad.begins.iter().chain(&pad.ends).all(|size| *size == Dim::from(0))
            }
            // Of the same size and not backwards, a slice leaves nothing out.
            Some(Op::Slice(slice)) => same && slice.steps.iter().all(|&step| step == 1),
            _ => false,
        };
        if gives_back && !outputs.contains(&output) {
            // What it gives back may itself be given back by a node before it.
            dropped.insert(output, *dropped.get(&input).unwrap_or(&input));
        }
    }
    let first = |node: &Node| node.outputs.first().copied().unwrap_or(ABSENT);
    module.graph.nodes.retain(|node| !dropped.contains_key(&first(node)));
    super::redirect(&mut module.graph.nodes, &dropped);
    Ok(())
}
