//! `amqc convert`

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::budget::Within;
use super::calibration::Calibration;
use super::progress::Bar;
use super::settings::Settings;
use super::{Outcome, output};
use crate::answers::{Answers, seeded_trial};
use crate::budget::{Chosen, Point, Task};
use crate::by_node::{ByNode, by_node};
use crate::calibrate::gather::gather;
use crate::calibrate::trial::Trial;
use crate::compile::{Compiled, Spelling, compile_for};
use crate::effective::EffectiveBits;
use crate::error::{Error, Result};
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::page::Page;
use crate::report::Report;
use crate::sequence::Calibrated;
use crate::table::Table;

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
    #[command(flatten)]
    within: Within,
    /// Write a recipe that gives the same file again, with the settings of every matrix
    #[arg(long, value_name = "R.yaml")]
    save_recipe: Option<PathBuf>,
    /// Write the report as a page of HTML: sizes, errors by layer and node, weights and their levels
    #[arg(long, value_name = "R.html")]
    report: Option<PathBuf>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_bits: Option<EffectiveBits>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<Chosen>,
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
}

/// What a conversion gave.
struct Made {
    compiled: Compiled,
    chosen: Option<Chosen>,
    answers: Option<Answers>,
    by_node: Option<ByNode>,
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
        let read = || {
            [&self.model].into_iter().chain(self.settings.recipe()).chain(self.calibration.files())
        };
        let outputs = [Some(&target), self.save_recipe.as_ref(), self.report.as_ref()];
        let outputs: Vec<&PathBuf> = outputs.into_iter().flatten().collect();
        output::check_apart(&outputs)?;
        for path in &outputs {
            output::check_not_read(path, read())?;
        }
        let options =
            ConvertOptions { calibration: self.calibration.source()?, ..self.settings.options()? };
        options.resolver()?;
        let start = Instant::now();
        let bar = Bar::new(self.quiet);
        let made = self.make(options, isa, &bar.show());
        bar.clear();
        let Made { compiled, chosen, answers, by_node } = made?;
        let Compiled { bytes, report, histograms, effective_bits, external, options } = compiled;
        for path in &outputs {
            output::check_not_read(path, &external)?;
        }
        output::write_whole(&target, |file| file.write_all(&bytes))?;
        if let (Some(path), Some(recipe)) = (&self.save_recipe, &options.recipe) {
            output::write_whole(path, |file| file.write_all(recipe.text().as_bytes()))?;
        }
        if let Some(path) = &self.report {
            let page = Page {
                model: &self.model.file_name().unwrap_or_default().to_string_lossy(),
                options: &options.to_string(),
                bytes_out: bytes.len() as u64,
                effective_bits,
                report: &report,
                histograms: &histograms,
                chosen: chosen.as_ref(),
                answers: answers.as_ref(),
                by_node: by_node.as_ref(),
            };
            let html = page.html();
            output::write_whole(path, |file| file.write_all(html.as_bytes()))?;
        }
        let warnings = answers.as_ref().and_then(Answers::warning);
        let warnings = warnings.filter(|_| !self.quiet).into_iter().collect();
        let converted = Converted {
            input: self.model.display().to_string(),
            output: target.display().to_string(),
            bytes_out: bytes.len() as u64,
            effective_bits,
            seconds: start.elapsed().as_secs_f64(),
            chosen,
            report,
            answers,
        };
        let outcome = match self.quiet && !self.json {
            true => Outcome::default(),
            false => Outcome::of(self.json, &converted, Converted::text)?,
        };
        Ok(Outcome { warnings, ..outcome })
    }

    /// Compiles the model, and compares its answers with those of the float model where anything is said
    /// of them. `show` is told what is done, and how far.
    fn make(
        &self,
        options: ConvertOptions,
        isa: Isa,
        show: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Made> {
        let float = || Opened::read_as(&self.model, &options);
        let data = match &options.calibration {
            Some(source) => {
                let float = float()?;
                let told = |done, total| show("calibration", done, total);
                let moments = gather(&float, source, isa, &told)?;
                let loaded = float.load(isa)?;
                let samples = source.read(&loaded)?;
                let trial = Trial::new(&loaded, &samples)?;
                Some((Calibrated { samples, moments, isa }, trial, loaded))
            }
            None => None,
        };
        let chosen = match self.within.budget() {
            Some(budget) => {
                let data = data.as_ref().map(|(data, trial, _)| (data, trial));
                let task = Task { path: &self.model, options: &options, data, isa };
                Some(task.choose(budget, show)?)
            }
            None => None,
        };
        let spelling = match &chosen {
            Some(chosen) => Some(chosen.spelling.clone()),
            None => self.save_recipe.is_some().then(|| Spelling {
                comment: format!("Written by amqc convert {options}").trim_end().into(),
                chosen: Vec::new(),
            }),
        };
        let calibrated = data.as_ref().map(|(data, ..)| data);
        let compiled =
            compile_for(&self.model, &options, calibrated, spelling.as_ref(), &|progress| {
                show(progress.layer, progress.done, progress.total);
            })?;
        let mut made = Made { compiled, chosen, answers: None, by_node: None };
        let silent = self.quiet && !self.json && self.report.is_none();
        if silent || !made.compiled.report.is_coded() {
            return Ok(made);
        }
        let calibrated = data.is_some();
        let compared = match data {
            Some((_, trial, loaded)) => Some((trial, loaded)),
            // Seeded inputs are not for every model.
            None => {
                let loaded = float()?.load(isa)?;
                seeded_trial(&loaded).map(|trial| (trial, loaded))
            }
        };
        if let Some((trial, float)) = compared {
            let coded = Opened::of_bytes(&self.model, &made.compiled.bytes).load(isa)?;
            made.answers = Some(Answers::of(&made.compiled.report, &coded, &trial, calibrated)?);
            if self.report.is_some() {
                let inputs = trial.first_call(&float)?;
                made.by_node = Some(by_node(&coded, &float, &inputs)?);
            }
        }
        Ok(made)
    }
}

