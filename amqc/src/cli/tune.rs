//! `amqc tune`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amq_runtime::Isa;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::meta::Meta;
use super::output::{self, SignalGuard};
use super::progress::Bar;
use super::settings::Settings;
use super::{Outcome, Work, output::write_whole};
use crate::calibrate::gather::gather;
use crate::calibrate::samples::Samples;
use crate::calibrate::source::Source;
use crate::error::{Error, Result};
use crate::eval::Labels;
use crate::export::export;
use crate::feed::text::{Unit, Vocabulary};
use crate::input;
use crate::loaded::Loaded;
use crate::names::shown;
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::report::Report;
use crate::sequence::Calibrated;
use crate::tune::{
    Arrays, Event, Figure, Group, Length, Matter, OutputChange, Passed, Reading, Rule, Texts,
    Training, Tuned, Watch, tune,
};

/// Seconds between two checkpoints.
const INTERVAL: u64 = 120;
/// Rate of Adam for samples: networks of few weights forget what they know at the rate that suits texts.
const SAMPLES_RATE: f64 = 0.005;
/// Steps below which a user is told that there are few.
const FEW: u64 = 50;
/// Of a text, the share that is kept to choose by, as one part in so many.
const KEPT: usize = 20;

/// Train a model with its quantization in the loop, from its ONNX file and a text, or samples in arrays
///
/// The model begins with codes that are fitted to the data. In each step weights and activations enter products as
/// they will in the file; gradients pass straight through. Of a text, or with labels, the loss is a mix of the divergence
/// from the float model and of cross-entropy with the next token or the label; without labels it is how far outputs are from the
/// float model's. The file is the student that does best on what is kept to choose by.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("length").required(true)), group(ArgGroup::new("data").required(true)))]
pub(super) struct Tune {
    /// The ONNX model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Text to learn, by a language model
    #[arg(long, value_name = "T", group = "data", requires = "vocab")]
    text: Option<PathBuf>,
    /// Vocabulary: one entry a line, the first is number 0
    #[arg(long, value_name = "V", requires = "text")]
    vocab: Option<PathBuf>,
    /// What texts are cut into
    #[arg(long, value_enum, default_value_t = Unit::Word, requires = "vocab")]
    unit: Unit,
    /// Samples to learn: an .npz, or a folder of .npz or .npy; each is a slice along the first axis
    #[arg(long, value_name = "DATA", group = "data")]
    calib: Option<PathBuf>,
    /// Axis of the arrays along which samples stand
    #[arg(long, value_name = "N", default_value_t = 0, requires = "calib")]
    calib_axis: usize,
    /// Class of each sample
    #[arg(long, value_name = "L.npy", requires = "calib", conflicts_with = "valid")]
    labels: Option<PathBuf>,
    /// Data to choose the best student by [default: the last twentieth of the text or each eighth sample, which are then not
    /// learned]
    #[arg(long, value_name = "DATA")]
    valid: Option<PathBuf>,
    /// Steps of training: the same file each time
    #[arg(long, value_name = "N", group = "length", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Minutes of training, after calibration; how many steps that is depends on the machine
    #[arg(long, value_name = "M", group = "length", value_parser = minutes)]
    minutes: Option<f64>,
    /// Where to write; an existing file is replaced [default: beside the model, as MODEL.amq]
    #[arg(short, long, value_name = "OUT.amq")]
    output: Option<PathBuf>,
    /// Write the trained network as an ONNX model in float as well, as amqc export does
    #[arg(long, value_name = "TUNED.onnx")]
    save_onnx: Option<PathBuf>,
    /// Write how far training is to this file every two minutes, and when it is interrupted
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    checkpoint: Option<PathBuf>,
    /// Go on from a checkpoint, and write the next ones to it; the other options are those that it was made with
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Train block after block, each to give what the float model has at its end: steps are shared among blocks
    #[arg(long, conflicts_with_all = ["text", "labels"])]
    by_block: bool,
    /// Number that pieces of the text are drawn by
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How weights follow gradients
    #[arg(long, value_enum, default_value_t = Rule::Adam)]
    rule: Rule,
    /// How far: for adam in root mean squares of a matrix [default: 0.03 for adam and a text, 0.005 for samples, 20
    /// for sgd]
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// Streams that the text is divided into, or samples at once
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count)]
    batch: usize,
    /// Tokens of a stream, or steps of samples that follow each other in time, that gradients go back through
    #[arg(long, value_name = "N", default_value_t = 35, value_parser = count)]
    span: usize,
    /// Share of the loss that is the divergence from the float model, where there is a next token or a label to learn
    /// [default: 0.5 for a text, 0.9 for labels]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    distill: Option<f64>,
    /// Of the rate, the part of each coded weight that adam takes away in a step [default: 0.03 for a text, 0 for
    /// samples]
    #[arg(long, value_name = "D", value_parser = share)]
    decay: Option<f64>,
    /// Share of what enters the product that gives the scores of a text that a step leaves out [default: 0.15]
    #[arg(long, value_name = "SHARE", value_parser = part, conflicts_with = "calib")]
    dropout: Option<f64>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    meta: Meta,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors and what --json asks for
    #[arg(short, long)]
    quiet: bool,
}

