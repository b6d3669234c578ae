//! What is done to each matrix of weights: bits, method and activations, or why it stays float.
//!
//! A plan is data, an entry a matrix: fitting and writing follow it.

use std::collections::BTreeSet;
use std::fmt;

use amq_format::graph::{Activations, Node, Op, ValueId};
use amq_format::multi_bit_bytes;
use amq_format::spec::GROUP_COLUMNS;

use crate::error::Result;
use crate::ir::Module;
use crate::logits::behind;
use crate::options::{Called, Resolver};
use crate::quant;
use crate::settings::{Bits, Needs, Settings};
use crate::sign;
use crate::table::Table;
use crate::weights::{Weight, Weights};

/// Channels of a group below which a convolution is faster and nearer in float: coded activations
/// are made pixel by pixel, in words of 32.
const LEAST_CHANNELS: usize = 32;

/// Columns below which kernels of a convolution are short: few weights of which each error shows, for no
/// other makes good for it. More bits for them cost little of a file.
const SHORT_ROW: usize = 32;
pub(crate) const SHORT_ROW_BITS: u8 = 6;

/// Rows below which a matrix has few.
const FEW_ROWS: usize = 64;

/// Bits from which convolutions keep the sums of their rows: what pixels are has a mean. With fewer, a moved weight costs
/// as much as it gains.
const LEAST_SUM_BITS: u8 = 5;

/// What is done to every matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order of [`Weights::matrices`].
    pub matrices: Vec<Planned>,
    /// Names of convolutions that get more bits than what was asked for, and how many: their rows are short.
    pub raised: Vec<String>,
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
        /// Whether nobody asked for these, so that data may choose finer ones.
        open: bool,
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
        let never_negative = sign::never_negative(module)?;
        let graph = &module.graph;
        let outputs = graph.outputs.iter().filter_map(|port| behind(graph, port.value, true));
        // Of tied weights one use decides.
        let compared: BTreeSet<ValueId> =
            outputs.filter_map(|node| graph.nodes[node].inputs.get(1).copied()).collect();
        let (mut matrices, mut raised) = (Vec::with_capacity(weights.matrices.len()), Vec::new());
        for weight in &weights.matrices {
            let node = module.node(&weight.place);
            let needs = needs(node, weight);
            let settings = resolver.settings_of(&called(module, node, weight), needs)?;
            let shifts = !compared.contains(&weight.value);
            let choice = match fit(module, weight, &settings, needs.convolution, shifts) {
                Err(why) => Choice::Float { why },
                Ok(fit) => {
                    raised
                        .extend(settings.raised.then(|| format!("{} ({})", weight.name, fit.bits)));
                    let (activations, note) =
                        activations(module, weight, &settings, &never_negative);
                    let open = !settings.asked && activations == Activations::Int8;
                    Choice::Codes { fit, activations, open, note }
                }
            };
            matrices.push(Planned { weight: weight.clone(), choice });
        }
        resolver.finish()?;
        Ok(Plan { matrices, raised })
    }
}

/// What a recipe may call a matrix of a node: by the node's name, by that of the module of the source program that it comes
/// from, or by those of the constants that it reads.
pub(crate) fn called(module: &Module, node: &Node, weight: &Weight) -> Called {
    let own = if weight.place.is_outermost() { node.inputs.as_slice() } else { &[] };
    let read = own.iter().chain([&weight.value]).filter(|value| module.constant(**value).is_some());
    // A transposed constant is still the model's.
    let constants = read.map(|&value| module.name(value).trim_end_matches("^T").to_owned());
    let others = module.scopes.get(&node.name).cloned().into_iter().chain(constants).collect();
    Called { node: node.name.clone(), suffix: weight.slot.suffix, others }
}

/// What a matrix of a node asks for, unless a layer of the recipe says otherwise.
pub(crate) fn needs(node: &Node, weight: &Weight) -> Needs {
    let convolution = matches!(&node.op, Some(Op::Conv(_)));
    let short = convolution && weight.cols < SHORT_ROW;
    let least_bits = if short { SHORT_ROW_BITS } else { 1 };
    Needs { least_bits, convolution, few_rows: weight.rows < FEW_ROWS }
}

/// How to fit a matrix, or why it stays float.
fn fit(
    module: &Module,
    weight: &Weight,
    settings: &Settings,
    convolution: bool,
    shifts: bool,
) -> Result<quant::Options, String> {
    let Bits::Codes(bits) = settings.bits else { return Err("asked for".into()) };
    let channels = if convolution { channels(module, weight) } else { None };
    let group = group(settings.group.columns(), weight.cols, channels);
    let groups = if group == 0 { 1 } else { weight.cols.div_ceil(group) as u64 };
    // Counted with coefficients of 32 bits: whether 16 suffice is known only afterwards.
    let (rows, cols) = (weight.rows as u64, weight.cols as u64);
    let after = multi_bit_bytes(rows, cols, bits.into(), groups, 4, false).unwrap_or(u64::MAX);
    let before = 4 * rows * cols;
    if after >= before {
        return Err(format!("{bits} bits would take {after} bytes, not fewer than {before}"));
    }
    let Settings { method, cycles, .. } = *settings;
    let keeps_sums = convolution && bits >= LEAST_SUM_BITS;
    Ok(quant::Options { bits, method, group, cycles, keeps_sums, shifts })
}

