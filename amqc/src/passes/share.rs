//! Makes constants with equal contents one, so that tied weights are stored once.

use std::collections::HashMap;

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
    replaced.retain(|(value, _)| module.graph.outputs.iter().all(|port| port.value != *value));
    for (value, by) in replaced {
        module.constants.remove(&value);
        super::redirect(&mut module.graph.nodes, value, by);
    }
    Ok(())
}