impl Converted {
    fn text(&self) -> String {
        let Converted { input, output, bytes_out, effective_bits, .. } = self;
        let Converted { seconds, report, chosen, answers, .. } = self;
        let bits = effective_bits.map(|bits| format!("bits a weight: {bits}\n"));
        let bytes_in = report.bytes_in;
        let times = bytes_in as f64 / *bytes_out as f64;
        let size = match times >= 1.0 {
            true => format!("{times:.2} times smaller"),
            false => format!("{:.2} times as large", 1.0 / times),
        };
        format!(
            "{}{}{}{}{input} -> {output}: {bytes_in} -> {bytes_out} bytes, {size}, {seconds:.1} s\n",
            chosen.as_ref().map(plan).unwrap_or_default(),
            report.text(),
            answers.as_ref().map(Answers::text).unwrap_or_default(),
            bits.unwrap_or_default(),
        )
    }
}

/// What was chosen: of each matrix its bits, group and activations, and the losses of all ways to code it.
fn plan(chosen: &Chosen) -> String {
    let (unit, ways) = (chosen.measure.text(), chosen.ways());
    let columns: Vec<String> = ways.iter().map(|way| format!("{way} bits")).collect();
    let mut header = vec!["layer", "shape", "bits", "act."];
    header.extend(columns.iter().map(String::as_str));
    let mut table = Table::new(&header, &format!("llrr{}", "r".repeat(columns.len())));
    for matrix in &chosen.matrices {
        let shape = format!("{}x{}", matrix.rows, matrix.cols);
        let Point { activations, .. } = matrix.point;
        let mut row = vec![matrix.name.clone(), shape, matrix.point.name(), activations.into()];
        row.extend(ways.iter().map(|way| {
            let point = matrix.curve.iter().find(|point| point.name() == *way);
            point.map(|point| format!("{:.5}", point.loss)).unwrap_or_default()
        }));
        table.row(row);
    }
    let measured = chosen.measured.map(|loss| format!(", measured {loss:.5}")).unwrap_or_default();
    format!(
        "{}chosen: {:.2} bits a weight; loss {:.5} in sum{measured} ({unit})\n\n",
        table.render(),
        chosen.bits_per_weight,
        chosen.loss
    )
}
