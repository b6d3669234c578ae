//! `amqc convert`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use amq_format::graph::Activations;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::model::is_amq;
use super::{Outcome, key_value, output};
use crate::compile::{Compiled, compile};
use crate::error::{Error, Result};
use crate::options::ConvertOptions;
use crate::quant::{Cycles, Method};
use crate::recipe::Recipe;
use crate::report::Report;
use crate::settings::{ACTIVATIONS, Bits, Given, parse_activations};

/// Compile an ONNX model to an .amq file
///
/// Each matrix of weights becomes a sum of a few binary codes, scaled row by row. The report names
/// every matrix, what was done to it and how far it is from the original; a matrix that stayed in
/// float is named with the reason.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// The ONNX model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Where to write; an existing file is replaced [default: beside the model, as MODEL.amq]
    #[arg(short, long, value_name = "OUT.amq")]
    output: Option<PathBuf>,
    /// Bits of the weights: f32, or 1 to 8 codes a row [default: 2]
    #[arg(short, long, value_name = "BITS", value_parser = bits())]
    bits: Option<Bits>,
    /// How activations enter products with such weights [default: int8]
    ///
    /// int8 is a table of sums in 8 bits, the most accurate at that speed; 1 to 4 is a number of
    /// codes found as the model runs, for weights of at most 4 bits; f32 decodes the weights.
    #[arg(short, long, value_name = "ACTIVATIONS", value_parser = activations())]
    activations: Option<Activations>,
    /// How codes are fitted [default: alternating]
    #[arg(long, value_parser = method())]
    method: Option<Method>,
    /// Cycles of the alternating method: a number, or converge [default: 2]
    #[arg(long, value_name = "N|converge")]
    cycles: Option<Cycles>,
    /// A state: the graph's output OUT is its input IN of the next call (repeatable)
    ///
    /// States are found by themselves where an input is a recurrent layer's initial state and that
    /// layer's last state is an output. The report lists them.
    #[arg(long, value_name = "IN=OUT", value_parser = key_value)]
    state: Vec<(String, String)>,
    /// Settings by layer, from a YAML file
    ///
    /// Its keys are those of the flags. Patterns match names of layers, with .W or .R after them
    /// for one matrix of a recurrent layer; * crosses /; for each key the last match wins. Flags
    /// override the recipe's defaults, its layers override both.
    #[arg(long, value_name = "R.yaml")]
    recipe: Option<PathBuf>,
    /// Calibration data; not supported by this version
    #[arg(long, value_name = "DATA")]
    calib: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but errors and what --json asks for
    #[arg(short, long)]
    quiet: bool,
}

fn bits() -> impl TypedValueParser<Value = Bits> {
    let names = ["f32", "1", "2", "3", "4", "5", "6", "7", "8"];
    PossibleValuesParser::new(names).try_map(|text| text.parse())
}

fn activations() -> impl TypedValueParser<Value = Activations> {
    PossibleValuesParser::new(ACTIVATIONS.map(Activations::name))
        .try_map(|text| parse_activations(&text))
}

fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.map(Method::name)).try_map(|text| text.parse::<Method>())
}

#[derive(Debug, Serialize)]
struct Converted {
    input: String,
    output: String,
    bytes_out: u64,
    seconds: f64,
    #[serde(flatten)]
    report: Report,
}

impl Convert {
    pub(super) fn execute(&self) -> Result<Outcome> {
        if self.calib.is_some() {
            return Err(Error::usage("--calib is not supported by this version")
                .remedy("leave it out: weights are fitted without data"));
        }
        if is_amq(&self.model)? {
            return Err(Error::usage("an .amq file is converted already")
                .within(self.model.display())
                .remedy("convert the ONNX model that it was made from"));
        }
        let target = match &self.output {
            Some(path) => path.clone(),
            None => self.model.with_extension("amq"),
        };
        output::check_not_read(&target, [&self.model].into_iter().chain(&self.recipe))?;
        let options = ConvertOptions {
            flags: Given {
                bits: self.bits,
                activations: self.activations,
                method: self.method,
                cycles: self.cycles,
            },
            states: self.state.clone(),
            recipe: self.recipe.as_deref().map(Recipe::read).transpose()?,
        };
        options.resolver()?;
        let start = Instant::now();
        let Compiled { bytes, report, external } = self.compile(&options)?;
        output::check_not_read(&target, &external)?;
        output::write_whole(&target, |file| file.write_all(&bytes))?;
        let converted = Converted {
            input: self.model.display().to_string(),
            output: target.display().to_string(),
            bytes_out: bytes.len() as u64,
            seconds: start.elapsed().as_secs_f64(),
            report,
        };
        match self.quiet && !self.json {
            true => Ok(Outcome::default()),
            false => Outcome::of(self.json, &converted, Converted::text),
        }
    }

    fn compile(&self, options: &ConvertOptions) -> Result<Compiled> {
        if self.quiet || !std::io::stderr().is_terminal() {
            return compile(&self.model, options, &|_| ());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let compiled = compile(&self.model, options, &|progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
            bar.set_message(progress.layer.to_owned());
        });
        bar.finish_and_clear();
        compiled
    }
}

impl Converted {
    fn text(&self) -> String {
        let Converted { input, output, bytes_out, seconds, report } = self;
        let bytes_in = report.bytes_in;
        let times = bytes_in as f64 / *bytes_out as f64;
        let size = match times >= 1.0 {
            true => format!("{times:.2} times smaller"),
            false => format!("{:.2} times as large", 1.0 / times),
        };
        format!(
            "{}{input} -> {output}: {bytes_in} -> {bytes_out} bytes, {size}, {seconds:.1} s\n",
            report.text()
        )
    }
}
