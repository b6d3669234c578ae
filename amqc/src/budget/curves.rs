//! The ways to code each matrix, and what each loses.

use std::ops::RangeInclusive;

use amq_format::graph::Activations;
use amq_format::multi_bit_bytes;
use serde::Serialize;

use super::asked::{Budget, Measure, Task};
use super::knapsack::{Frontier, Item};
use crate::compile::Prepared;
use crate::error::Result;
use crate::fits::Fits;
use crate::options::ConvertOptions;
use crate::plan::{Choice, Plan, Planned};
use crate::report;
use crate::sensitivity::{are_scores, loss};
use crate::settings::{Bits, Given, Group};
use crate::weights::Weight;

/// Columns of groups that are tried where bits were chosen.
const GROUPS: [u32; 2] = [128, 64];
/// Codes of activations may lose so many times what int8 does: half a decibel more.
const MOST_BY_CODES: f64 = 1.122;

/// A way to code a matrix.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Codes a row.
    pub bits: u8,
    /// Columns that have coefficients of their own, where that is not the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u64>,
    /// How activations enter the product.
    pub activations: &'static str,
    /// Its bytes.
    pub bytes: u64,
    /// What coding it alone loses.
    pub loss: f64,
    #[serde(skip)]
    pub(super) set: usize,
}

impl Point {
    /// Its bits and group, as reports show them.
    pub fn name(&self) -> String {
        report::bits(self.bits, self.group)
    }
}

/// Ways to code matrices.
pub(super) struct Curves {
    /// Of each group: each takes more bytes than the one before, and loses less.
    pub(super) curves: Vec<Vec<Point>>,
    /// What each set of the fits was asked for.
    pub(super) asked: Vec<Given>,
    pub(super) measure: Measure,
}

/// Curves being measured.
pub(super) struct Measuring<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) fits: &'a mut Fits,
    pub(super) budget: Budget,
    pub(super) progress: &'a (dyn Fn(&str, usize, usize) + Sync),
}

