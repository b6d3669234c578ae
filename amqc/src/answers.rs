//! How far the answers of a model that was converted are from those of the float model.

use std::collections::BTreeSet;
use std::fmt::Write;

use amq_format::graph::Port;
use serde::Serialize;

use crate::calibrate::trial::{Answer, Trial};
use crate::error::Result;
use crate::loaded::Loaded;
use crate::names::shown;
use crate::plan::SHORT_ROW_BITS;
use crate::report::{Coding, Layer, Report};
use crate::settings::MOST_BITS_BY_CODES;
use crate::verify::seeded_inputs;

/// Scores whose probabilities diverge by more are poor, in nats: perplexity is a fifth higher. Which score is
/// the largest says less, for a model is often not sure of it itself.
const MOST_KL: f64 = 0.2;
/// Other answers below it are poor, in decibels.
const LEAST_SNR: f64 = 10.0;
/// And those that err by half of what they vary by, whatever their mean.
const LEAST_SNR_ABOUT_MEAN: f64 = 3.0;
/// So are those that are not float of which a smaller share is the same, where there are this many.
const LEAST_SAME: f64 = 0.9;
const FEWEST: usize = 20;

/// Size that seeded inputs have along axes that are neither batch, channel nor time: images of one pixel say
/// little.
const SIZE: i64 = 64;

/// A trial on seeded inputs, where the model takes some.
///
/// # Errors
/// What is wrong with them.
pub fn seeded_trial(float: &Loaded) -> Result<Trial> {
    let streams = &float.graph().streams;
    let time = |port: &Port, axis: usize| {
        streams.iter().any(|s| s.value == port.value && s.time_axis as usize == axis)
    };
    let later = |port: &Port| -> Vec<(String, i64)> {
        let dims = port.dims.iter().enumerate().skip(2).filter(|(axis, _)| !time(port, *axis));
        dims.filter_map(|(_, dim)| Some((dim.as_name()?.to_owned(), SIZE))).collect()
    };
    let wide: Vec<(String, i64)> = float.inputs().flat_map(later).collect();
    let call = |dims: &[(String, i64)]| {
        let inputs = seeded_inputs(float, dims)?;
        let shapes = float.sizes_of(inputs.iter().map(|(name, x)| (name.as_str(), &x.dims[..])));
        Trial::call(float, inputs).map_err(|error| float.error_of_sizes(error, &shapes))
    };
    call(&wide).or_else(|_| call(&[]))
}

/// How far the answers are from those of the float model.
#[derive(Debug, Serialize)]
pub struct Answers {
    /// Whether they were compared on calibration data; else on seeded inputs.
    calibrated: bool,
    /// Tokens of a text, steps of sequences or samples that they were compared on.
    samples: usize,
    /// What they are.
    #[serde(skip)]
    what: &'static str,
    /// Whether codes were fitted to other data.
    apart: bool,
    /// Each output.
    pub outputs: Vec<Answer>,
    /// The bits and activations of the matrices that are coded.
    #[serde(skip)]
    asked: Vec<(u8, String)>,
}