fn number(text: &str, fits: impl Fn(f64) -> bool, what: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number.is_finite() && fits(number));
    number.ok_or_else(|| format!("expected {what}"))
}

fn part(text: &str) -> Result<f64, String> {
    // In f32, as it is used: 0.99999999 is 1 there.
    number(text, |x| x >= 0.0 && (x as f32) < 1.0, "a share from 0 to below 1")
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0, "a number above 0")
}

fn minutes(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x < 1e6, "minutes above 0")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |x| (0.0..=1.0).contains(&x), "a share from 0 to 1")
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1 << 16).contains(count));
    count.ok_or_else(|| "expected a whole number from 1 to 65536".into())
}

#[derive(Debug, Serialize)]
struct Trained {
    input: String,
    output: String,
    bytes_out: u64,
    seconds: f64,
    /// Of which a step took, in the mean.
    seconds_a_step: f64,
    /// How good the calibrated model is on what students are judged by.
    before: f64,
    /// How good the file is, as one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snr_db: Option<f64>,
    /// Where there are several outputs, how near each is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<OutputChange>,
    /// In words.
    #[serde(skip)]
    told: [String; 2],
    steps: u64,
    best_step: u64,
    #[serde(flatten)]
    report: Report,
}

impl Tune {
    pub(super) fn execute(&self, isa: Isa, stderr: &mut dyn Write) -> Result<Outcome> {
        if is_amq(&self.model)? {
            return Err(Error::usage("an .amq file has no weights to train")
                .within(self.model.display())
                .remedy("tune the ONNX model that it was made from"));
        }
        let target = self.output.clone().unwrap_or_else(|| self.model.with_extension("amq"));
        let checkpoint = self.checkpoint.as_ref().or(self.resume.as_ref());
        let outputs = [Some(&target), checkpoint, self.save_onnx.as_ref()];
        let outputs: Vec<&PathBuf> = outputs.into_iter().flatten().collect();
        output::check_apart(&outputs)?;
        for path in &outputs {
            let data = [&self.text, &self.vocab, &self.calib, &self.labels, &self.valid];
            let read = data.into_iter().flatten().chain([&self.model]);
            output::check_not_read(path, read.chain(self.settings.recipe()))?;
        }
        if self.decay.is_some() && self.rule == Rule::Sgd {
            return Err(Error::usage("--decay has no meaning with --rule sgd")
                .remedy("leave it out, or train with --rule adam"));
        }
        self.work.begin()?;
        let source = self.source(None, None)?;
        let calibration = Some(source.clone());
        let options =
            ConvertOptions { calibration, meta: self.meta.told()?, ..self.settings.options()? };
        options.resolver()?;
        let resumed = match &self.resume {
            Some(path) => Some(input::ordinary_bytes(path)?),
            None => None,
        };
        let labels = match &self.labels {
            Some(path) => Some(Labels::read(path)?.into_classes()?),
            None => None,
        };
        let start = Instant::now();
        let opened = Opened::read_as(&self.model, &options)?;
        let threads = crate::threads::Threads::new(rayon::current_num_threads())?;
        let float = opened.load_with(isa, threads)?;
        let bar = Bar::new(self.quiet);
        if !self.quiet {
            let _ = writeln!(stderr, "calibrating");
        }
        let show = bar.show();
        let moments = gather(&opened, &source, isa, &|done, total| show("samples", done, total))?;
        let data = Calibrated { samples: source.read(&float)?, moments, isa };
        let matter = self.matter(&float, labels)?;
        let training = self.training();
        let guard = SignalGuard::new();
        let mut write = |bytes: &[u8]| match checkpoint {
            Some(path) => output::write_at_the_end(path, bytes),
            None => Ok(()),
        };
        let mut tell = |event: &Event| {
            if let Event::Step { step, done, loss, elapsed, .. } = event {
                let left = left(*done, *elapsed);
                show(
                    &format!("step {step}, loss {loss:.4}, {left}"),
                    (1000.0 * done) as usize,
                    1000,
                );
            } else if !self.quiet {
                bar.pause(|| {
                    let _ = writeln!(stderr, "{}", line(event));
                });
            }
        };
        let tuned = tune(
            &self.model,
            (&options, &data),
            &float,
            &matter,
            &training,
            resumed.as_deref(),
            &mut Watch {
                fitting: &show,
                tell: &mut tell,
                keep: checkpoint.is_some().then_some(&mut write),
                stop: &|| guard.pending(),
            },
        );
        bar.clear();
        drop(guard);
        let Tuned { compiled, before, figure, outputs: compared, step, steps, stepping } = tuned?;
        for path in &outputs {
            output::check_not_read(path, &compiled.external)?;
        }
        write_whole(&target, |file| file.write_all(&compiled.bytes))?;
        if let Some(path) = &self.save_onnx {
            let opened = Opened::of_bytes(&target, &compiled.bytes);
            let exported = export(&opened.validated()?).map_err(|e| e.within(path.display()))?;
            write_whole(path, |file| file.write_all(&exported.bytes))?;
        }
        let trained = Trained {
            input: self.model.display().to_string(),
            output: target.display().to_string(),
            bytes_out: compiled.bytes.len() as u64,
            seconds: start.elapsed().as_secs_f64(),
            seconds_a_step: stepping.as_secs_f64() / steps.max(1) as f64,
            before: number_of(&before),
            perplexity: matches!(figure, Figure::Perplexity(_)).then(|| number_of(&figure)),
            accuracy: matches!(figure, Figure::Accuracy { .. }).then(|| number_of(&figure)),
            snr_db: matches!(figure, Figure::Decibels(_)).then(|| number_of(&figure)),
            outputs: compared,
            told: [before, figure].map(|figure| figure.to_string()),
            steps,
            best_step: step,
            report: compiled.report,
        };
        match self.quiet && !self.json {
            true => Ok(Outcome::default()),
            false => Outcome::of(self.json, &trained, Trained::text),
        }
    }

