//! `amqc eval`

use std::path::{Path, PathBuf};

use amq_runtime::Isa;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::interface::{Dims, Ports, open};
use super::progress::Bar;
use super::{Outcome, Running};
use crate::error::{Error, Result};
use crate::eval::{self, Accuracy, Labels, MeanError, Perplexity};
use crate::feed::arrays::{bind, read_inputs, roundings};
use crate::feed::stream::PortNames;
use crate::feed::text::{Tokens, Unit, Vocabulary};
use crate::loaded::Loaded;

/// Measure how good a model is: perplexity of a text, or accuracy or error on items with labels
///
/// Perplexity: the model reads the text as one stream, its states carried along, and predicts each
/// token but the first. Scores pass through a log-softmax, or a logarithm where the model ends in
/// Softmax. Words not in the vocabulary are errors, unless it holds <unk>; each newline is <eos>.
/// A model whose scores depend on tokens to come, or on how the text is cut, is refused.
///
/// Accuracy, where labels are integers: the share of items, or of positions in them, whose largest score
/// is at their label; macro F1 is the mean over classes. Labels for positions have the shape of the
/// scores without the axis of classes, which is the last or follows the first; negative ones are left out.
/// Where there is one score a label, labels are 0 or 1: a score above 0 says 1, or above 0.5 from a Sigmoid.
///
/// Error, where labels are floats: how far the output is from them.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("measure").required(true)))]
pub(super) struct Eval {
    /// An .amq file or an ONNX model
    file: PathBuf,
    /// Text to predict
    #[arg(long, value_name = "T", group = "measure", requires = "vocab")]
    text: Option<PathBuf>,
    /// Vocabulary: one entry a line, the first is number 0
    #[arg(long, value_name = "V", requires = "text")]
    vocab: Option<PathBuf>,
    /// What the text is cut into
    #[arg(long, value_enum, default_value_t = Unit::Word)]
    unit: Unit,
    /// Arrays by the names of inputs, items along axis 0
    #[arg(long, value_name = "I.npz", group = "measure", requires = "labels")]
    inputs: Option<PathBuf>,
    /// Class of each item or position, or numbers that the output is to give
    #[arg(long, value_name = "L.npy", requires = "inputs")]
    labels: Option<PathBuf>,
    /// Count labels among so many largest scores too
    #[arg(long, value_name = "K", requires = "labels", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
    /// Input that takes the tokens [default: the only integer one that is no state]
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    input: Option<String>,
    /// Output that gives the scores [default: the only one that is no state and fits]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    dims: Dims,
    #[command(flatten)]
    running: Running,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct TextJson {
    perplexity: f64,
    predicted: usize,
    /// Of the text's tokens.
    unknown: usize,
}

impl Eval {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        match (&self.text, &self.vocab, &self.inputs, &self.labels) {
            (Some(text), Some(vocabulary), ..) => self.perplexity(isa, text, vocabulary),
            (.., Some(inputs), Some(labels)) => self.labelled(isa, inputs, labels),
            _ => Err(Error::usage("give --text and --vocab, or --inputs and --labels")),
        }
    }

    fn load(&self, isa: Isa) -> Result<Loaded> {
        let threads = self.running.threads()?;
        let opened = open(&self.file, &self.ports.interface(&self.dims))?;
        self.running.load(&opened, isa, &threads)
    }

    fn perplexity(&self, isa: Isa, text: &Path, vocabulary: &Path) -> Result<Outcome> {
        let vocabulary = Vocabulary::read(vocabulary, self.unit)?;
        let Tokens { ids, unknown } = vocabulary.read_tokens(text)?;
        let loaded = self.load(isa)?;
        let ports = PortNames { input: self.input.as_deref(), output: self.output.as_deref() };
        let Perplexity { perplexity, predicted } =
            bar(|tell| eval::perplexity_told(&loaded, vocabulary.len(), &ids, ports, tell))?;
        let outcome = Outcome::of(self.json, &TextJson { perplexity, predicted, unknown }, |_| {
            let read_as = match unknown {
                0 => String::new(),
                _ => format!(", {unknown} read as <unk>"),
            };
            format!("perplexity {perplexity:.2} ({predicted} tokens predicted{read_as})\n")
        })?;
        let mut warnings = Vec::new();
        if unknown > predicted / 2 {
            warnings.push(format!(
                "most of the text is not in the vocabulary ({unknown} of {} tokens); --unit says \
                 what the text is cut into",
                predicted + 1
            ));
        }
        Ok(Outcome { warnings, ..outcome })
    }

    fn labelled(&self, isa: Isa, inputs: &Path, labels: &Path) -> Result<Outcome> {
        let labels = Labels::read(labels)?;
        if let (Some(top), true) = (self.top, labels.are_numbers()) {
            return Err(Error::usage(format!(
                "--top {top} has no meaning for labels that are floats"
            ))
            .remedy("leave it out, or save classes as integers"));
        }
        let loaded = self.load(isa)?;
        let arrays = read_inputs(&loaded, inputs)?;
        let notes = roundings(&loaded, &arrays);
        let inputs = bind(&loaded, arrays)?;
        let output = self.output.as_deref();
        let top = self.top.map(usize::from);
        let outcome = match labels.are_numbers() {
            true => {
                let found = bar(|tell| eval::mean_error(&loaded, &inputs, &labels, output, tell))?;
                Outcome::of(self.json, &found, |found| {
                    let MeanError { mean_error, rms_error, predicted } = found;
                    format!(
                        "mean error {mean_error:.6}, root mean square {rms_error:.6} \
                         ({predicted} numbers)\n"
                    )
                })
            }
            false => {
                let found =
                    bar(|tell| eval::accuracy(&loaded, &inputs, &labels, output, top, tell))?;
                Outcome::of(self.json, &found, accuracy_text)
            }
        }?;
        Ok(Outcome { notes, ..outcome })
    }
}

/// Shows how far a measurement is.
fn bar<T>(measure: impl FnOnce(&dyn Fn(usize, usize)) -> Result<T>) -> Result<T> {
    let bar = Bar::with_lines(false);
    let show = bar.show();
    let measured = measure(&|done, total| show("", done, total));
    bar.clear();
    measured
}

fn accuracy_text(found: &Accuracy) -> String {
    let Accuracy { accuracy, macro_f1, top, cutoff, predicted, unlabelled } = found;
    let top = top.map(|top| format!(", top {} {:.2}%", top.k, top.accuracy * 100.0));
    let left = match unlabelled {
        0 => String::new(),
        count => format!(", {count} without a label left out"),
    };
    let cutoff = cutoff.map_or(String::new(), |cutoff| format!(", 1 above {cutoff}"));
    format!(
        "accuracy {:.2}%{}, macro F1 {macro_f1:.4} ({predicted} items{cutoff}{left})\n",
        accuracy * 100.0,
        top.unwrap_or_default()
    )
}
