//! Drops operators that give back their input, and makes plain reshapes of transpositions that only
//! move axes of size 1.

use amq_format::graph::{Dim, Op, Reshape};

use crate::error::Result;
use crate::ir::Module;
use crate::passes::fact;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut dropped = Vec::new();
    for (index, node) in module.graph.nodes.iter_mut().enumerate() {
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
        if gives_back && module.graph.outputs.iter().all(|port| port.value != output) {
            dropped.push((index, output, input));
        }
    }
    // The last first: what one gives back may be what another gave back.
    for (index, output, input) in dropped.into_iter().rev() {
        super::redirect(&mut module.graph.nodes, output, input);
        module.graph.nodes.remove(index);
    }
    Ok(())
}
