//! Who reads and who gives a value.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::Fact;
use amq_format::graph::{Node, ValueId};

use super::Module;

impl Module {
    /// The values that nodes read or that are graph outputs.
    pub(crate) fn read(&self) -> BTreeSet<ValueId> {
        self.uses().into_keys().collect()
    }

    /// For each value that nodes read, the number of times they do; graph outputs count as reads.
    pub(crate) fn uses(&self) -> BTreeMap<ValueId, usize> {
        let mut uses = BTreeMap::new();
        let read = self.graph.nodes.iter().flat_map(|node| &node.inputs);
        let given = self.graph.outputs.iter().map(|port| &port.value);
        for &value in read.chain(given) {
            *uses.entry(value).or_default() += 1;
        }
        uses
    }
}

/// Index of the node that gives each value.
pub(crate) fn producers(nodes: &[Node]) -> BTreeMap<ValueId, usize> {
    let mut producers = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        producers.extend(node.outputs.iter().map(|&value| (value, index)));
    }
    producers
}

/// Nodes so that each comes after those that give what it reads, else in the order in which they were.
pub(crate) fn in_order(nodes: Vec<Node>) -> Vec<Node> {
    let given = producers(&nodes);
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    let mut open: Vec<usize> = (0..nodes.len()).rev().collect();
    while let Some(&index) = open.last() {
        let missing = nodes[index].as_ref().map(|node| {
            let before = node.inputs.iter().filter_map(|input| given.get(input).copied());
            before.filter(|&before| nodes[before].is_some() && before != index).collect::<Vec<_>>()
        });
        match missing {
            Some(missing) if !missing.is_empty() => open.extend(missing),
            _ => {
                open.pop();
                sorted.extend(nodes[index].take());
            }
        }
    }
    sorted
}

/// Type and shape of a value, where it has them.
pub(crate) fn fact(facts: &[Option<Fact>], value: ValueId) -> Option<&Fact> {
    facts.get(value as usize)?.as_ref()
}
