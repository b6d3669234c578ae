//! What a conversion did to every layer: for the terminal, for scripts, and kept in the file.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::effective;
use crate::fit::Fitted;
use crate::interface::Interface;
use crate::ir::Module;
use crate::names::shown;
use crate::plan::{Choice, Plan, Planned};
use crate::table::Table;
use crate::tensor::Data;
use crate::weights::{Other, Weights};

/// What a conversion did. The same for the same model and options: no times, no paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Bytes of the model, external data among them.
    pub bytes_in: u64,
    /// Each matrix of weights.
    pub layers: Vec<Layer>,
    /// What a stream carries from call to call.
    pub states: Vec<State>,
    /// What else the user should know.
    pub notes: Vec<String>,
}

/// What was done to one matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Name of the node, with `.W` or `.R` for one matrix of a recurrent layer.
    pub name: String,
    /// The node's operator.
    pub op: String,
    /// Rows of the matrix.
    pub rows: u64,
    /// Columns of the matrix.
    pub cols: u64,
    /// How it is kept.
    #[serde(flatten)]
    pub coding: Coding,
    /// Bytes as floats.
    pub bytes_before: u64,
    /// Bytes in the file.
    pub bytes_after: u64,
}

/// How a matrix is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Coding {
    /// By codes.
    MultiBit {
        /// Codes a row.
        bits: u8,
        /// Columns that have coefficients of their own, where that is not the row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<u64>,
        /// How activations enter the product: `f32`, `int16`, `int8` or a number of codes, after an `o` where a
        /// constant stands beside them.
        activations: String,
        /// How it was fitted.
        method: String,
        /// Sum of squared error over sum of squared weights.
        relative_mse: f64,
        /// Why activations are not those that were asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// As floats.
    Float {
        /// Why.
        kept_float: String,
    },
}

/// A state of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The graph's input.
    pub input: String,
    /// The graph's output that gives its next value.
    pub output: String,
    /// Its shape: sizes and names.
    pub dims: Vec<String>,
}

/// Where a file comes from: kept in it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name and version of the compiler.
    pub compiler: String,
    /// SHA-256 of the model's file, in hexadecimal.
    pub source_sha256: String,
    /// The files that hold its external data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// The settings, as flags.
    pub options: String,
    /// What was said of the model's inputs and outputs.
    #[serde(default, skip_serializing_if = "Interface::is_empty")]
    pub interface: Interface,
    /// The recipe's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What the user says of the model, by keys: `name`, `version`, `license`, `labels` or others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// What was done.
    pub report: Report,
}

/// A file of external data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct External {
    /// Where the model says that it is.
    pub location: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl Layer {
    /// Bits that each weight takes in the file, as text.
    pub(crate) fn bits_a_weight(&self) -> String {
        effective::shown(self.bytes_after, self.rows * self.cols)
    }
}

impl Report {
    /// Whether any matrix is kept by codes.
    pub fn is_coded(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.coding, Coding::MultiBit { .. }))
    }

    /// The report for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.layers.is_empty() {
            text += &table(&self.layers);
        }
        text + &self.remarks()
    }

    /// Why layers are not as they were asked for, states and notes, a line each.
    pub(crate) fn remarks(&self) -> String {
        let mut text = String::new();
        let kept_float = |coding: &Coding| match coding {
            Coding::Float { kept_float } => Some(kept_float.clone()),
            Coding::MultiBit { .. } => None,
        };
        let noted = |coding: &Coding| match coding {
            Coding::MultiBit { activations, note: Some(note), .. } => {
                Some(format!("{activations}, {note}"))
            }
            _ => None,
        };
        self.reasons("float", kept_float, &mut text);
        self.reasons("activations", noted, &mut text);
        for State { input, output, dims } in &self.states {
            let line = format!("state: {input} [{}] <- {output}", dims.join(", "));
            let _ = writeln!(text, "{}", shown(&line));
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {}", shown(note));
        }
        text
    }

    /// A line for each reason, in the order of the first layer that has it, with all that have it.
    fn reasons(&self, what: &str, reason: impl Fn(&Coding) -> Option<String>, text: &mut String) {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        let mut places = HashMap::new();
        for layer in &self.layers {
            let Some(reason) = reason(&layer.coding) else { continue };
            let place = *places.entry(reason.clone()).or_insert(reasons.len());
            match reasons.get_mut(place) {
                Some((_, names)) => names.push(&layer.name),
                None => reasons.push((reason, vec![&layer.name])),
            }
        }
        for (reason, names) in reasons {
            let all = names.len() == self.layers.len() && names.len() > 1;
            let names = if all { "all layers".to_owned() } else { names.join(", ") };
            let _ = writeln!(text, "{what}: {}: {}", shown(&names), shown(&reason));
        }
    }
}

