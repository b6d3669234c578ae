//! Values that are no tensors: sequences, and optional values that are not there.

use amq_format::Fact;
use amq_format::graph::DataType;

use super::attrs::Reader;
use super::builder::{Builder, Structure, Value};
use crate::error::{Error, Result};

impl Builder {
    /// What a value is that is no tensor.
    pub(super) fn structure(&self, value: Value) -> Option<&Structure> {
        self.entries[value.0].structure.as_ref()
    }

    /// A value that is no tensor.
    pub(super) fn structured(&mut self, structure: Structure) -> Result<Value> {
        let name = self.fresh_name("structure");
        let value = self.push(name, Fact::new(DataType::Bool, Vec::new()))?;
        self.entries[value.0].structure = Some(structure);
        Ok(value)
    }
}

impl Reader<'_, '_> {
    /// Refuses what is no tensor, where the operator takes tensors.
    pub(super) fn refuse_structures(&self, operator: &str) -> Result<()> {
        let mut inputs = self.inputs.iter().flatten();
        let tensors = inputs.all(|&input| self.builder.structure(input).is_none());
        let takes = operator.contains("Sequence") || operator.starts_with("Optional");
        if tensors || takes || operator == "Identity" {
            return Ok(());
        }
        Err(Error::unsupported("its input is a sequence, or an optional value that is not there")
            .remedy("export the model with tensors alone"))
    }
}
