//! Makes constants with equal contents one, so that tied weights are stored once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::ir::Module;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let mut alike = HashMap::<_, usize>::new();
    for constant in module.constants.values() {
        *alike.entry((&constant.dims, constant.data.data_type())).or_default() += 1;
    }
    let mut first = HashMap::new();
    let mut replaced = Vec::new();
    for (&value, constant) in &module.constants {
        // One that has no other of its shape has none of its contents.
        if alike[&(&constant.dims, constant.data.data_type())] == 1 {
            continue;
        }
        // A digest in place of the contents: those are held once already.
        let contents: [u8; 32] = Sha256::digest(constant.data.to_bytes()).into();
        match first.entry((&constant.dims, constant.data.data_type(), contents)) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(entry) => replaced.push((value, *entry.get())),
        }
    }
    // A graph output keeps its own constant: its name is part of the model's interface.
    let outputs: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    let replaced: BTreeMap<_, _> =
        replaced.into_iter().filter(|(value, _)| !outputs.contains(value)).collect();
    for input in module.graph.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        *input = *replaced.get(input).unwrap_or(input);
    }
    module.constants.retain(|value, _| !replaced.contains_key(value));
    Ok(())
}
