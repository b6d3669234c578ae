//! `amqc eval`

use std::path::{Path, PathBuf};

use amq_runtime::Isa;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::interface::{Dims, Ports, open};
use super::{Outcome, Running};
use crate::error::{Error, Result};
use crate::eval::{self, Accuracy, Labels, Perplexity};
use crate::feed::arrays::{bind, read_inputs};
use crate::feed::stream::PortNames;
use crate::feed::text::{Tokens, Unit, Vocabulary};
use crate::loaded::Loaded;
use crate::threads::Threads;

/// Measure how good a model is: perplexity of a text, or top-1 accuracy
///
/// Perplexity: the model reads the text as one stream, its states carried along, and predicts each
/// token but the first. Scores pass through a log-softmax, or a logarithm where the model ends in
/// Softmax. Words not in the vocabulary are errors, unless it holds <unk>; each newline is <eos>.
/// A model whose scores depend on tokens to come, or on how the text is cut, is refused.
///
/// Accuracy: the share of items whose largest score is at their label.
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
    /// Class of each item
    #[arg(long, value_name = "L.npy", requires = "inputs")]
    labels: Option<PathBuf>,
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
            (.., Some(inputs), Some(labels)) => self.accuracy(isa, inputs, labels),
            _ => Err(Error::usage("give --text and --vocab, or --inputs and --labels")),
        }
    }

    fn load(&self, isa: Isa) -> Result<Loaded> {
        let threads = Threads::new(self.running.threads)?;
        let opened = open(&self.file, &self.ports.interface(&self.dims))?;
        opened.load_with(isa, threads)
    }

    fn perplexity(&self, isa: Isa, text: &Path, vocabulary: &Path) -> Result<Outcome> {
        let vocabulary = Vocabulary::read(vocabulary, self.unit)?;
        let Tokens { ids, unknown } = vocabulary.read_tokens(text)?;
        let loaded = self.load(isa)?;
        let ports = PortNames { input: self.input.as_deref(), output: self.output.as_deref() };
        let Perplexity { perplexity, predicted } =
            eval::perplexity(&loaded, vocabulary.len(), &ids, ports)?;
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

    fn accuracy(&self, isa: Isa, inputs: &Path, labels: &Path) -> Result<Outcome> {
        let loaded = self.load(isa)?;
        let inputs = bind(&loaded, read_inputs(&loaded, inputs)?)?;
        let labels = Labels::read(labels)?;
        let found = eval::accuracy(&loaded, &inputs, &labels, self.output.as_deref())?;
        Outcome::of(self.json, &found, |Accuracy { accuracy, predicted }| {
            format!("accuracy {:.2}% ({predicted} items)\n", accuracy * 100.0)
        })
    }
}
