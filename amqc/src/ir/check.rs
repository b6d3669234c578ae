//! What must be constant by the time a module is emitted.

use amq_format::graph::ABSENT;

use super::{Module, visit};
use crate::error::{Error, Result};

impl Module {
    /// Checks that weights are constants.
    ///
    /// ONNX lets them be computed; passes fold what can be folded before this is asked.
    ///
    /// # Errors
    /// A weight still depends on the graph's inputs; the error names the node and the weight.
    pub fn check_weights(&self) -> Result<()> {
        let mut checked = Ok(());
        visit(&self.graph, &mut |_, node, outermost| {
            let Some(op) = &node.op else { return };
            for slot in op.operator().slots().iter().filter(|slot| slot.is_constant()) {
                let value = node.inputs.get(slot.input).copied().unwrap_or(ABSENT);
                let constant = self.constants.contains_key(&outermost(value));
                if value != ABSENT && !constant && checked.is_ok() {
                    checked = Err(Error::unsupported(format!(
                        "node {:?}: {} of {} ({:?}) is computed from the graph's inputs",
                        node.name,
                        slot.name,
                        op.name(),
                        self.name(outermost(value))
                    ))
                    .remedy("export the model with constant weights"));
                }
            }
        });
        checked
    }
}
