//! Drops operators that give back an input, and makes plain reshapes of transpositions that only
//! move axes of size 1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amq_format::graph::{Dim, Op, Reshape};

use crate::error::Result;
use crate::ir::{Module, fact};
use crate::tensor::{Data, Tensor};

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let outputs: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    // What each dropped output stands for: never itself an output that was dropped.
    let mut source = BTreeMap::new();
    let constants = &module.constants;
    module.graph.nodes.retain_mut(|node| {
        for input in &mut node.inputs {
            *input = *source.get(input).unwrap_or(input);
        }
        let (Some(&input), Some(&output)) = (node.inputs.first(), node.outputs.first()) else {
            return true;
        };
        let (Some(before), Some(after)) = (fact(&facts, input), fact(&facts, output)) else {
            return true;
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
        // A choice that is the same everywhere.
        if let (Some(Op::Select(_)), &[condition, yes, no]) = (&node.op, node.inputs.as_slice())
            && let Some(Tensor { data: Data::Bool(all), .. }) =
                constants.get(&condition).map(Arc::as_ref)
            && let Some(&first) = all.first()
            && all.iter().all(|other| *other == first)
        {
            let chosen = if first != 0 { yes } else { no };
            if fact(&facts, chosen) == Some(after) && !outputs.contains(&output) {
                source.insert(output, chosen);
                return false;
            }
        }
        let dropped = gives_back && !outputs.contains(&output);
        if dropped {
            source.insert(output, input);
        }
        !dropped
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use amq_format::graph::{DataType, Port, Transpose, Unary, UnaryFunction};

    use super::*;

    #[test]
    fn of_several_views_in_a_row_nothing_is_left() {
        let mut module = Module::default();
        let [x, a, b, y] = ["x", "a", "b", "y"].map(|name| module.add_value(name));
        let port = |value| Port {
            value,
            data_type: DataType::F32 as i32,
            dims: [1, 1, 5].map(Dim::from).to_vec(),
            ..Port::default()
        };
        module.graph.inputs = vec![port(x)];
        module.graph.outputs = vec![port(y)];
        for (from, to) in [(x, a), (a, b)] {
            let turn = Op::Transpose(Transpose { perm: vec![1, 0, 2] });
            module.add_node("turn", turn, vec![from], vec![to]);
        }
        let relu = Unary { function: UnaryFunction::Relu as i32, ..Unary::default() };
        module.add_node("relu", Op::Unary(relu), vec![b], vec![y]);
        run(&mut module).unwrap();
        let [relu] = module.graph.nodes.as_slice() else { panic!("{module}") };
        assert_eq!(relu.inputs, [x]);
    }
}
