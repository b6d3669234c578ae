//! Bits of each matrix, chosen so that a model keeps within a budget and loses as little as may be.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use amq_runtime::Isa;
use serde::Serialize;

use crate::calibrate::trial::Trial;
use crate::compile::{Prepared, finish};
use crate::error::{Error, Result};
use crate::fit::Fitted;
use crate::fits::Fits;
use crate::options::ConvertOptions;
use crate::plan::{Choice, Plan};
use crate::sensitivity::loss;
use crate::sequence::{self, Calibrated};
use crate::settings::{Bits, Given};
use crate::weights::Weight;

mod knapsack;

use knapsack::{Frontier, Item};

/// What a conversion must keep within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Bits a weight, over everything that is stored of the matrices that are coded.
    Bits(f64),
    /// Bytes of the file.
    Bytes(u64),
    /// Loss on the calibration data: of scores the rise of perplexity, of other outputs noise over
    /// signal, as shares.
    Loss(f64),
}

impl fmt::Display for Budget {
    /// As a flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Bits(bits) => write!(f, "--target-bits {bits}"),
            Budget::Bytes(bytes) => write!(f, "--max-size {bytes}"),
            Budget::Loss(share) => write!(f, "--max-loss {share}"),
        }
    }
}

/// What the loss of a choice is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Mean divergence of the probabilities that the outputs give, in nats.
    Kl,
    /// Noise of the outputs over their signal.
    Noise,
    /// Relative squared error of the weights: there are no data.
    RelativeMse,
}

impl Measure {
    /// What it is, in words.
    pub fn text(self) -> &'static str {
        match self {
            Measure::Kl => "divergence of the answers in nats",
            Measure::Noise => "noise over signal of the answers",
            Measure::RelativeMse => "relative squared error of the weights",
        }
    }
}

/// Bits that were chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// What was asked for, as a flag.
    pub budget: String,
    /// What `loss` is.
    pub measure: Measure,
    /// Sum of the losses of the matrices.
    pub loss: f64,
    /// That of all of them together, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Bits a weight, over everything that is stored of the matrices that are coded.
    pub bits_per_weight: f64,
    /// Each matrix that there was a choice for.
    pub matrices: Vec<Matrix>,
    /// The conversion that gives them, said by a recipe alone.
    #[serde(skip)]
    pub options: ConvertOptions,
}

impl Chosen {
    /// The numbers of bits that matrices were chosen from.
    pub fn widths(&self) -> BTreeSet<u8> {
        let points = self.matrices.iter().flat_map(|matrix| &matrix.curve);
        points.map(|point| point.bits).collect()
    }
}

/// A matrix that there was a choice for.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// Its name, that of its first use where there are several.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// The bits that it gets.
    pub bits: u8,
    /// Its bytes.
    pub bytes: u64,
    /// What coding it alone loses.
    pub loss: f64,
    /// What it was chosen from.
    pub curve: Vec<Point>,
}

/// A way to code a matrix.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Codes a row.
    pub bits: u8,
    /// Its bytes.
    pub bytes: u64,
    /// What coding it alone loses.
    pub loss: f64,
    #[serde(skip)]
    set: usize,
}

/// What a choice is made from.
#[derive(Debug)]
pub struct Task<'a> {
    /// The ONNX model.
    pub path: &'a Path,
    /// How it is converted; the bits of its flags are not looked at.
    pub options: &'a ConvertOptions,
    /// The data, and what answers are compared on; where there are none, the errors of weights decide.
    pub data: Option<(&'a Calibrated, &'a Trial)>,
    /// The instruction set that answers are computed with.
    pub isa: Isa,
}

/// Times that a choice is corrected by what all of it loses.
const CORRECTIONS: usize = 6;

