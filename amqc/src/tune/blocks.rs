//! Parts of a network that are trained one after the other, cut at values that all later nodes depend through.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use amq_format::graph::{ABSENT, DataType, Op, Port, ValueId};
use amq_runtime::Isa;

use super::params::Params;
use crate::emit::emit;
use crate::error::Result;
use crate::fit::Fitted;
use crate::ir::{Module, fact};
use crate::loaded::Loaded;
use crate::plan::Plan;

/// Products with coded matrices of a block, but for the last one's. With one each the loss asks of a matrix little that its
/// fit does not give it already.
const LEAST: usize = 2;

/// Nodes that follow each other, among them products with coded matrices.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) nodes: Range<usize>,
    /// The value through which later nodes depend on what is trained in these and those before; none where outputs
    /// are the end.
    pub(super) end: Option<ValueId>,
}

/// Cuts a network whose loss is of these outputs into blocks of [`LEAST`] products or more: after each comes the next
/// product with a matrix that is coded, so that functions, normalization and pooling behind one are of its block. What a
/// table gives has no loss that its codes are not fitted to already, so it is of the block of the next product. No matrix
/// is used in two.
///
/// # Errors
/// An operator cannot take the inputs that it has.
pub(super) fn blocks(module: &Module, params: &Params, outputs: &[ValueId]) -> Result<Vec<Block>> {
    let live = live(module, outputs);
    // Of each matrix its first and last use.
    let mut spans: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    let mut products = BTreeSet::new();
    for (index, node) in module.graph.nodes.iter().enumerate().filter(|(index, _)| live[*index]) {
        for place in (0..node.inputs.len()).filter_map(|input| params.place(index, input)) {
            if params.all[place.param].is_coded() {
                spans.entry(place.param).or_insert(index..index).end = index;
                if !matches!(node.op, Some(Op::Gather(_))) {
                    products.insert(index);
                }
            }
        }
    }
    let waists = waists(module, params, outputs, &live)?;
    let (mut blocks, mut start, mut found) = (Vec::new(), 0, None);
    for (index, waist) in waists.into_iter().enumerate() {
        if products.contains(&index)
            && let Some((last, value)) = found.take()
        {
            blocks.push(Block { nodes: start..last + 1, end: Some(value) });
            start = last + 1;
        }
        let is_whole = !spans.values().any(|span| span.contains(&index));
        if is_whole && products.range(start..=index).count() >= LEAST {
            found = waist.map(|value| (index, value)).or(found);
        }
    }
    blocks.push(Block { nodes: start..module.graph.nodes.len(), end: None });
    Ok(blocks)
}

/// Of each node whether outputs depend on it.
pub(super) fn live(module: &Module, outputs: &[ValueId]) -> Vec<bool> {
    let mut wanted: BTreeSet<ValueId> = outputs.iter().copied().collect();
    let mut live = vec![false; module.graph.nodes.len()];
    for (index, node) in module.graph.nodes.iter().enumerate().rev() {
        live[index] = node.outputs.iter().any(|value| *value != ABSENT && wanted.contains(value));
        if live[index] {
            wanted.extend(&node.inputs);
        }
    }
    live
}

/// Of each node the value through which alone outputs and later nodes depend on what is trained in the nodes up to it,
/// if there is one and it is of floats.
pub(super) fn waists(
    module: &Module,
    params: &Params,
    outputs: &[ValueId],
    live: &[bool],
) -> Result<Vec<Option<ValueId>>> {
    let facts = module.facts()?;
    let nodes = &module.graph.nodes;
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate().filter(|(index, _)| live[*index]) {
        last.extend(node.inputs.iter().map(|&value| (value, index)));
    }
    last.extend(outputs.iter().map(|&value| (value, nodes.len())));
    // Values that depend on what is trained, and those of them that are needed later.
    let (mut dependent, mut open) = (BTreeSet::new(), BTreeSet::new());
    let waist = |(index, node): (usize, &amq_format::graph::Node)| {
        let is_trained = (0..node.inputs.len()).any(|at| params.place(index, at).is_some());
        if is_trained || node.inputs.iter().any(|value| dependent.contains(value)) {
            dependent.extend(node.outputs.iter().copied().filter(|&value| value != ABSENT));
            open.extend(node.outputs.iter().copied());
        }
        open.retain(|value| last.get(value).is_some_and(|&last| last > index) && *value != ABSENT);
        let only = open.first().copied().filter(|_| open.len() == 1)?;
        fact(&facts, only).filter(|fact| fact.data_type == DataType::F32).map(|_| only)
    };
    Ok(nodes.iter().enumerate().map(waist).collect())
}

/// The float network up to the end of a block, which is its only output; all of it where that is none.
///
/// # Errors
/// What the runtime refuses.
pub(super) fn until(path: &Path, module: &Module, block: &Block, isa: Isa) -> Result<Loaded> {
    let mut part = module.clone();
    if let Some(end) = block.end {
        let facts = part.facts().map_err(|error| error.within(path.display()))?;
        let port = fact(&facts, end).map(|fact| Port {
            value: end,
            data_type: fact.data_type as i32,
            dims: fact.dims.clone(),
            ..Port::default()
        });
        part.graph.nodes.truncate(block.nodes.end);
        part.graph.outputs = port.into_iter().collect();
    }
    let plan = Plan { matrices: Vec::new(), raised: Vec::new() };
    Loaded::of_draft(path, &emit(part, &plan, &Fitted::default()), isa)
}
