//! `amqc convert`

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::budget::Within;
use super::calibration::Calibration;
use super::meta::Meta;
use super::progress::Bar;
use super::settings::Settings;
use super::{Outcome, Work, output};
use crate::answers::{Answers, seeded_trial};
use crate::budget::{Chosen, Point, Task};
use crate::by_node::{ByNode, by_node};
use crate::calibrate::gather::gather;
use crate::calibrate::trial::Trial;
use crate::compile::{Compiled, Spelling, compile_for};
use crate::effective::EffectiveBits;
use crate::error::{Error, ErrorReport, Result};
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::page::Page;
use crate::report::Report;
use crate::sequence::Calibrated;
use crate::stages::{StageTime, Stages};
use crate::table::Table;

/// Compile an ONNX model to an .amq file
///
/// Each matrix of weights becomes a sum of a few binary codes, scaled row by row. The report names
/// every matrix, what was done to it and how far it is from the original; a matrix that stayed in
/// float is named with the reason.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// The ONNX model; of several, or of a folder, each is converted
    #[arg(value_name = "MODEL.onnx", required = true)]
    models: Vec<PathBuf>,
    /// Where to write, a file or a folder; an existing file is replaced [default: beside the model, as MODEL.amq]
    ///
    /// Of several models each gives a line, and the exit code is the largest.
    #[arg(short, long, value_name = "OUT.amq")]
    output: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    calibration: Calibration,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    meta: Meta,
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
    /// Tell how long each stage takes
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
}

#[derive(Debug, Serialize)]
struct Converted {
    input: String,
    output: String,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_bits: Option<EffectiveBits>,
    seconds: f64,
    /// Of which stages took, if that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<Chosen>,
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
    #[serde(skip)]
    unasked: Option<String>,
}

/// What a conversion gave.
struct Made {
    compiled: Compiled,
    chosen: Option<Chosen>,
    answers: Option<Answers>,
    by_node: Option<ByNode>,
    /// Why answers were not compared, where they were to be.
    unasked: Option<String>,
    stages: Vec<StageTime>,
}