impl Task<'_> {
    /// Chooses bits. `progress` is told what is done, and how far.
    ///
    /// # Errors
    /// As [`compile`](crate::compile::compile); a budget that cannot be kept, and one of loss without
    /// data.
    pub fn choose(
        &self,
        budget: Budget,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Chosen> {
        let (path, options) = (self.path, self.options);
        let located = |error: Error| error.within(path.display());
        if matches!(budget, Budget::Loss(_)) && self.data.is_none() {
            return Err(Error::usage("--max-loss is measured on data, and none are named")
                .remedy("name data that the model is meant for with --calib"));
        }
        let prepared = Prepared::read(path, options)?;
        let module = prepared.module.clone();
        let mut fits = Fits::new(path, module, &prepared.weights, self.isa)?;
        let curves = self.curves(&prepared, budget, &mut fits, progress).map_err(located)?;
        let Curves { curves, widths, measure } = curves;
        if curves.iter().all(Vec::is_empty) {
            return Err(Error::usage("no matrix of the model leaves a choice")
                .within(path.display())
                .remedy("choose bits with -b"));
        }
        let items: Vec<Vec<Item>> = curves
            .iter()
            .map(|curve| {
                curve.iter().map(|point| Item { bytes: point.bytes, loss: point.loss }).collect()
            })
            .collect();
        let frontier = Frontier::new(&items);
        let comment = format!("Chosen by amqc convert {budget}.");
        let choice = Choosing {
            task: self,
            fits: &fits,
            widths,
            curves: &curves,
            frontier,
            prepared,
            comment,
        };
        let (places, measured) = choice.keep(budget, measure)?;
        let matrices: Vec<Matrix> = curves
            .iter()
            .zip(&places)
            .enumerate()
            .filter_map(|(group, (curve, place))| {
                let (point, weight) = (curve.get((*place)?)?, fits.weight(group));
                Some(Matrix {
                    name: weight.name.clone(),
                    rows: weight.rows,
                    cols: weight.cols,
                    bits: point.bits,
                    bytes: point.bytes,
                    loss: point.loss,
                    curve: curve.clone(),
                })
            })
            .collect();
        let bytes: u64 = matrices.iter().map(|matrix| matrix.bytes).sum();
        let weights: usize = matrices.iter().map(|matrix| matrix.rows * matrix.cols).sum();
        Ok(Chosen {
            budget: budget.to_string(),
            measure,
            loss: matrices.iter().map(|matrix| matrix.loss).sum(),
            measured,
            bits_per_weight: 8.0 * bytes as f64 / weights.max(1) as f64,
            matrices,
            options: choice.options(&places)?,
        })
    }

    /// Of each group of matrices, the ways to code it that a budget leaves.
    fn curves(
        &self,
        prepared: &Prepared,
        budget: Budget,
        fits: &mut Fits,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Curves> {
        let groups = fits.groups.len();
        let (mut curves, mut widths) = (vec![Vec::<Point>::new(); groups], Vec::new());
        let mut measure = Measure::RelativeMse;
        let mut choices = vec![None; groups];
        for bits in tried(budget) {
            // From 5 bits on there is no kernel for codes of activations.
            let mut plan = match self.plan(prepared, bits) {
                Err(_) if !widths.is_empty() => break,
                plan => plan?,
            };
            let set = widths.len();
            widths.push(bits);
            for (group, entries) in fits.groups.iter().enumerate() {
                if done(budget, &curves, group, fits.weight(group), bits) {
                    for &entry in entries {
                        plan.matrices[entry].choice = Choice::Float { why: String::new() };
                    }
                }
            }
            fits.add(plan, self.data.map(|(data, _)| &data.moments), progress)?;
            for group in 0..groups {
                progress("sensitivity", group, groups);
                let Choice::Codes { fit, .. } = fits.choice(group, set) else { continue };
                let same = curves[group].iter().any(|point| point.bits == fit.bits);
                let (Some(bytes), false) = (fits.bytes(group, set), same) else { continue };
                let loss = match self.data {
                    None => fits.relative_mse(group, set).unwrap_or(0.0),
                    Some((_, trial)) => {
                        choices[group] = Some(set);
                        let answers = trial.answers(&fits.load(&choices)?)?;
                        choices[group] = None;
                        let scores = answers.iter().any(|answer| answer.kl.is_some());
                        measure = if scores { Measure::Kl } else { Measure::Noise };
                        loss(&answers)
                    }
                };
                if curves[group].last().is_none_or(|last| loss < last.loss) {
                    curves[group].push(Point { bits: fit.bits, bytes, loss, set });
                }
            }
        }
        Ok(Curves { curves, widths, measure })
    }

    /// Every matrix at so many bits, unless the recipe says another number for it.
    fn plan(&self, prepared: &Prepared, bits: u8) -> Result<Plan> {
        let flags = Given { bits: Some(Bits::Codes(bits)), ..self.options.flags };
        let options = ConvertOptions { flags, ..self.options.clone() };
        Plan::new(&prepared.module, &prepared.weights, options.resolver()?)
    }
}

/// Ways to code matrices.
struct Curves {
    /// Of each group: each takes more bytes than the one before, and loses less.
    curves: Vec<Vec<Point>>,
    /// The bits of each set.
    widths: Vec<u8>,
    measure: Measure,
}

/// Numbers of bits that are tried.
fn tried(budget: Budget) -> RangeInclusive<u8> {
    match budget {
        Budget::Bits(bits) => {
            let least = (bits.floor() as u8).saturating_sub(1).clamp(1, 8);
            least..=(bits.ceil() as u8).saturating_add(2).clamp(least, 8)
        }
        _ => 1..=8,
    }
}

/// Whether more bits for a group cannot be had, or are of no use.
fn done(budget: Budget, curves: &[Vec<Point>], group: usize, weight: &Weight, bits: u8) -> bool {
    let Some(last) = curves[group].last() else { return false };
    let weights = |point: &Point| 8 * point.bytes / u64::from(point.bits);
    let others = curves.iter().enumerate().filter(|(other, _)| *other != group);
    let others: Vec<&Point> = others.filter_map(|(_, curve)| curve.first()).collect();
    let elements = (weight.rows * weight.cols) as u64;
    let most = match budget {
        Budget::Loss(share) => {
            // A twentieth of its part of what may be lost.
            return last.loss < share / (20 * curves.len()) as f64;
        }
        Budget::Bytes(bytes) => bytes,
        // Coefficients make a weight of the others take more than its bits.
        Budget::Bits(bits) => {
            let all: u64 = others.iter().map(|point| weights(point)).sum::<u64>() + elements;
            (bits * all as f64 / 8.0) as u64
        }
    };
    u64::from(bits) * elements / 8 + others.iter().map(|point| point.bytes).sum::<u64>() > most
}

/// A choice being made.
struct Choosing<'a> {
    task: &'a Task<'a>,
    fits: &'a Fits,
    /// The bits of each set.
    widths: Vec<u8>,
    curves: &'a [Vec<Point>],
    frontier: Frontier,
    prepared: Prepared,
    comment: String,
}