impl Measuring<'_> {
    /// Tries numbers of bits, then groups of columns for the bits that would be taken.
    pub(super) fn curves(mut self) -> Result<Curves> {
        let groups = self.fits.groups.len();
        let mut all = Curves {
            curves: vec![Vec::new(); groups],
            asked: Vec::new(),
            measure: Measure::RelativeMse,
        };
        for bits in self.tried(groups) {
            let asked = Given { bits: Some(Bits::Codes(bits)), ..Given::default() };
            let wanted: Vec<bool> = (0..groups)
                .map(|group| !done(self.budget, &all.curves, group, self.fits.weight(group), bits))
                .collect();
            // From 5 bits on there is no kernel for codes of activations.
            match self.try_way(asked, &wanted, &mut all) {
                Err(_) if !all.asked.is_empty() => break,
                tried => tried?,
            }
        }
        let any = all.curves.iter().any(|curve| !curve.is_empty());
        if any && self.task.options.flags.group.is_none() {
            let frontier = Frontier::new(&items(&all.curves));
            let places = match self.budget {
                Budget::Bits(bits) => frontier.within((bits * self.weights(&all) / 8.0) as u64),
                Budget::Bytes(bytes) => frontier.within(bytes),
                Budget::Loss(share) => frontier.losing(most(share, all.measure)),
            };
            let places = places.unwrap_or_else(|| frontier.best());
            let bits: Vec<Option<u8>> = (all.curves.iter().zip(&places))
                .map(|(curve, place)| Some(curve.get((*place)?)?.bits))
                .collect();
            for columns in GROUPS {
                for width in 1..=8 {
                    let wanted: Vec<bool> = bits.iter().map(|bits| *bits == Some(width)).collect();
                    let asked = Given {
                        bits: Some(Bits::Codes(width)),
                        group: Some(Group::Columns(columns)),
                        ..Given::default()
                    };
                    if wanted.contains(&true) {
                        self.try_way(asked, &wanted, &mut all)?;
                    }
                }
            }
        }
        for curve in &mut all.curves {
            curve.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss)));
            let mut least = f64::INFINITY;
            curve.retain(|point| {
                let better = point.loss < least;
                least = least.min(point.loss);
                better
            });
        }
        Ok(all)
    }

    /// Numbers of bits that are tried: from one fewer than what all can have within the budget, for coefficients make
    /// a weight take more than its bits.
    fn tried(&self, groups: usize) -> RangeInclusive<u8> {
        let Budget::Bits(target) = self.budget else { return 1..=8 };
        let mut least = (target.floor() as u8).clamp(1, 8);
        while least > 1 {
            let asked = Given { bits: Some(Bits::Codes(least)), ..Given::default() };
            // What cannot be planned says why when it is tried.
            let Ok(plan) = self.plan(asked, &vec![true; groups]) else { break };
            if average(&plan) <= target {
                break;
            }
            least -= 1;
        }
        let least = least.saturating_sub(1).max(1);
        least..=(target.ceil() as u8).saturating_add(2).clamp(least, 8)
    }

    /// Weights that there is a choice for.
    fn weights(&self, all: &Curves) -> f64 {
        let groups = all.curves.iter().enumerate().filter(|(_, curve)| !curve.is_empty());
        let weights = groups.map(|(group, _)| self.fits.weight(group));
        weights.map(|weight| weight.rows * weight.cols).sum::<usize>() as f64
    }

    /// Measures those groups that are wanted, coded in a way; where codes of activations are asked for and there are
    /// data, with int8 too.
    fn try_way(&mut self, asked: Given, wanted: &[bool], all: &mut Curves) -> Result<()> {
        let plan = self.plan(asked, wanted)?;
        self.fits.add(plan, self.task.data.map(|(data, _)| &data.moments), self.progress)?;
        all.asked.push(asked);
        let coarse = all.asked.len() - 1;
        let by_codes = |group: &usize, fits: &Fits| match fits.choice(*group, coarse) {
            Choice::Codes { activations, .. } => activations.codes().is_some(),
            Choice::Float { .. } => false,
        };
        let by_codes: Vec<usize> =
            (0..wanted.len()).filter(|group| by_codes(group, self.fits)).collect();
        if self.task.data.is_some() && !by_codes.is_empty() {
            let asked = Given { activations: Some(Activations::Int8), ..asked };
            let plan = self.plan(asked, wanted)?;
            self.fits.again(plan);
            all.asked.push(asked);
        }
        let fine = all.asked.len() - 1;
        for group in 0..wanted.len() {
            (self.progress)("sensitivity", group, wanted.len());
            let mut point = self.point(group, coarse, all)?;
            if fine != coarse
                && let (Some(codes), Some(int8)) = (point, self.point(group, fine, all)?)
                && codes.loss > MOST_BY_CODES * int8.loss
            {
                point = Some(int8);
            }
            let better =
                |point: &Point| all.curves[group].last().is_none_or(|last| point.loss < last.loss);
            let point = point.filter(|point| asked.group.is_some() || better(point));
            all.curves[group].extend(point);
        }
        Ok(())
    }

    /// A group as a set has it; none where it is float there, or as in one before.
    fn point(&self, group: usize, set: usize, all: &mut Curves) -> Result<Option<Point>> {
        let fits = &self.fits;
        let choice = fits.choice(group, set);
        let Choice::Codes { fit, activations, .. } = choice else { return Ok(None) };
        let same = all.curves[group].iter().any(|point| fits.choice(group, point.set) == choice);
        let (Some(bytes), false) = (fits.bytes(group, set), same) else { return Ok(None) };
        let loss = match self.task.data {
            None => fits.relative_mse(group, set).unwrap_or(0.0),
            Some((_, trial)) => {
                let mut choices = vec![None; all.curves.len()];
                choices[group] = Some(set);
                let answers = trial.answers(&fits.load(&choices)?)?;
                let scores = are_scores(&answers);
                all.measure = if scores { Measure::Kl } else { Measure::Noise };
                loss(&answers)
            }
        };
        let group = Some(fit.group as u64).filter(|&group| group > 0);
        let activations = activations.name();
        Ok(Some(Point { bits: fit.bits, group, activations, bytes, loss, set }))
    }

    /// Those groups that are wanted in a way, unless the recipe says another for it; the others in float.
    fn plan(&self, asked: Given, wanted: &[bool]) -> Result<Plan> {
        let options = &self.task.options;
        let options = ConvertOptions { flags: asked.or(options.flags), ..(*options).clone() };
        let Prepared { module, weights, .. } = self.prepared;
        let mut plan = Plan::new(module, weights, options.resolver()?)?;
        for (entries, wanted) in self.fits.groups.iter().zip(wanted) {
            for &entry in entries.iter().filter(|_| !wanted) {
                plan.matrices[entry].choice = Choice::Float { why: String::new() };
            }
        }
        Ok(plan)
    }
}

/// What a choice is made from.
pub(super) fn items(curves: &[Vec<Point>]) -> Vec<Vec<Item>> {
    let item = |point: &Point| Item { bytes: point.bytes, loss: point.loss };
    curves.iter().map(|curve| curve.iter().map(item).collect()).collect()
}

/// What a share of `--max-loss` is as a loss.
pub(super) fn most(share: f64, measure: Measure) -> f64 {
    match measure {
        Measure::Kl => share.ln_1p(),
        _ => share,
    }
}

/// Bits a weight that matrices take at most as they are planned: coefficients may be shorter, and without offsets.
fn average(plan: &Plan) -> f64 {
    let (mut bytes, mut weights) = (0.0, 0.0);
    for Planned { weight, choice } in &plan.matrices {
        let Choice::Codes { fit, .. } = choice else { continue };
        let groups = if fit.group == 0 { 1 } else { weight.cols.div_ceil(fit.group) as u64 };
        let (rows, cols) = (weight.rows as u64, weight.cols as u64);
        let taken = multi_bit_bytes(rows, cols, fit.bits.into(), groups, 4, true);
        bytes += taken.unwrap_or(u64::MAX) as f64;
        weights += (weight.rows * weight.cols) as f64;
    }
    if weights > 0.0 { 8.0 * bytes / weights } else { 0.0 }
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
