//! Bits, groups and activations of each matrix, chosen so that a model keeps within a budget and loses as little
//! as may be.

use std::cell::RefCell;
use std::cmp::Reverse;

use serde::Serialize;

use crate::calibrate::trial::Trial;
use crate::compile::{Prepared, Spelling, finish};
use crate::error::{Error, Result};
use crate::fit::Fitted;
use crate::fits::Fits;
use crate::plan::Plan;
use crate::sensitivity::loss;
use crate::sequence;
use crate::settings::Given;

mod asked;
mod curves;
mod knapsack;

pub use asked::{Budget, Measure, Task};
pub use curves::Point;
use curves::{Curves, Measuring, items, most};
use knapsack::{Frontier, Places};

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
    /// What is asked for each matrix of the conversion that gives them.
    #[serde(skip)]
    pub spelling: Spelling,
}

impl Chosen {
    /// The ways that matrices were chosen from: bits, and columns of a group where that is not the row.
    pub fn ways(&self) -> Vec<String> {
        let points = self.matrices.iter().flat_map(|matrix| &matrix.curve);
        let mut ways: Vec<(u8, Option<Reverse<u64>>, String)> =
            points.map(|point| (point.bits, point.group.map(Reverse), point.name())).collect();
        ways.sort();
        ways.dedup();
        ways.into_iter().map(|(.., name)| name).collect()
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
    /// What it gets.
    #[serde(flatten)]
    pub point: Point,
    /// What it was chosen from.
    pub curve: Vec<Point>,
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
        let (task, prepared) = (self, &prepared);
        let measuring = Measuring { task, prepared, fits: &mut fits, budget, progress };
        let Curves { curves, asked, measure } = measuring.curves().map_err(located)?;
        if curves.iter().all(Vec::is_empty) {
            return Err(Error::usage("no matrix of the model leaves a choice")
                .within(path.display())
                .remedy("choose bits with -b"));
        }
        let frontier = Frontier::new(&items(&curves));
        let comment = format!("Chosen by amqc convert {budget}.");
        let choice = Choosing {
            task,
            fits: &fits,
            asked,
            curves: &curves,
            frontier,
            prepared,
            comment,
            last: RefCell::default(),
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
                    point: *point,
                    curve: curve.clone(),
                })
            })
            .collect();
        let bytes: u64 = matrices.iter().map(|matrix| matrix.point.bytes).sum();
        let weights: usize = matrices.iter().map(|matrix| matrix.rows * matrix.cols).sum();
        Ok(Chosen {
            budget: budget.to_string(),
            measure,
            loss: matrices.iter().map(|matrix| matrix.point.loss).sum(),
            measured,
            bits_per_weight: 8.0 * bytes as f64 / weights.max(1) as f64,
            matrices,
            spelling: choice.spelling(&places),
        })
    }
}

/// A choice being made.
struct Choosing<'a> {
    task: &'a Task<'a>,
    fits: &'a Fits,
    /// What each set was asked for.
    asked: Vec<Given>,
    curves: &'a [Vec<Point>],
    frontier: Frontier,
    prepared: &'a Prepared,
    comment: String,
    /// What was fitted last.
    last: RefCell<Option<(Places, Plan, Fitted)>>,
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
                let most = most(share, measure);
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
            .remedy(match asked {
                // What is in float is not counted.
                Budget::Bits(_) => {
                    "allow more, or keep matrices of short rows in float by a recipe"
                }
                _ => "allow more; amqc convert -b 1 tells what takes the room",
            })
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
        let asked = self.spelling(places).open(self.task.options, self.prepared)?;
        let (options, plan) = self.prepared.settled(&asked, &self.comment, &plan)?;
        let Prepared { source, module, weights } = self.prepared;
        let file =
            finish(self.task.path, &options, source, module.clone(), weights, &plan, &fitted)?;
        Ok(file.bytes.len() as u64)
    }

    /// The codes that the conversion gives, and how they are used.
    fn fitted(&self, places: &[Option<usize>]) -> Result<(Plan, Fitted)> {
        if let Some((of, plan, fitted)) = &*self.last.borrow()
            && of == places
        {
            return Ok((plan.clone(), fitted.clone()));
        }
        let (mut plan, mut fitted) = self.fits.mixed(&self.sets(places));
        if let Some((data, _)) = self.task.data {
            let (path, module) = (self.task.path, &self.prepared.module);
            if sequence::is_joint(module, &plan, &data.moments) {
                fitted = sequence::fit(path, module, &mut plan, data, &|_, _, _| ())?;
            } else {
                sequence::refine(path, module, &mut plan, &fitted, data)?;
            }
        }
        *self.last.borrow_mut() = Some((places.to_vec(), plan.clone(), fitted.clone()));
        Ok((plan, fitted))
    }

    /// What the conversion loses.
    fn measured(&self, trial: &Trial, places: &[Option<usize>]) -> Result<f64> {
        let (plan, fitted) = self.fitted(places)?;
        Ok(loss(&trial.answers(&self.fits.ready(&plan, &fitted)?)?))
    }

    /// The conversion with these choices.
    fn spelling(&self, places: &[Option<usize>]) -> Spelling {
        // What there is no choice for is the same in any set.
        let mut chosen = vec![self.asked[0]; self.fits.groups.iter().map(Vec::len).sum()];
        for (group, set) in self.sets(places).into_iter().enumerate() {
            let Some(set) = set else { continue };
            self.fits.groups[group].iter().for_each(|&entry| chosen[entry] = self.asked[set]);
        }
        Spelling { comment: self.comment.clone(), chosen }
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

#[cfg(test)]
mod tests;