/// Columns of a group where so many are asked for; 0 where that is the row. Those of a convolution hold whole pixels or divide
/// one, of so many channels: the most that do, no more than were asked for.
fn group(asked: usize, cols: usize, channels: Option<usize>) -> usize {
    let step = GROUP_COLUMNS as usize;
    let fits = |group: &usize| match channels {
        Some(channels) => group.is_multiple_of(channels) || channels.is_multiple_of(*group),
        None => true,
    };
    if asked >= cols {
        return 0;
    }
    (step..=asked).rev().step_by(step).find(fits).unwrap_or(0)
}

/// How vectors enter the product with a coded matrix, and why where that is not what was asked for.
fn activations(
    module: &Module,
    weight: &Weight,
    settings: &Settings,
    never_negative: &BTreeSet<ValueId>,
) -> (Activations, Option<String>) {
    let asked = settings.activations;
    let node = module.node(&weight.place);
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
    if let Some(offset) = with_offset(asked)
        && multiplies_input(weight)
        && weight.place.is_outermost()
        && node.inputs.first().is_some_and(|x| never_negative.contains(x))
    {
        return (offset, Some("never negative: an offset stands beside the codes".into()));
    }
    (asked, None)
}

/// Whether the matrix multiplies with the first input of its node: not with what a recurrent layer
/// carries from step to step.
fn multiplies_input(weight: &Weight) -> bool {
    weight.slot.suffix != Some("R")
}

/// As many codes with an offset beside them.
fn with_offset(activations: Activations) -> Option<Activations> {
    match activations {
        Activations::Codes1 => Some(Activations::Offset1),
        Activations::Codes2 => Some(Activations::Offset2),
        Activations::Codes3 => Some(Activations::Offset3),
        Activations::Codes4 => Some(Activations::Offset4),
        _ => None,
    }
}

/// Channels of a convolution's group: the last axis of its weights.
fn channels(module: &Module, weight: &Weight) -> Option<usize> {
    module.constants.get(&weight.value)?.dims.last().copied()
}

impl fmt::Display for Plan {
    /// A line a matrix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["layer", "op", "shape", "bits", "group", "act.", "method", "cycles", "why"];
        let mut table = Table::new(&header, "llrrrllll");
        for Planned { weight, choice } in &self.matrices {
            let shape = format!("{}x{}", weight.rows, weight.cols);
            let [bits, group, activations, method, cycles, why] = match choice {
                Choice::Float { why } => {
                    let none = String::new;
                    ["f32".into(), none(), "f32".into(), none(), none(), why.clone()]
                }
                Choice::Codes { fit, activations, note, .. } => [
                    fit.bits.to_string(),
                    Some(fit.group).filter(|&g| g > 0).map(|g| g.to_string()).unwrap_or_default(),
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
            table.row(vec![name, op, shape, bits, group, activations, method, cycles, why]);
        }
        f.write_str(&table.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::{A, Build};
    use crate::options::ConvertOptions;
    use crate::passes;
    use crate::settings::Given;

    /// The activations of each matrix, where two codes are asked for.
    fn activations(build: Build) -> Vec<&'static str> {
        let mut module = build.output("y").import().unwrap();
        passes::run(&mut module).unwrap();
        let flags = Given { activations: Some(Activations::Codes2), ..Given::default() };
        let options = ConvertOptions { flags, ..ConvertOptions::default() };
        let weights = Weights::find(&module).unwrap();
        let plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        let matrices = plan.matrices.iter().map(|planned| match &planned.choice {
            Choice::Codes { activations, note, .. } => {
                // What differs from what was asked for says why.
                assert_eq!(note.is_some(), *activations != Activations::Codes2, "{plan}");
                activations.name()
            }
            Choice::Float { why } => panic!("{why}"),
        });
        matrices.collect()
    }

    #[test]
    fn an_offset_stands_beside_codes_of_what_is_never_negative() {
        for (first, expected) in [("Relu", ["o2"]), ("Tanh", ["2"])] {
            let build = Build::new(13).input("x", "1 32 6 6").weight("w", &[8, 32, 3, 3]);
            let build = build.node(first, "x", "h").node("Conv", "h w", "y");
            assert_eq!(activations(build), expected, "{first}");
        }
    }

    #[test]
    fn what_a_layer_carries_has_its_own_sign() {
        let build = Build::new(14).input("x", "s 1 64").weight("w", &[1, 64, 64]);
        let build = build.weight("r", &[1, 64, 16]).node("Sigmoid", "x", "h");
        let build = build.node_with("LSTM", "h w r", "y", &[("hidden_size", A::I(16))]);
        assert_eq!(activations(build), ["o2", "2"]);
    }

    #[test]
    fn groups_of_a_convolution_fit_its_pixels() {
        for (asked, cols, channels, expected) in [
            (0, 300, None, 0),
            (64, 300, None, 64),
            (64, 64, None, 0),
            (64, 300, Some(300), 0),
            (64, 864, Some(96), 32),
            (128, 864, Some(96), 96),
            (64, 144, Some(16), 64),
            (96, 432, Some(48), 96),
            (64, 432, Some(48), 0),
        ] {
            assert_eq!(group(asked, cols, channels), expected, "{asked} {cols} {channels:?}");
        }
    }

    #[test]
    fn convolutions_of_few_channels_take_floats() {
        for (channels, expected) in [(31, ["f32"]), (32, ["2"])] {
            let input = format!("1 {channels} 6 6");
            let build = Build::new(13).input("x", &input).weight("w", &[64, channels, 3, 3]);
            assert_eq!(activations(build.node("Conv", "x w", "y")), expected);
        }
    }
}