impl Answers {
    /// Of a model with this report; `calibrated` says whether the trial is on calibration data.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub fn of(report: &Report, coded: &Loaded, trial: &Trial, calibrated: bool) -> Result<Answers> {
        let outputs = trial.answers(coded)?;
        let asked = |layer: &Layer| match &layer.coding {
            Coding::MultiBit { bits, activations, .. } => Some((*bits, activations.clone())),
            Coding::Float { .. } => None,
        };
        let asked = report.layers.iter().filter_map(asked).collect();
        let (samples, what, apart) = (trial.count(), trial.what(), trial.is_apart());
        Ok(Answers { calibrated, samples, what, apart, outputs, asked })
    }

    /// What they were compared on.
    pub fn on(&self) -> String {
        match self.calibrated {
            true if self.apart => {
                format!("on {} {} of the data that were kept apart", self.samples, self.what)
            }
            true => format!("on {} {} that codes were fitted to", self.samples, self.what),
            false => "on seeded inputs".to_owned(),
        }
    }

    /// A line for each output.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for answer in &self.outputs {
            let _ = writeln!(text, "answers: {}, {}", told(answer), self.on());
        }
        if !self.calibrated {
            text += "answers to other inputs may be farther: give some with --calib, or to amqc verify\n";
        }
        text
    }

    /// That the answers are poor and what to try, if they are.
    pub fn warning(&self) -> Option<String> {
        let poor = |answer: &&Answer| {
            let few = answer.same_choice.is_some_and(|same| same < LEAST_SAME);
            match answer.kl {
                Some(kl) => kl > MOST_KL,
                None if answer.float => {
                    answer.snr_db < LEAST_SNR || answer.snr_about_mean_db < LEAST_SNR_ABOUT_MEAN
                }
                None => few && answer.rows >= FEWEST,
            }
        };
        let poor: Vec<String> = self.outputs.iter().filter(poor).map(told).collect();
        if poor.is_empty() {
            return None;
        }
        let mut advice = Vec::new();
        if !self.calibrated {
            advice.push("calibrate with --calib and data that the model is meant for".to_owned());
        }
        if self
            .asked
            .iter()
            .any(|(_, activations)| activations.trim_start_matches('o').parse::<u8>().is_ok())
        {
            advice.push("leave activations at -a int8".to_owned());
        }
        let bits: BTreeSet<u8> = self.asked.iter().map(|(bits, _)| *bits).collect();
        match Vec::from_iter(bits)[..] {
            [8] => {}
            // Kernels of few columns got more than what was asked for.
            [bits] | [bits, MOST_BITS_BY_CODES | SHORT_ROW_BITS] => {
                let or = if self.calibrated { ", or --max-loss 5%" } else { "" };
                advice.push(format!("allow more bits (-b {}{or})", bits + 1))
            }
            _ if self.calibrated => {
                advice.push("allow more bits (a larger budget, or --max-loss 5%)".to_owned());
            }
            _ => advice.push("allow more bits".to_owned()),
        }
        advice.push("see with amqc sensitivity which matrices cost most".to_owned());
        Some(format!(
            "the answers are far from those of the float model {}: {}\n  = help: {}",
            self.on(),
            poor.join("; "),
            advice.join("; ")
        ))
    }
}

/// A divergence; rounding leaves less than none where there is none.
pub(crate) fn nats(kl: f64) -> String {
    let text = format!("{kl:.4}");
    if text == "-0.0000" { "0.0000".to_owned() } else { text }
}

/// Signal over noise; about the mean too, where that is most of the signal.
pub(crate) fn decibels(snr_db: f64, about_mean: f64) -> String {
    match snr_db - about_mean > 3.0 {
        true => format!("snr {snr_db:.1} dB, {about_mean:.1} about its mean"),
        false => format!("snr {snr_db:.1} dB"),
    }
}

/// How far an output is.
fn told(answer: &Answer) -> String {
    let snr = decibels(answer.snr_db, answer.snr_about_mean_db);
    let mut text = format!("{}: {snr}", shown(&answer.name));
    if let Some(kl) = answer.kl {
        let _ = write!(text, ", divergence {} nats", nats(kl));
    }
    if let Some(same) = answer.same_choice {
        let what = if answer.kl.is_some() { "same choice" } else { "same values" };
        let _ = write!(text, ", {what} {:.1}%", 100.0 * same);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use amq_runtime::Isa;
    use prost::Message;

    use super::*;
    use crate::onnx::tests::Build;
    use crate::open::Opened;

    #[test]
    fn what_seeded_inputs_lack_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let build = Build::new(13).input("x", "n 1").ints("three", &[3, -1]);
        let build = build.node("Reshape", "x three", "y").output("y");
        fs::write(&path, build.model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(Isa::detect()).unwrap();
        let error = seeded_trial(&loaded).unwrap_err().line();
        assert!(error.contains("--dim NAME=N (here n is 1)"), "{error}");
    }

    #[test]
    fn a_divergence_is_not_less_than_none() {
        assert_eq!([-1e-9, 0.0, 0.12345].map(nats), ["0.0000", "0.0000", "0.1235"]);
    }
}
