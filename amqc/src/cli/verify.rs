//! `amqc verify`

use std::fmt::Write;
use std::path::PathBuf;

use amq_runtime::Isa;
use clap::{Args, ValueEnum};

use super::{Outcome, Running, size};
use crate::answers::decibels;
use crate::by_node::{ByNode, NodeDistance};
use crate::error::{Error, Result};
use crate::feed::arrays::{bind, read_inputs, roundings};
use crate::names::shown;
use crate::open::{Opened, is_amq};
use crate::table::Table;
use crate::verify::{Comparison, Inputs, Limits, Verified, verify};

/// Check an .amq file, and compare it with the model it was made from
///
/// The file's digests and rules are always checked. With --against both models run on the same
/// inputs, and the exit code is 1 if an output is further off than the limits allow, if an output
/// that is not float differs, or if only one of the two gives a number.
///
/// The ratio of signal to noise (snr) is in decibels: at 40 dB the error is 1% of the output's size,
/// at 20 dB a tenth, at 6 dB half of it. Of 56 public models, converted without data, the median is
/// 39 dB at 8 bits, 18 at 4, 10 at 3 and 3 at 2. Choices survive more noise than numbers do: eval
/// measures those.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The file
    #[arg(value_name = "FILE.amq")]
    file: PathBuf,
    /// The model to compare with: ONNX, run in float, or .amq
    #[arg(long, value_name = "MODEL.onnx")]
    against: Option<PathBuf>,
    /// Arrays by the names of inputs [default: seeded ones]
    #[arg(long, value_name = "I.npz", requires = "against")]
    inputs: Option<PathBuf>,
    /// Size of a dimension of seeded inputs (repeatable) [default: 16 where it is time, else 1]
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    #[arg(requires = "against", conflicts_with = "inputs")]
    dim: Vec<(String, i64)>,
    /// Largest difference that is allowed
    #[arg(long, value_name = "E", requires = "against", value_parser = limit)]
    max_error: Option<f64>,
    /// Least ratio of signal to noise that is allowed, in decibels
    #[arg(long, value_name = "DB", requires = "against", value_parser = limit)]
    #[arg(allow_negative_numbers = true)]
    min_snr: Option<f64>,
    /// Compare as well what each node gives: the farthest first
    ///
    /// Values are the same where their names are. Recurrent layers show their products by gate, and
    /// the worst of their time steps.
    #[arg(long, value_name = "WHAT", requires = "against")]
    by: Option<By>,
    #[command(flatten)]
    running: Running,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What is compared beside the outputs, or timed beside steps.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum By {
    /// Every value that a node gives
    Node,
}

fn limit(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if number.is_nan() { Err("expected a number".into()) } else { Ok(number) }
}

impl Verify {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        if !is_amq(&self.file)? && self.file.extension().is_some_and(|e| e == "onnx") {
            let name = self.file.display();
            return Err(Error::usage("an ONNX model stands where an .amq file is expected")
                .within(&name)
                .remedy(format!("amqc verify FILE.amq --against {name}")));
        }
        let threads = self.running.threads()?;
        let opened = Opened::read_amq(&self.file)?;
        let loaded = self.running.load(&opened, isa, &threads)?;
        let mut notes = Vec::new();
        let limits = Limits { max_error: self.max_error, min_snr: self.min_snr };
        let verified = match &self.against {
            Some(against) => {
                let reference = Opened::read_with(against, &opened.interface()?)?;
                let reference = self.running.load(&reference, isa, &threads)?;
                let inputs = match &self.inputs {
                    Some(path) => {
                        let arrays = read_inputs(&loaded, path)?;
                        notes = roundings(&loaded, &arrays);
                        Inputs::Given(bind(&loaded, arrays)?)
                    }
                    None => Inputs::Seeded(self.dim.clone()),
                };
                verify(&loaded, &reference, &inputs, limits, self.by.is_some())?
            }
            None => Verified { ok: true, outputs: Vec::new(), by_node: None },
        };
        let name = self.file.display();
        let limited = self.max_error.is_some() || self.min_snr.is_some();
        let outcome = Outcome::of(self.json, &verified, |verified| text(verified, &name, limited))?;
        let missing = |output: &&Comparison| output.not_numbers > 0;
        let warning = |output: &Comparison| {
            let (name, count) = (shown(&output.name), output.not_numbers);
            format!(
                "{name}: {count} elements are no numbers in either model, and count as the same"
            )
        };
        let warnings = verified.outputs.iter().filter(missing).map(warning).collect();
        Ok(Outcome { differs: !verified.ok, notes, warnings, ..outcome })
    }
}