impl Choosing<'_> {
    /// Of each group its place on its curve, none where that is empty; and the loss of all where it was measured.
    fn keep(&self, budget: Budget, measure: Measure) -> Result<(Vec<Option<usize>>, Option<f64>)> {
        match budget {
            Budget::Bits(bits) => {
                let groups = self.curves.iter().enumerate().filter(|(_, curve)| !curve.is_empty());
                let weights = groups.map(|(group, _)| self.fits.weight(group));
                let weights: usize = weights.map(|weight| weight.rows * weight.cols).sum();
                let most = (bits * weights as f64 / 8.0) as u64;
                let places = self.frontier.within(most).ok_or_else(|| {
                    let least = 8.0 * self.frontier.least() as f64 / weights.max(1) as f64;
                    self.too_small(budget, format!("{least:.2} bits"))
                })?;
                Ok((places, None))
            }
            Budget::Bytes(bytes) => self.in_bytes(bytes).map(|places| (places, None)),
            Budget::Loss(share) => {
                let most = match measure {
                    Measure::Kl => share.ln_1p(),
                    _ => share,
                };
                let (places, measured) = self.losing(most)?;
                match measured.is_none_or(|measured| measured <= most) {
                    true => Ok((places, measured)),
                    false => {
                        Err(self
                            .too_small(budget, format!("a loss of {:.4}", measured.unwrap_or(0.0))))
                    }
                }
            }
        }
    }

    fn too_small(&self, asked: Budget, least: String) -> Error {
        Error::usage(format!("{asked} cannot be kept: the least that the model takes is {least}"))
            .within(self.task.path.display())
            .remedy("allow more, or keep fewer matrices in float")
    }

    /// The best that is a file of at most so many bytes.
    fn in_bytes(&self, most: u64) -> Result<Vec<Option<usize>>> {
        let (mut left, mut smallest) = (most, u64::MAX);
        loop {
            let Some(places) = self.frontier.within(left) else {
                // No measure of what is not in matrices was taken yet.
                let least = match smallest {
                    u64::MAX => self.file(&self.frontier.smallest())?,
                    smallest => smallest,
                };
                if least <= most {
                    return Ok(self.frontier.smallest());
                }
                return Err(self.too_small(Budget::Bytes(most), format!("{least} bytes")));
            };
            let bytes = self.file(&places)?;
            smallest = smallest.min(bytes);
            match bytes.checked_sub(most) {
                None | Some(0) => return Ok(places),
                Some(over) => {
                    let taken = self.frontier.bytes(&places);
                    left = taken.saturating_sub(over);
                }
            }
        }
    }

    /// Bytes of the file.
    fn file(&self, places: &[Option<usize>]) -> Result<u64> {
        let (plan, fitted) = self.fitted(places)?;
        let options = self.options(places)?;
        let Prepared { source, module, weights } = &self.prepared;
        let file =
            finish(self.task.path, &options, source, module.clone(), weights, &plan, &fitted)?;
        Ok(file.bytes.len() as u64)
    }

    /// The codes that the conversion gives.
    fn fitted(&self, places: &[Option<usize>]) -> Result<(Plan, Fitted)> {
        let (plan, fitted) = self.fits.mixed(&self.sets(places));
        let (path, module) = (self.task.path, &self.prepared.module);
        match self.task.data {
            Some((data, _)) if sequence::is_joint(module, &plan, &data.moments) => {
                let fitted = sequence::fit(path, module, &plan, data, &|_, _, _| ())?;
                Ok((plan, fitted))
            }
            _ => Ok((plan, fitted)),
        }
    }

    /// What the conversion loses.
    fn measured(&self, trial: &Trial, places: &[Option<usize>]) -> Result<f64> {
        let (plan, fitted) = self.fitted(places)?;
        Ok(loss(&trial.answers(&self.fits.ready(&plan, &fitted)?)?))
    }

    /// The conversion with these choices.
    fn options(&self, places: &[Option<usize>]) -> Result<ConvertOptions> {
        // What there is no choice for is the same with any number.
        let mut bits = vec![self.widths[0]; self.fits.groups.iter().map(Vec::len).sum()];
        for (group, set) in self.sets(places).into_iter().enumerate() {
            let Some(set) = set else { continue };
            self.fits.groups[group].iter().for_each(|&entry| bits[entry] = self.widths[set]);
        }
        self.prepared.spelled_out(self.task.options, &self.comment, Some(&bits))
    }

    /// The smallest that loses at most so much, corrected by what it really loses; the best, if none does.
    fn losing(&self, most: f64) -> Result<(Vec<Option<usize>>, Option<f64>)> {
        let Some((_, trial)) = self.task.data else { return Ok((self.frontier.best(), None)) };
        let mut found: Option<(u64, Vec<Option<usize>>, f64)> = None;
        let mut allowed = most;
        for _ in 0..CORRECTIONS {
            let places = self.frontier.losing(allowed).unwrap_or_else(|| self.frontier.best());
            let measured = self.measured(trial, &places)?;
            let bytes = self.frontier.bytes(&places);
            let tried = found.as_ref().is_some_and(|(_, other, _)| *other == places);
            if measured <= most && found.as_ref().is_none_or(|(least, ..)| bytes < *least) {
                found = Some((bytes, places, measured));
            }
            if tried || measured == 0.0 {
                break;
            }
            allowed *= (most / measured).clamp(0.2, 2.0);
        }
        let places = match found {
            Some((_, places, measured)) => return Ok((places, Some(measured))),
            None => self.frontier.best(),
        };
        let measured = self.measured(trial, &places)?;
        Ok((places, Some(measured)))
    }

    /// The set that each group is taken from.
    fn sets(&self, places: &[Option<usize>]) -> Vec<Option<usize>> {
        let set = |(curve, place): (&Vec<Point>, &Option<usize>)| Some(curve.get((*place)?)?.set);
        self.curves.iter().zip(places).map(set).collect()
    }
}
