//! Reports as one page of HTML each, with no script and nothing from elsewhere: here that of a conversion.

use std::fmt::Write;

use crate::answers::{Answers, nats};
use crate::budget::Chosen;
use crate::by_node::ByNode;
use crate::effective::EffectiveBits;
use crate::histogram::Histogram;
use crate::report::{self, Coding, Layer, Report};

mod chart;
mod markup;
mod speed;

pub use speed::SpeedPage;

use markup::{Table, escape, number, size};

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Name of the model's file.
    pub model: &'a str,
    /// The settings, as flags.
    pub options: &'a str,
    /// Bytes of the file that was made.
    pub bytes_out: u64,
    /// Bits a weight of the file.
    pub effective_bits: Option<EffectiveBits>,
    /// What was done.
    pub report: &'a Report,
    /// Of each layer, how its weights lie; none for those that stayed float.
    pub histograms: &'a [Option<Histogram>],
    /// What bits were chosen from.
    pub chosen: Option<&'a Chosen>,
    /// How far the answers are from those of the float model.
    pub answers: Option<&'a Answers>,
    /// The same of what each node gives.
    pub by_node: Option<&'a ByNode>,
}

/// Values of the list of those that are farthest.
const WORST: usize = 12;

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut html = String::new();
        let budget = self.chosen.map(|chosen| chosen.budget.as_str()).unwrap_or_default();
        let options = match [budget, self.options].join(" ").trim() {
            "" => "default settings".to_owned(),
            options => format!("<code>{}</code>", escape(options)),
        };
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(html, "<p class=\"soft\">amqc {version}, {options}</p>");
        self.facts(&mut html);
        self.answers(&mut html);
        self.errors(&mut html);
        self.nodes(&mut html);
        self.layers(&mut html);
        self.chosen(&mut html);
        self.histograms(&mut html);
        self.kept(&mut html);
        markup::document(self.model, &html)
    }

    fn facts(&self, html: &mut String) {
        let bytes_in = self.report.bytes_in;
        let times = bytes_in as f64 / self.bytes_out.max(1) as f64;
        let coded = self.effective_bits.and_then(|bits| bits.coded);
        let bits = |bits: Option<f64>| bits.map_or("none".into(), |bits| format!("{bits:.2}"));
        html.push_str("<div class=\"facts\">\n");
        for (value, what) in [
            (size(bytes_in), "the model".to_owned()),
            (size(self.bytes_out), format!("the file, {times:.1} times smaller")),
            (bits(coded), "bits a weight, of matrices that are coded".into()),
            (
                bits(self.effective_bits.map(|bits| bits.file)),
                "bits a weight, over the whole file".into(),
            ),
        ] {
            let _ = writeln!(html, "<div><b>{value}</b>{what}</div>");
        }
        html.push_str("</div>\n");
    }

    fn answers(&self, html: &mut String) {
        let Some(answers) = self.answers else { return };
        html.push_str("<h2>Answers, beside those of the float model</h2>\n");
        if let Some(warning) = answers.warning() {
            let _ = writeln!(html, "<p class=\"warning\">{}</p>", escape(&warning));
        }
        let mut rows = Table::new(&["output", "signal / noise", "largest difference"], 1);
        rows.columns(&["divergence", "same choice"]);
        for answer in &answers.outputs {
            rows.row(&[
                answer.name.clone(),
                format!("{:.1} dB", answer.snr_db),
                number(answer.max_abs),
                answer.kl.map(|kl| format!("{} nats", nats(kl))).unwrap_or_default(),
                answer.same_choice.map(|s| format!("{:.1}%", 100.0 * s)).unwrap_or_default(),
            ]);
        }
        html.push_str(&rows.html());
        let _ = writeln!(html, "<p class=\"soft\">Compared {}.</p>", answers.on());
    }

    fn errors(&self, html: &mut String) {
        const LOW: i32 = -5;
        let row = |layer: &Layer| match &layer.coding {
            Coding::MultiBit { relative_mse, bits, .. } => {
                let text = format!("{relative_mse:.2e}, {bits} bits");
                Some((layer.name.clone(), *relative_mse, text))
            }
            Coding::Float { .. } => None,
        };
        let rows: Vec<_> = self.report.layers.iter().filter_map(row).collect();
        if rows.is_empty() {
            return;
        }
        html.push_str("<h2>Error of the weights by layer</h2>\n");
        html.push_str(
            "<p class=\"soft\">Squared error over squared weights. What it does to the answers \
             differs from layer to layer: <code>amqc sensitivity</code> measures that.</p>\n",
        );
        html.push_str(&chart::bars(LOW, &rows));
    }

    fn nodes(&self, html: &mut String) {
        let Some(ByNode { nodes, .. }) = self.by_node else { return };
        let mut differ: Vec<_> = nodes.iter().filter(|node| node.max_abs > 0.0).collect();
        if differ.is_empty() {
            return;
        }
        let worst: Vec<_> = differ.iter().take(WORST).copied().collect();
        html.push_str("<h2>Error by node</h2>\n");
        html.push_str(
            "<p class=\"soft\">Signal over noise of what each node gives, in the order of \
             computing: errors add up, and are made where it falls.</p>\n",
        );
        differ.sort_by_key(|node| node.index);
        let points: Vec<_> = differ.iter().map(|node| (node.value.clone(), node.snr_db)).collect();
        html.push_str(&chart::decibels(&points));
        let mut rows = Table::new(&["the farthest", "node", "op"], 3);
        rows.columns(&["signal / noise", "largest difference"]);
        for node in worst {
            rows.row(&[
                node.value.clone(),
                node.node.clone(),
                node.op.into(),
                format!("{:.1} dB", node.snr_db),
                number(node.max_abs),
            ]);
        }
        html.push_str(&rows.html());
    }

    fn layers(&self, html: &mut String) {
        html.push_str("<h2>Layers</h2>\n");
        let mut rows = Table::new(&["layer", "op"], 2);
        rows.columns(&["shape", "bits", "bits a weight", "activations", "method"]);
        rows.columns(&["relative error", "as f32", "after"]);
        for layer in &self.report.layers {
            let [bits, activations, method, error] = match &layer.coding {
                Coding::MultiBit { bits, group, activations, method, relative_mse, .. } => {
                    let bits = report::bits(*bits, *group);
                    let error = format!("{relative_mse:.5}");
                    [bits, activations.clone(), method.clone(), error]
                }
                Coding::Float { .. } => ["f32", "f32", "", ""].map(String::from),
            };
            rows.row(&[
                layer.name.clone(),
                layer.op.clone(),
                format!("{}x{}", layer.rows, layer.cols),
                bits,
                layer.bits_a_weight(),
                activations,
                method,
                error,
                size(layer.bytes_before),
                size(layer.bytes_after),
            ]);
        }
        html.push_str(&rows.html());
    }

    fn chosen(&self, html: &mut String) {
        let Some(chosen) = self.chosen else { return };
        html.push_str("<h2>What bits were chosen from</h2>\n");
        let measure = chosen.measure.text();
        let _ = writeln!(html, "<p class=\"soft\">Loss of each matrix coded alone: {measure}.</p>");
        let ways = chosen.ways();
        let mut rows = Table::new(&["matrix"], 1);
        let columns: Vec<String> = ways.iter().map(|way| format!("{way} bits")).collect();
        rows.columns(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        rows.columns(&["chosen"]);
        for matrix in &chosen.matrices {
            let mut row = vec![matrix.name.clone()];
            row.extend(ways.iter().map(|way| {
                let point = matrix.curve.iter().find(|point| point.name() == *way);
                point.map(|point| format!("{:.5}", point.loss)).unwrap_or_default()
            }));
            row.push(format!("{} bits, {}", matrix.point.name(), matrix.point.activations));
            rows.row(&row);
        }
        html.push_str(&rows.html());
    }

    fn histograms(&self, html: &mut String) {
        let shown = self.report.layers.iter().zip(self.histograms);
        let shown: Vec<_> = shown.filter_map(|(layer, of)| Some((layer, of.as_ref()?))).collect();
        if shown.is_empty() {
            return;
        }
        html.push_str("<h2>Weights and their levels</h2>\n");
        html.push_str(
            "<p class=\"soft\">Each row in its root mean square; lines are the mean places of the \
             levels, up to 4 bits.</p>\n<div class=\"cells\">\n",
        );
        for (layer, of) in shown {
            let (name, svg) = (escape(&layer.name), chart::histogram(of));
            let _ = writeln!(html, "<figure><figcaption>{name}</figcaption>{svg}</figure>");
        }
        html.push_str("</div>\n");
    }

    fn kept(&self, html: &mut String) {
        html.push_str("<h2>What stayed float, and what else differs from what was asked</h2>\n");
        let mut rows = Table::new(&["layer", "what", "why"], 3);
        for layer in &self.report.layers {
            match &layer.coding {
                Coding::Float { kept_float } => {
                    rows.row(&[layer.name.clone(), "weights in float".into(), kept_float.clone()]);
                }
                Coding::MultiBit { activations, note: Some(note), .. } => {
                    let what = format!("activations {activations}");
                    rows.row(&[layer.name.clone(), what, note.clone()]);
                }
                Coding::MultiBit { .. } => {}
            }
        }
        match rows.is_empty() {
            true => html.push_str("<p>Nothing.</p>\n"),
            false => html.push_str(&rows.html()),
        }
        for note in &self.report.notes {
            let _ = writeln!(html, "<p>{}</p>", escape(note));
        }
        for state in &self.report.states {
            let (input, output) = (escape(&state.input), escape(&state.output));
            let _ = writeln!(
                html,
                "<p class=\"soft\">State: <code>{input}</code> takes <code>{output}</code> of the \
                 step before.</p>"
            );
        }
    }
}