    /// Where data come from: what is learned, or the data at `path`; all, or so many.
    fn source(&self, path: Option<&PathBuf>, most: Option<usize>) -> Result<Source> {
        let learned = self.text.as_ref().or(self.calib.as_ref());
        let path = path.or(learned).ok_or_else(|| Error::usage("give --text or --calib"))?.clone();
        let vocabulary = self.vocab.clone().map(|vocabulary| (vocabulary, self.unit));
        Ok(Source { path, vocabulary, axis: self.calib_axis, most })
    }

    /// What is learned, and what students are judged by.
    fn matter(&self, float: &Loaded, labels: Option<Vec<i64>>) -> Result<Matter> {
        match (&self.text, &self.vocab) {
            (Some(text), Some(vocabulary)) => Ok(Matter::Text(self.texts(text, vocabulary)?)),
            _ => Ok(Matter::Arrays(self.arrays(float, labels)?)),
        }
    }

    fn arrays(&self, float: &Loaded, labels: Option<Vec<i64>>) -> Result<Arrays> {
        let read = |path: Option<&PathBuf>| -> Result<Vec<Group>> {
            let samples = self.source(path, Some(usize::MAX))?.read(float)?;
            let Samples::Arrays { files, .. } = samples else { return Ok(Vec::new()) };
            Ok(files.into_iter().map(|inputs| Group { inputs, labels: None }).collect())
        };
        let mut learned = read(None)?;
        let valid = self.valid.as_ref().map_or(Ok(Vec::new()), |path| read(Some(path)))?;
        if let (Some(path), Some(mut labels)) = (&self.labels, labels) {
            let count: usize = learned.iter().map(|group| group.samples(self.calib_axis)).sum();
            if labels.len() != count {
                let found = labels.len();
                return Err(Error::bad_file(format!("{found} labels for {count} samples"))
                    .within(path.display()));
            }
            for group in &mut learned {
                let rest = labels.split_off(group.samples(self.calib_axis));
                group.labels = Some(std::mem::replace(&mut labels, rest));
            }
        }
        Ok(Arrays { learned, valid, axis: self.calib_axis })
    }