impl Convert {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        self.work.begin()?;
        match (&self.models[..], self.targets()?) {
            ([only], targets) if !only.is_dir() => match &targets[..] {
                [(model, target)] => self.one(model, target, isa),
                _ => Ok(Outcome::default()),
            },
            (_, targets) => self.each(&targets, isa),
        }
    }

    /// The models, and where each goes.
    fn targets(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut models = Vec::new();
        for model in &self.models {
            match model.is_dir() {
                true => models.extend(in_folder(model)?),
                false => models.push(model.clone()),
            }
        }
        let several = models.len() > 1 || self.models.iter().any(|model| model.is_dir());
        let other = [("--save-recipe", &self.save_recipe), ("--report", &self.report)];
        if let Some((flag, _)) = other.iter().find(|(_, path)| several && path.is_some()) {
            return Err(Error::usage(format!("{flag} is for one model, not for {}", models.len()))
                .remedy("convert them one by one"));
        }
        if several && self.output.as_ref().is_some_and(|output| output.is_file()) {
            let output = self.output.iter().map(|path| path.display()).next();
            return Err(Error::usage("several models do not go into one file")
                .within(output.map(|path| path.to_string()).unwrap_or_default())
                .remedy("name a folder with -o"));
        }
        let target = |model: &PathBuf| match &self.output {
            Some(output) if several || output.is_dir() => {
                output.join(model.file_name().unwrap_or_default()).with_extension("amq")
            }
            Some(output) => output.clone(),
            None => model.with_extension("amq"),
        };
        let targets: Vec<PathBuf> = models.iter().map(target).collect();
        output::check_apart(&targets.iter().collect::<Vec<_>>())?;
        if let (Some(folder), true) = (&self.output, several) {
            fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        }
        Ok(models.into_iter().zip(targets).collect())
    }

    /// Converts several models, with a line for each.
    fn each(&self, targets: &[(PathBuf, PathBuf)], isa: Isa) -> Result<Outcome> {
        let (mut all, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let mut text = String::new();
        for (model, target) in targets {
            match self.convert(model, target, isa) {
                Ok((converted, warning)) => {
                    text += &converted.line();
                    warnings.extend(warning.map(|text| format!("{}: {text}", model.display())));
                    all.push(serde_json::to_value(converted));
                }
                Err(error) => {
                    let input = model.display().to_string();
                    all.push(serde_json::to_value(Failed { input, error: error.report() }));
                    errors.push(error);
                }
            }
        }
        let outcome = match (self.json, self.quiet) {
            (false, true) => Outcome::default(),
            (false, false) => Outcome::text(text),
            (true, _) => {
                let all = all.into_iter().collect::<Result<Vec<_>, _>>();
                let all = all.map_err(|error| Error::io("standard output", error))?;
                Outcome::of(true, &all, |_| String::new())?
            }
        };
        Ok(Outcome { errors, warnings, ..outcome })
    }

    /// Converts one model, and tells all of it.
    fn one(&self, model: &Path, target: &Path, isa: Isa) -> Result<Outcome> {
        let (converted, warning) = self.convert(model, target, isa)?;
        let stages: Vec<String> = (converted.stages.iter())
            .map(|StageTime { stage, seconds }| format!("{stage} {seconds:.2} s"))
            .collect();
        let stages = (!stages.is_empty()).then(|| stages.join(", "));
        let unasked = converted.unasked.clone().filter(|_| !self.quiet);
        let notes = unasked.into_iter().chain(stages).collect();
        let outcome = match self.quiet && !self.json {
            true => Outcome::default(),
            false => Outcome::of(self.json, &converted, Converted::text)?,
        };
        Ok(Outcome { warnings: warning.into_iter().collect(), notes, ..outcome })
    }

    /// Converts a model; gives a warning too, if there is one.
    fn convert(
        &self,
        model: &Path,
        target: &Path,
        isa: Isa,
    ) -> Result<(Converted, Option<String>)> {
        if is_amq(model)? {
            return Err(Error::usage("an .amq file is converted already")
                .within(model.display())
                .remedy("convert the ONNX model that it was made from"));
        }
        let (model, target) = (model.to_owned(), target.to_owned());
        let read =
            || [&model].into_iter().chain(self.settings.recipe()).chain(self.calibration.files());
        let outputs = [Some(&target), self.save_recipe.as_ref(), self.report.as_ref()];
        let outputs: Vec<&PathBuf> = outputs.into_iter().flatten().collect();
        output::check_apart(&outputs)?;
        for path in &outputs {
            output::check_not_read(path, read())?;
        }
        let calibration = self.calibration.source()?;
        let options =
            ConvertOptions { calibration, meta: self.meta.told()?, ..self.settings.options()? };
        options.resolver()?;
        self.within.budget(options.flags.bits.is_some())?;
        let start = Instant::now();
        let bar = Bar::with_lines(self.quiet);
        let made = self.make(&model, options, isa, &bar.show());
        bar.clear();
        let Made { compiled, chosen, answers, by_node, unasked, stages } = made?;
        let Compiled { bytes, report, histograms, effective_bits, external, options, .. } =
            compiled;
        for path in &outputs {
            output::check_not_read(path, &external)?;
        }
        output::write_whole(&target, |file| file.write_all(&bytes))?;
        if let (Some(path), Some(recipe)) = (&self.save_recipe, &options.recipe) {
            output::write_whole(path, |file| file.write_all(recipe.text().as_bytes()))?;
        }
        if let Some(path) = &self.report {
            let page = Page {
                model: &model.file_name().unwrap_or_default().to_string_lossy(),
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
        let warning = warnings.filter(|_| !self.quiet);
        let converted = Converted {
            input: model.display().to_string(),
            output: target.display().to_string(),
            bytes_out: bytes.len() as u64,
            effective_bits,
            seconds: start.elapsed().as_secs_f64(),
            stages: if self.verbose { stages } else { Vec::new() },
            chosen,
            report,
            answers,
            unasked,
        };
        Ok((converted, warning))
    }

    /// Compiles the model, and compares its answers with those of the float model where anything is said
    /// of them. `show` is told what is done, and how far.
    fn make(
        &self,
        model: &PathBuf,
        options: ConvertOptions,
        isa: Isa,
        show: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Made> {
        let float = || Opened::read_as(model, &options);
        let mut stages = Stages::begin();
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
        if data.is_some() {
            stages.done("calibrate");
        }
        let chosen = match self.within.budget(options.flags.bits.is_some())? {
            Some(budget) => {
                let data = data.as_ref().map(|(data, trial, _)| (data, trial));
                let task = Task { path: model, options: &options, data, isa };
                Some(task.choose(budget, show)?)
            }
            None => None,
        };
        if chosen.is_some() {
            stages.done("choose bits");
        }
        let spelling = match &chosen {
            Some(chosen) => Some(chosen.spelling.clone()),
            None => self.save_recipe.is_some().then(|| Spelling {
                comment: format!("Written by amqc convert {options}").trim_end().into(),
                chosen: Vec::new(),
            }),
        };
        let calibrated = data.as_ref().map(|(data, ..)| data);
        let compiled = compile_for(model, &options, calibrated, spelling.as_ref(), &|progress| {
            show(progress.layer, progress.done, progress.total);
        })?;
        stages.parts(&compiled.stages);
        let mut made = Made {
            compiled,
            chosen,
            answers: None,
            by_node: None,
            unasked: None,
            stages: Vec::new(),
        };
        let silent = self.quiet && !self.json && self.report.is_none();
        if silent || !made.compiled.report.is_coded() {
            made.stages = stages.taken();
            return Ok(made);
        }
        let calibrated = data.is_some();
        let compared = match data {
            Some((_, trial, loaded)) => Some((trial, loaded)),
            // Seeded inputs are not for every model.
            None => {
                let loaded = float()?.load(isa)?;
                match seeded_trial(&loaded) {
                    Ok(trial) => Some((trial, loaded)),
                    Err(error) => {
                        made.unasked = Some(unasked(&error));
                        None
                    }
                }
            }
        };
        if let Some((trial, float)) = compared {
            let coded = Opened::of_bytes(model, &made.compiled.bytes).load(isa)?;
            made.answers = Some(Answers::of(&made.compiled.report, &coded, &trial, calibrated)?);
            if self.report.is_some() {
                let inputs = trial.first_call(&float)?;
                made.by_node = Some(by_node(&coded, &float, &inputs)?);
            }
            stages.done("compare answers");
        }
        made.stages = stages.taken();
        Ok(made)
    }
}

/// What is said where a call on seeded inputs fails.
fn unasked(error: &Error) -> String {
    format!(
        "answers were not compared with the float model's, for a call on seeded inputs fails: {}; or name data with \
         --calib",
        error.line()
    )
}

impl Converted {
    fn text(&self) -> String {
        let Converted { effective_bits, report, chosen, answers, .. } = self;
        let bits = effective_bits.map(|bits| format!("bits a weight: {bits}\n"));
        format!(
            "{}{}{}{}{}",
            chosen.as_ref().map(plan).unwrap_or_default(),
            report.text(),
            answers.as_ref().map(Answers::text).unwrap_or_default(),
            bits.unwrap_or_default(),
            self.line(),
        )
    }

    /// What became of what, and of which size.
    fn line(&self) -> String {
        let Converted { input, output, bytes_out, seconds, report, .. } = self;
        let bytes_in = report.bytes_in;
        let times = bytes_in as f64 / *bytes_out as f64;
        let size = match times >= 1.0 {
            true => format!("{times:.2} times smaller"),
            false => format!("{:.2} times as large", 1.0 / times),
        };
        format!("{input} -> {output}: {bytes_in} -> {bytes_out} bytes, {size}, {seconds:.1} s\n")
    }
}

/// The ONNX models of a folder, by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|error| Error::io(folder, error))?;
    let is_onnx = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx") && !path.is_dir();
    let mut models: Vec<PathBuf> = paths.into_iter().filter(is_onnx).collect();
    models.sort();
    match models.is_empty() {
        true => Err(Error::usage("no file of the folder ends in .onnx").within(folder.display())),
        false => Ok(models),
    }
}

/// A model that was not converted.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    input: String,
    error: ErrorReport<'a>,
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