fn text(verified: &Verified, name: &impl std::fmt::Display, limited: bool) -> String {
    let mut text = verified.by_node.as_ref().map(nodes).unwrap_or_default();
    for Comparison { name, max_abs, snr_db, snr_about_mean_db, .. } in &verified.outputs {
        let (name, max_abs) = (shown(name), number(*max_abs));
        let snr = decibels(*snr_db, *snr_about_mean_db);
        let _ = write!(text, "{name}: max error {max_abs}, {snr}");
        let off = 100.0 * 10f64.powf(-snr_db / 20.0);
        let _ = match off {
            // Nothing differs, or nothing can be said.
            0.0 | f64::INFINITY => writeln!(text),
            _ => writeln!(text, ", off by {}% of its size", shortly(off)),
        };
    }
    let _ = match verified.ok {
        true if limited || verified.outputs.is_empty() => writeln!(text, "{name}: ok"),
        true => writeln!(
            text,
            "{name}: undamaged; whether its answers are near enough --max-error and --min-snr say \
             (usual are 39 dB at 8 bits, 18 at 4, 10 at 3, 3 at 2)"
        ),
        false => writeln!(text, "{name}: differs more than allowed"),
    };
    text
}

/// Two digits of a share in percent.
fn shortly(percent: f64) -> String {
    match percent {
        10.0.. => format!("{percent:.0}"),
        1.0..10.0 => format!("{percent:.1}"),
        0.01..1.0 => format!("{percent:.2}"),
        _ => format!("{percent:.1e}"),
    }
}

fn number(max_abs: f64) -> String {
    match max_abs {
        0.001..1e6 => format!("{max_abs:.3}"),
        _ => format!("{max_abs:.1e}"),
    }
}

/// A line for each value, those of gates, and what could not be compared.
fn nodes(ByNode { nodes, unmatched }: &ByNode) -> String {
    let header = ["value", "node", "op", "shape", "snr, dB", "max error", "worst step"];
    let mut values = Table::new(&header, "lllrrrr");
    let mut gates = Table::new(&["layer", "product", "gate", "snr, dB", "max error"], "lllrr");
    for found in nodes {
        let NodeDistance { value, node, op, dims, max_abs, snr_db, .. } = found;
        let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
        let steps = found.steps_snr_db.iter().enumerate();
        let worst = steps.min_by(|(_, a), (_, b)| a.total_cmp(b));
        values.row(vec![
            value.clone(),
            node.clone(),
            (*op).into(),
            dims.join("x"),
            format!("{snr_db:.1}"),
            number(*max_abs),
            worst.map(|(step, snr)| format!("{step}: {snr:.1}")).unwrap_or_default(),
        ]);
        for gate in &found.gates {
            let direction = if gate.direction == 0 { "" } else { ", reverse" };
            gates.row(vec![
                node.clone(),
                format!("{}{direction}", gate.matrix),
                gate.gate.into(),
                format!("{:.1}", gate.snr_db),
                number(gate.max_abs),
            ]);
        }
    }
    let mut text = values.render();
    if nodes.iter().any(|node| !node.gates.is_empty()) {
        text += &format!("\n{}", gates.render());
    }
    for other in unmatched {
        let (value, node) = (shown(&other.value), shown(&other.node));
        let _ = writeln!(text, "not compared: {value} ({node}, {}): {}", other.op, other.why);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_percent_are_read_as_such() {
        assert_eq!([43.2, 5.81, 0.581, 0.000581].map(shortly), ["43", "5.8", "0.58", "5.8e-4"]);
    }
}