    /// The texts, as numbers.
    fn texts(&self, text: &PathBuf, vocabulary: &Path) -> Result<Texts> {
        let vocabulary = Vocabulary::read(vocabulary, self.unit)?;
        let mut learned = vocabulary.read_tokens(text)?.ids;
        let valid = match &self.valid {
            Some(path) => vocabulary.read_tokens(path)?.ids,
            None => learned.split_off(learned.len() - learned.len() / KEPT),
        };
        if valid.len() < 2 {
            let path = self.valid.as_ref().unwrap_or(text);
            return Err(Error::bad_file("too few tokens to choose the best student by")
                .within(path.display())
                .remedy("give a longer text"));
        }
        Ok(Texts { learned, valid, classes: vocabulary.len() })
    }

    fn training(&self) -> Training {
        let length = match (self.steps, self.minutes) {
            (Some(steps), _) => Length::Steps(steps),
            (None, minutes) => Length::Time(Duration::from_secs_f64(60.0 * minutes.unwrap_or(1.0))),
        };
        let Tune { seed, rule, batch, span, by_block, .. } = *self;
        let of_samples = self.calib.is_some() && rule == Rule::Adam;
        let rate = self.rate.or(of_samples.then_some(SAMPLES_RATE));
        // What a text is learned with by default serves language models that are larger than their text.
        let by_default = |of_text: f64, otherwise: f64| match self.text {
            Some(_) => of_text,
            None => otherwise,
        };
        let decay = self.decay.unwrap_or(by_default(0.03, 0.0));
        let share = self.distill.unwrap_or(by_default(0.5, 0.9));
        let dropout = self.dropout.unwrap_or(by_default(0.15, 0.0));
        let reading = Reading { batch, span, share, dropout };
        let interval = Duration::from_secs(INTERVAL);
        Training { length, seed, rule, rate, decay, reading, by_block, interval }
    }
}

/// How long it will take from here.
fn left(done: f64, elapsed: Duration) -> String {
    match done > 0.0 {
        true => {
            let seconds = elapsed.as_secs_f64() * (1.0 - done) / done;
            format!("{}:{:02} left", seconds as u64 / 60, seconds as u64 % 60)
        }
        false => String::new(),
    }
}

/// What is said of a validated student, or of what was undone.
fn line(event: &Event) -> String {
    match event {
        Event::Step { step, .. } => format!("step {step}"),
        Event::Valid { step, done, block, loss, figure, best, elapsed } => {
            let of_block = |Passed { block, blocks, before, after }: &Passed| {
                let kept = if after < before { "" } else { ", so it stays as it was" };
                format!("block {block} of {blocks}: loss {before:.4}, trained {after:.4}{kept}; ")
            };
            let loss = match &block {
                None => loss.map(|loss| format!(", loss {loss:.4}")).unwrap_or_default(),
                Some(_) => String::new(),
            };
            let block = block.as_ref().map(of_block).unwrap_or_default();
            let best = if *best { " (best)" } else { "" };
            let left = left(*done, *elapsed);
            format!("{block}step {step}{loss}, {figure}{best}, {left}")
                .trim_end_matches(", ")
                .to_owned()
        }
        Event::Undone { step, why } => {
            format!("step {step}: {why}; back to the best student, with half the rate")
        }
    }
}

impl Trained {
    fn text(&self) -> String {
        let Trained { input, output, bytes_out, seconds, told: [before, after], steps, .. } = self;
        let nothing = match self.best_step {
            0 => {
                "training brought nothing, the file is the calibrated model: try a lower --rate, more data or more steps\n"
            }
            _ if *steps < FEW => {
                "so few steps bring little: give more --minutes, or a smaller --batch\n"
            }
            _ => "",
        };
        let mut text = self.report.text();
        for OutputChange { name, before_db, after_db } in &self.outputs {
            let name = shown(name);
            text += &format!("{name}: {before_db:.1} dB calibrated, {after_db:.1} dB trained\n");
        }
        text + &format!(
            "{input} -> {output}: {bytes_out} bytes; {before} calibrated, {after} after step {} of {steps}, {seconds:.1} s\n{nothing}",
            self.best_step
        )
    }
}

/// The number that stands for a figure.
fn number_of(figure: &Figure) -> f64 {
    match *figure {
        Figure::Perplexity(number) | Figure::Decibels(number) => number,
        Figure::Accuracy { share, .. } => share,
    }
}
