//! Puts the branch that a constant chooses in the place of its node, and numbers in the place of sizes
//! that constants are.

use amq_format::Fact;
use amq_format::graph::{Dim, Node, Op, Reshape, ValueId};

use super::fold;
use super::unify::Equal;
use crate::error::{Error, Result};
use crate::ir::{Module, Names, fact};

pub(super) fn run(module: &mut Module) -> Result<()> {
    // What a branch gives may choose another.
    while take_branches(module)? {
        fold::run(module)?;
    }
    Ok(())
}

/// Whether any branch was taken, or any size was known.
fn take_branches(module: &mut Module) -> Result<bool> {
    let facts = module.facts()?;
    let mut names = Names::of(module);
    let mut taken = false;
    let mut equal = Equal::default();
    for node in std::mem::take(&mut module.graph.nodes) {
        if let Some(sizes) = constant_sizes(module, &node, &facts) {
            for (name, size) in node.binds.iter().zip(sizes) {
                equal.replace(name, Dim::from(size.saturating_add(1)));
            }
            taken = true;
            continue;
        }
        let truth = match &node.op {
            Some(Op::If(_)) => fact(&facts, node.inputs[0]).and_then(|fact| fact.value.clone()),
            _ => None,
        };
        match truth.and_then(|truth| truth.values.first()?.as_size()) {
            Some(truth) => {
                let branch = usize::from(truth == 0);
                inline(module, &node, branch, &mut names);
                settle_sizes(&node, branch, &mut equal)?;
                taken = true;
            }
            None => module.graph.nodes.push(node),
        }
    }
    equal.apply(module)?;
    Ok(taken)
}

/// The sizes that a node gives, where its input is a constant; its output's elements are known.
fn constant_sizes(module: &Module, node: &Node, facts: &[Option<Fact>]) -> Option<Vec<i64>> {
    let Some(Op::Sizes(_)) = &node.op else { return None };
    let sizes = match module.constants.get(&node.inputs[0]) {
        Some(constant) => constant.data.integers(),
        None => fact(facts, node.inputs[0])?.value.as_ref()?.numbers(),
    };
    sizes.filter(|sizes| sizes.len() == node.binds.len() && sizes.iter().all(|&size| size >= 0))
}

/// Sizes that depended on the branch are those of the one that is taken.
fn settle_sizes(node: &Node, branch: usize, equal: &mut Equal) -> Result<()> {
    let Some(Op::If(op)) = &node.op else { return Ok(()) };
    let found = node.bodies[branch].outputs.iter().flat_map(|port| &port.dims);
    for (dim, found) in op.dims.iter().zip(found) {
        if let Some(name) = dim.as_given().filter(|name| node.binds.iter().any(|own| own == name)) {
            // The name is the size and one.
            let stand_in = found.add(&Dim::from(1));
            equal.replace(name, stand_in.map_err(|error| Error::unsupported(error.to_string()))?);
        }
    }
    Ok(())
}

/// Adds the nodes of a branch, whose inputs are the captures.
fn inline(module: &mut Module, node: &Node, branch: usize, names: &mut Names) {
    let body = &node.bodies[branch];
    let mut number: Vec<ValueId> = vec![0; body.values.len()];
    for (port, &value) in body.inputs.iter().zip(&node.inputs[1..]) {
        number[port.value as usize] = value;
    }
    for inner in &body.nodes {
        let mut inner = inner.clone();
        for output in inner.outputs.iter_mut().filter(|output| **output != 0) {
            let name = names.unique(&body.values[*output as usize], '.');
            let value = module.add_value(name);
            number[*output as usize] = value;
            *output = value;
        }
        inner.inputs.iter_mut().for_each(|input| *input = number[*input as usize]);
        module.graph.nodes.push(inner);
    }
    for (port, &output) in body.outputs.iter().zip(&node.outputs) {
        if output != 0 {
            let copy = Op::Reshape(Reshape { dims: port.dims.clone() });
            module.add_node(&node.name, copy, vec![number[port.value as usize]], vec![output]);
        }
    }
}
