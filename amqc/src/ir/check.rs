//! What must be constant by the time a module is emitted.

use amq_format::graph::{ABSENT, Op};

use super::Module;
use crate::error::{Error, Result};

impl Module {
    /// Checks that weights are constants.
    ///
    /// ONNX lets them be computed; passes fold what can be folded before this is asked.
    ///
    /// # Errors
    /// A weight still depends on the graph's inputs; the error names the node and the weight.
    pub fn check_weights(&self) -> Result<()> {
        for node in &self.graph.nodes {
            let (op, weights): (_, &[(usize, &str)]) = match &node.op {
                Some(Op::Linear(_)) => ("Linear", &[(1, "W"), (2, "the bias")]),
                Some(Op::Conv(_)) => ("Conv", &[(1, "W"), (2, "the bias")]),
                Some(Op::Recurrent(_)) => {
                    ("a recurrent layer", &[(1, "W"), (2, "R"), (3, "B"), (7, "P")])
                }
                _ => continue,
            };
            for &(input, weight) in weights {
                let value = node.inputs.get(input).copied().unwrap_or(ABSENT);
                if value != ABSENT && !self.constants.contains_key(&value) {
                    return Err(Error::unsupported(format!(
                        "node {:?}: {weight} of {op} ({:?}) is computed from the graph's inputs",
                        node.name,
                        self.name(value)
                    ))
                    .remedy("export the model with constant weights"));
                }
            }
        }
        Ok(())
    }
}
