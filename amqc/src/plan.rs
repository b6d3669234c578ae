//! What is done to each matrix of weights: bits, method and activations, or why it stays float.
//!
//! A plan is data, an entry a matrix: fitting and writing follow it.

use std::fmt;

use amq_format::graph::{Activations, Op};
use amq_format::multi_bit_bytes;

use crate::error::Result;
use crate::ir::Module;
use crate::options::Resolver;
use crate::quant;
use crate::settings::{Bits, Settings};
use crate::table::Table;
use crate::weights::{Weight, Weights};

/// Channels of a group below which a convolution is faster and nearer in float: coded activations
/// are made pixel by pixel, in words of 32.
const LEAST_CHANNELS: usize = 32;

/// What is done to every matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order of [`Weights::matrices`].
    pub matrices: Vec<Planned>,
}

/// What is done to one matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The matrix.
    pub weight: Weight,
    /// What is done to it.
    pub choice: Choice,
}

/// How a matrix is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// As floats.
    Float {
        /// Why.
        why: String,
    },
    /// As codes.
    Codes {
        /// How they are found.
        fit: quant::Options,
        /// How vectors enter the product; `F32` for a table.
        activations: Activations,
        /// Why activations are not those that were asked for.
        note: Option<String>,
    },
}

impl Plan {
    /// Settles what is done to each matrix.
    ///
    /// # Errors
    /// Settings that have no kernel, and patterns of the recipe that match nothing.
    pub fn new(module: &Module, weights: &Weights, mut resolver: Resolver<'_>) -> Result<Plan> {
        let mut matrices = Vec::with_capacity(weights.matrices.len());
        for weight in &weights.matrices {
            let node = &module.graph.nodes[weight.node];
            let settings = resolver.settings(&node.name, weight.slot.suffix)?;
            let choice = match fit(weight, &settings) {
                Err(why) => Choice::Float { why },
                Ok(fit) => {
                    let (activations, note) = activations(module, weight, &settings);
                    Choice::Codes { fit, activations, note }
                }
            };
            matrices.push(Planned { weight: weight.clone(), choice });
        }
        resolver.finish()?;
        Ok(Plan { matrices })
    }
}

/// How to fit a matrix, or why it stays float.
fn fit(weight: &Weight, settings: &Settings) -> Result<quant::Options, String> {
    let Bits::Codes(bits) = settings.bits else { return Err("asked for".into()) };
    // Counted with coefficients of 32 bits: whether 16 suffice is known only afterwards.
    let (rows, cols) = (weight.rows as u64, weight.cols as u64);
    let after = multi_bit_bytes(rows, cols, bits.into(), 1, 4, false).unwrap_or(u64::MAX);
    let before = 4 * rows * cols;
    if after >= before {
        return Err(format!("{bits} bits would take {after} bytes, not fewer than {before}"));
    }
    Ok(quant::Options { bits, method: settings.method, cycles: settings.cycles })
}

/// How vectors enter the product with a coded matrix, and why where that is not what was asked for.
fn activations(
    module: &Module,
    weight: &Weight,
    settings: &Settings,
) -> (Activations, Option<String>) {
    let asked = settings.activations;
    let node = &module.graph.nodes[weight.node];
    if weight.is_table() || asked == Activations::F32 {
        return (Activations::F32, None);
    }
    if let Some(Op::Conv(_)) = &node.op
        && let Some(channels) = channels(module, weight)
        && channels < LEAST_CHANNELS
    {
        let note = format!("{channels} channels a group: {} would be slower", asked.adjective());
        return (Activations::F32, Some(note));
    }
    (asked, None)
}

/// Channels of a convolution's group: the second axis of its weights.
fn channels(module: &Module, weight: &Weight) -> Option<usize> {
    module.constants.get(&weight.value)?.dims.get(1).copied()
}

impl fmt::Display for Plan {
    /// A line a matrix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["layer", "op", "shape", "bits", "act.", "method", "cycles", "why"];
        let mut table = Table::new(&header, "llrrllll");
        for Planned { weight, choice } in &self.matrices {
            let shape = format!("{}x{}", weight.rows, weight.cols);
            let [bits, activations, method, cycles, why] = match choice {
                Choice::Float { why } => {
                    ["f32".into(), "f32".into(), String::new(), String::new(), why.clone()]
                }
                Choice::Codes { fit, activations, note } => [
                    fit.bits.to_string(),
                    activations.name().into(),
                    fit.method.to_string(),
                    match fit.method {
                        quant::Method::Alternating => fit.cycles.to_string(),
                        _ => String::new(),
                    },
                    note.clone().unwrap_or_default(),
                ],
            };
            let (name, op) = (weight.name.clone(), weight.op.into());
            table.row(vec![name, op, shape, bits, activations, method, cycles, why]);
        }
        f.write_str(&table.render())
    }
}
