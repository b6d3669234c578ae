//! Bits that a weight takes, over everything that is stored for it.

use std::collections::BTreeSet;
use std::fmt;

use amq_format::Validated;
use amq_format::graph::DataType;
use serde::Serialize;

/// Bits a weight of a file: codes, coefficients, offsets and the padding of rows are counted, and what
/// several layers share counts once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EffectiveBits {
    /// Of the matrices that are coded, if any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coded: Option<f64>,
    /// Of all parameters, biases among them, with every byte of the file.
    pub file: f64,
}

impl EffectiveBits {
    /// Of a file of so many bytes; `None` if it has no parameters.
    pub fn of(file: &Validated<'_>, size: u64) -> Option<EffectiveBits> {
        let (mut all, mut coded, mut bytes) = (0, 0, 0);
        let mut seen = BTreeSet::new();
        for tensor in &file.graph().tensors {
            let Some(section) = file.sections().get(tensor.section as usize) else { continue };
            if tensor.data_type() != DataType::F32 || !seen.insert(tensor.section) {
                continue;
            }
            let count = tensor.dims.iter().product::<u64>();
            all += count;
            if tensor.multi_bit.is_some() {
                coded += count;
                bytes += section.length;
            }
        }
        Some(EffectiveBits { coded: bits(bytes, coded), file: bits(size, all)? })
    }
}

impl fmt::Display for EffectiveBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(coded) = self.coded {
            write!(f, "{coded:.2} in coded matrices, ")?;
        }
        write!(f, "{:.2} over the whole file", self.file)
    }
}

/// Bits a weight, as text; nothing of no weights.
pub(crate) fn shown(bytes: u64, weights: u64) -> String {
    bits(bytes, weights).map(|bits| format!("{bits:.2}")).unwrap_or_default()
}

/// Bits a weight; `None` of no weights.
fn bits(bytes: u64, weights: u64) -> Option<f64> {
    (weights > 0).then(|| 8.0 * bytes as f64 / weights as f64)
}
