//! `amqc convert`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use amq_runtime::Isa;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::calibration::Calibration;
use super::settings::Settings;
use super::{Outcome, output};
use crate::calibrate::gather::gather;
use crate::compile::{Compiled, compile_for};
use crate::error::{Error, Result};
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::report::Report;

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
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    calibration: Calibration,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors and what --json asks for
    #[arg(short, long)]
    quiet: bool,
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
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        if is_amq(&self.model)? {
            return Err(Error::usage("an .amq file is converted already")
                .within(self.model.display())
                .remedy("convert the ONNX model that it was made from"));
        }
        let target = match &self.output {
            Some(path) => path.clone(),
            None => self.model.with_extension("amq"),
        };
        output::check_not_read(
            &target,
            [&self.model].into_iter().chain(self.settings.recipe()).chain(self.calibration.files()),
        )?;
        let options =
            ConvertOptions { calibration: self.calibration.source()?, ..self.settings.options()? };
        options.resolver()?;
        let start = Instant::now();
        let Compiled { bytes, report, external } = self.compile(&options, isa)?;
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

    fn compile(&self, options: &ConvertOptions, isa: Isa) -> Result<Compiled> {
        let bar = match self.quiet || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(0),
        };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let show = |what: &str, done: usize, total: usize| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(what.to_owned());
        };
        let moments = match &options.calibration {
            Some(source) => {
                let opened = Opened::read_with(&self.model, &options.interface)?;
                Some(gather(&opened, source, isa, &|done, total| show("calibration", done, total))?)
            }
            None => None,
        };
        let compiled = compile_for(&self.model, options, moments.as_ref(), &|progress| {
            show(progress.layer, progress.done, progress.total);
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
