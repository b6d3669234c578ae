//! What a conversion did to every layer: for the terminal, for scripts, and kept in the file.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

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
        /// How activations enter the product: `f32`, `int8` or a number of codes.
        activations: String,
        /// How it was fitted.
        method: String,
        /// Sum of squared error over sum of squared weights.
        relative_mse: f64,
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
    /// The recipe's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
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

impl Report {
    /// The report for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.layers.is_empty() {
            let header =
                ["layer", "op", "shape", "bits", "act.", "method", "rel. MSE", "before", "after"];
            let mut table = Table::new(&header, "llrrlllrr");
            for layer in &self.layers {
                let shape = format!("{}x{}", layer.rows, layer.cols);
                let [bits, activations, method, error] = match &layer.coding {
                    Coding::MultiBit { bits, activations, method, relative_mse } => {
                        let error = format!("{relative_mse:.4}");
                        [bits.to_string(), activations.clone(), method.clone(), error]
                    }
                    Coding::Float { .. } => ["f32", "f32", "", ""].map(String::from),
                };
                let name = layer.name.clone();
                let op = layer.op.clone();
                let [before, after] =
                    [layer.bytes_before, layer.bytes_after].map(|b| b.to_string());
                table.row(vec![name, op, shape, bits, activations, method, error, before, after]);
            }
            text += &table.render();
        }
        for (reason, names) in self.kept_float() {
            let all = names.len() == self.layers.len() && names.len() > 1;
            let names = if all { "all layers".to_owned() } else { names.join(", ") };
            let _ = writeln!(text, "float: {names}: {reason}");
        }
        for State { input, output, dims } in &self.states {
            let _ = writeln!(text, "state: {input} [{}] <- {output}", dims.join(", "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// Reasons why weights stayed float, in the order of the first of each, and the layers.
    fn kept_float(&self) -> Vec<(&str, Vec<&str>)> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for layer in &self.layers {
            let Coding::Float { kept_float } = &layer.coding else { continue };
            match reasons.iter_mut().find(|(reason, _)| reason == kept_float) {
                Some((_, names)) => names.push(&layer.name),
                None => reasons.push((kept_float, vec![&layer.name])),
            }
        }
        reasons
    }
}

/// A table in plain text.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    align: Vec<u8>,
}

impl Table {
    /// `align` has an `l` or `r` for each column.
    pub(crate) fn new(header: &[&str], align: &str) -> Table {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Table { rows: vec![header], align: align.into() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The rows, two spaces between columns; columns that hold only their header are left out.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize, from: usize| {
            let cells = self.rows[from..].iter();
            cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let columns: Vec<usize> = (0..self.align.len()).filter(|&c| width(c, 1) > 0).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for &column in &columns {
                let (cell, width) = (&row[column], width(column, 0));
                let _ = match self.align[column] {
                    b'r' => write!(line, "{cell:>width$}  "),
                    _ => write!(line, "{cell:<width$}  "),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
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
                        activations: "int8".into(),
                        method: "alternating".into(),
                        relative_mse: 0.1242,
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
