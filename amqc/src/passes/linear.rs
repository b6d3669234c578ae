//! Makes a [`Linear`] of each product with one constant matrix.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_format::graph::{ABSENT, Activations, Linear, Node, Op, Transpose, ValueId};

use crate::error::Result;
use crate::ir::{self, Module, Names, fact};
use crate::tensor::{Data, Tensor};

pub(super) fn run(module: &mut Module) -> Result<()> {
    let facts = module.facts()?;
    let mut names = Names::of(module);
    let mut uses = module.uses();
    // A matrix that many nodes share stays one.
    let mut turned = BTreeMap::new();
    for mut node in std::mem::take(&mut module.graph.nodes) {
        let matrix = |value: &ValueId| match module.constants.get(value).map(Arc::as_ref) {
            Some(Tensor { dims, data: Data::F32(data) }) if dims.len() == 2 => {
                Some((dims[0], dims[1], data))
            }
            _ => None,
        };
        let (Some(Op::MatMul(_)), &[a, b]) = (&node.op, node.inputs.as_slice()) else {
            module.graph.nodes.push(node);
            continue;
        };
        let rank = |value: ValueId| fact(&facts, value).map(|fact| fact.dims.len());
        if let Some((rows, cols, data)) = matrix(&b) {
            let weights = match turned.get(&b) {
                Some(&weights) => weights,
                None => {
                    let data = Data::F32(transposed(data, rows, cols));
                    let name = names.unique(&format!("{}^T", module.name(b)), '.');
                    module.add_constant(name, Tensor { dims: vec![cols, rows], data })
                }
            };
            turned.insert(b, weights);
            // Large ones are not held twice.
            let left = uses.entry(b).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                module.constants.remove(&b);
            }
            node.op = linear();
            node.inputs = vec![a, weights, ABSENT];
            module.graph.nodes.push(node);
        } else if let (true, Some(rank)) = (matrix(&a).is_some(), rank(b)) {
            left_product(module, &mut names, node, a, b, rank);
        } else {
            module.graph.nodes.push(node);
        }
    }
    Ok(())
}

/// Makes a [`Linear`] of each product with one constant matrix that is turned first, as it lies in the file
/// then: large ones are neither copied nor named anew.
pub(super) fn with_turned(module: &mut Module) -> Result<()> {
    let is_matrix = |value: &ValueId| {
        let constant = module.constants.get(value);
        constant.is_some_and(|c| c.dims.len() == 2 && matches!(c.data, Data::F32(_)))
    };
    let mut turned = BTreeMap::new();
    for node in &module.graph.nodes {
        if let (Some(Op::Transpose(Transpose { perm })), [w]) = (&node.op, node.inputs.as_slice())
            && perm == &[1, 0]
            && is_matrix(w)
        {
            turned.insert(node.outputs[0], *w);
        }
    }
    for node in &mut module.graph.nodes {
        if let (Some(Op::MatMul(_)), &[a, b]) = (&node.op, node.inputs.as_slice())
            && let Some(&w) = turned.get(&b)
        {
            node.op = linear();
            node.inputs = vec![a, w, ABSENT];
        }
    }
    let read = module.read();
    let gone = |value: &ValueId| turned.contains_key(value) && !read.contains(value);
    module.graph.nodes.retain(|node| !node.outputs.iter().any(gone));
    Ok(())
}

fn linear() -> Option<Op> {
    Some(Op::Linear(Linear { activations: Activations::F32 as i32 }))
}

/// `A X = (X^T A^T)^T`, over the last two axes of X.
fn left_product(
    module: &mut Module,
    names: &mut Names,
    mut node: Node,
    a: ValueId,
    x: ValueId,
    rank: usize,
) {
    let output = node.outputs[0];
    node.op = linear();
    if rank == 1 {
        node.inputs = vec![x, a, ABSENT];
        module.graph.nodes.push(node);
        return;
    }
    let mut perm: Vec<u32> = (0..rank as u32).collect();
    perm.swap(rank - 1, rank - 2);
    let name = module.name(output).to_owned();
    let turned = names.unique(&format!("{name}/turned"), '.');
    let turned = module.add_value(turned);
    let product = names.unique(&format!("{name}/product"), '.');
    let product = module.add_value(product);
    let transpose = |suffix: &str, from, to| {
        let op = Op::Transpose(Transpose { perm: perm.clone() });
        ir::node(&format!("{}/{suffix}", node.name), op, vec![from], vec![to])
    };
    let (before, after) = (transpose("turn", x, turned), transpose("turn_back", product, output));
    node.inputs = vec![turned, a, ABSENT];
    node.outputs = vec![product];
    module.graph.nodes.extend([before, node, after]);
}

fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    /// Rows and columns that are turned together, so that both are read and written by lines.
    const TILE: usize = 32;
    let mut turned = vec![0.0; data.len()];
    for first in (0..rows).step_by(TILE) {
        for start in (0..cols).step_by(TILE) {
            for row in first..rows.min(first + TILE) {
                for col in start..cols.min(start + TILE) {
                    turned[col * rows + row] = data[row * cols + col];
                }
            }
        }
    }
    turned
}