/// Bits, and the columns of a group after a slash where that is not the row.
pub(crate) fn bits(bits: u8, group: Option<u64>) -> String {
    match group {
        Some(group) => format!("{bits}/{group}"),
        None => bits.to_string(),
    }
}

/// A line for each layer.
pub(crate) fn table(layers: &[Layer]) -> String {
    let header = [
        "layer", "op", "shape", "bits", "b/weight", "act.", "method", "rel. MSE", "as f32", "after",
    ];
    let mut table = Table::new(&header, "llrrrlllrr");
    for layer in layers {
        let shape = format!("{}x{}", layer.rows, layer.cols);
        let [bits, activations, method, error] = match &layer.coding {
            Coding::MultiBit { bits, group, activations, method, relative_mse, .. } => {
                let error = format!("{relative_mse:.4}");
                [self::bits(*bits, *group), activations.clone(), method.clone(), error]
            }
            Coding::Float { .. } => ["f32", "f32", "", ""].map(String::from),
        };
        let (name, op) = (layer.name.clone(), layer.op.clone());
        let [before, after] = [layer.bytes_before, layer.bytes_after].map(|b| b.to_string());
        let taken = layer.bits_a_weight();
        table.row(vec![name, op, shape, bits, taken, activations, method, error, before, after]);
    }
    table.render()
}

/// A line for each matrix, then for each constant that could not be coded.
pub(crate) fn layers(
    module: &Module,
    weights: &Weights,
    plan: &Plan,
    fitted: &Fitted,
) -> Vec<Layer> {
    let planned =
        plan.matrices.iter().zip(&fitted.places).map(|(Planned { weight, choice }, place)| {
            let bytes_before = 4 * (weight.rows * weight.cols) as u64;
            let matrix = place.map(|place| &fitted.matrices[place].codes);
            let (coding, bytes_after) =
                match (choice, matrix, &module.constants[&weight.value].data) {
                    (
                        Choice::Codes { fit, activations, note, .. },
                        Some(codes),
                        Data::F32(data),
                    ) => {
                        let coding = Coding::MultiBit {
                            bits: fit.bits,
                            group: (codes.groups() > 1).then_some(codes.group as u64),
                            activations: activations.name().into(),
                            method: fit.method.name().into(),
                            relative_mse: codes.relative_mse(data),
                            note: note.clone(),
                        };
                        (coding, codes.section_bytes().len() as u64)
                    }
                    (Choice::Float { why }, ..) => {
                        (Coding::Float { kept_float: why.clone() }, bytes_before)
                    }
                    (Choice::Codes { .. }, ..) => {
                        (Coding::Float { kept_float: "not floats".into() }, bytes_before)
                    }
                };
            Layer {
                name: weight.name.clone(),
                op: weight.op.into(),
                rows: weight.rows as u64,
                cols: weight.cols as u64,
                coding,
                bytes_before,
                bytes_after,
            }
        });
    let others = weights.others.iter().map(|Other { name, op, rows, cols, why }| {
        let bytes = 4 * (rows * cols) as u64;
        Layer {
            name: name.clone(),
            op: (*op).into(),
            rows: *rows as u64,
            cols: *cols as u64,
            coding: Coding::Float { kept_float: (*why).into() },
            bytes_before: bytes,
            bytes_after: bytes,
        }
    });
    planned.chain(others).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Report {
        Report {
            bytes_in: 26_930_547,
            layers: vec![
                Layer {
                    name: "lstm.W".into(),
                    op: "LSTM".into(),
                    rows: 1200,
                    cols: 300,
                    coding: Coding::MultiBit {
                        bits: 2,
                        group: None,
                        activations: "int8".into(),
                        method: "alternating".into(),
                        relative_mse: 0.1242,
                        note: None,
                    },
                    bytes_before: 1_440_000,
                    bytes_after: 100_800,
                },
                Layer {
                    name: "fc".into(),
                    op: "Gemm".into(),
                    rows: 2,
                    cols: 3,
                    coding: Coding::Float { kept_float: "codes would take more bytes".into() },
                    bytes_before: 24,
                    bytes_after: 24,
                },
            ],
            states: vec![State {
                input: "h0".into(),
                output: "hn".into(),
                dims: vec!["1".into(), "batch".into(), "300".into()],
            }],
            notes: vec!["an output is constant".into()],
        }
    }

    #[test]
    fn text() {
        insta::assert_snapshot!(example().text());
    }

    #[test]
    fn a_reason_is_said_once() {
        let mut report = example();
        let float = Coding::Float { kept_float: "asked for".into() };
        report.layers.iter_mut().for_each(|layer| layer.coding = float.clone());
        assert!(report.text().contains("\nfloat: all layers: asked for\n"));
        report.layers.push(example().layers[0].clone());
        assert!(report.text().contains("\nfloat: lstm.W, fc: asked for\n"));
    }

    #[test]
    fn json_keys_are_stable() {
        insta::assert_json_snapshot!(example());
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let json = serde_json::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), example());
    }
}
