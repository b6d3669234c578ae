//! Makes constants with equal contents one, so that tied weights are stored once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Result;
use crate::ir::Module;

pub(super) fn run(module: &mut Module) -> Result<()> {
    let mut first = HashMap::new();
    let mut replaced = Vec::new();
    for (&value, constant) in &module.constants {
        match first.entry((&constant.dims, constant.data.to_bytes(), constant.data.data_type())) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(value);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                replaced.push((value, *entry.get()));
            }
        }
    }
    // A graph output keeps its own constant: its name is part of the model's interface.
    let outputs: BTreeSet<_> = module.graph.outputs.iter().map(|port| port.value).collect();
    let replaced: BTreeMap<_, _> =
        replaced.into_iter().filter(|(value, _)| !outputs.contains(value)).collect();
    super::redirect(&mut module.graph.nodes, &replaced);
    module.constants.retain(|value, _| !replaced.contains_key(value));
    Ok(())
}
