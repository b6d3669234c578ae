//! Several fits of one network: each matrix can be taken from any of them, or stay float.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Draft;
use amq_runtime::Isa;

use crate::calibrate::moments::Moments;
use crate::emit::emit;
use crate::error::Result;
use crate::fit::{Fitted, Matrix};
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::plan::{Choice, Plan, Planned};
use crate::tensor::Data;
use crate::threads::Threads;
use crate::weights::{Weight, Weights};

/// A network and what was made of its matrices, once for each plan.
pub(crate) struct Fits {
    path: PathBuf,
    module: Module,
    /// The matrices, as plans list them.
    entries: Vec<Weight>,
    /// Those made from the same codes share them.
    sets: Vec<(Plan, Arc<Fitted>)>,
    /// Entries of the plans that share a constant: they are coded together.
    pub(crate) groups: Vec<Vec<usize>>,
    isa: Isa,
    threads: Threads,
}

impl Fits {
    /// Of a network, without any fit yet.
    ///
    /// # Errors
    /// Threads that the system does not start.
    pub(crate) fn new(path: &Path, module: Module, weights: &Weights, isa: Isa) -> Result<Fits> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let entries = weights.matrices.clone();
        for (index, weight) in entries.iter().enumerate() {
            let same = |group: &&mut Vec<usize>| entries[group[0]].value == weight.value;
            match groups.iter_mut().find(same) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        let threads = Threads::new(rayon::current_num_threads())?;
        Ok(Fits { path: path.to_owned(), module, entries, sets: Vec::new(), groups, isa, threads })
    }

    /// Fits the matrices as a plan says; `progress` is told of each how many of its rows are done, of how
    /// many.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub(crate) fn add(
        &mut self,
        plan: Plan,
        moments: Option<&Moments>,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<()> {
        let fitted = Fitted::new(&self.module, &plan, moments, progress)?;
        self.sets.push((plan, Arc::new(fitted)));
        Ok(())
    }

    /// The codes that were made last, used as another plan says, which codes the same in the same way.
    pub(crate) fn again(&mut self, plan: Plan) {
        if let Some((_, fitted)) = self.sets.last() {
            let fitted = Arc::clone(fitted);
            self.sets.push((plan, fitted));
        }
    }

    /// The matrix of the first entry of a group.
    pub(crate) fn weight(&self, group: usize) -> &Weight {
        &self.entries[self.groups[group][0]]
    }

    /// What is done to the first entry of a group.
    pub(crate) fn choice(&self, group: usize, set: usize) -> &Choice {
        &self.sets[set].0.matrices[self.groups[group][0]].choice
    }

    /// Bytes of a group's constants; `None` where all of it stays float.
    pub(crate) fn bytes(&self, group: usize, set: usize) -> Option<u64> {
        let fitted = &self.sets[set].1;
        let mut places: Vec<Option<usize>> =
            self.groups[group].iter().map(|&entry| fitted.places[entry]).collect();
        places.sort_unstable();
        places.dedup();
        places.iter().any(Option::is_some).then(|| {
            let bytes = |place: &Option<usize>| match place {
                Some(place) => fitted.matrices[*place].codes.section_bytes().len() as u64,
                None => 4 * (self.weight(group).rows * self.weight(group).cols) as u64,
            };
            places.iter().map(bytes).sum()
        })
    }

    /// Relative error of the codes of a group's first entry; `None` where it stays float.
    pub(crate) fn relative_mse(&self, group: usize, set: usize) -> Option<f64> {
        let fitted = &self.sets[set].1;
        let place = fitted.places[self.groups[group][0]]?;
        match &self.module.constants[&self.weight(group).value].data {
            Data::F32(data) => Some(fitted.matrices[place].codes.relative_mse(data)),
            _ => None,
        }
    }

    /// The network with each group taken from one of the sets, or left in float; and what was done.
    pub(crate) fn mixed(&self, choices: &[Option<usize>]) -> (Plan, Fitted) {
        let float = |weight: &Weight| Planned {
            weight: weight.clone(),
            choice: Choice::Float { why: "asked for".into() },
        };
        let matrices = self.entries.iter().map(float).collect();
        let mut plan = Plan { matrices, raised: Vec::new() };
        let count = self.entries.len();
        let (mut places, mut shifts) = (vec![None; count], vec![None; count]);
        let mut matrices: Vec<Matrix> = Vec::new();
        for (group, choice) in self.groups.iter().zip(choices) {
            let Some((chosen, fitted)) = choice.map(|set| &self.sets[set]) else { continue };
            let mut taken: Vec<(usize, usize)> = Vec::new();
            for &entry in group {
                plan.matrices[entry] = chosen.matrices[entry].clone();
                shifts[entry].clone_from(&fitted.shifts[entry]);
                let Some(place) = fitted.places[entry] else { continue };
                let known = taken.iter().find(|(old, _)| *old == place).map(|(_, new)| *new);
                places[entry] = Some(known.unwrap_or_else(|| {
                    matrices.push(fitted.matrices[place].clone());
                    taken.push((place, matrices.len() - 1));
                    matrices.len() - 1
                }));
            }
        }
        (plan, Fitted { matrices, places, shifts, ..Fitted::default() })
    }

    /// The mixture, ready to run.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(crate) fn load(&self, choices: &[Option<usize>]) -> Result<Loaded> {
        let (plan, fitted) = self.mixed(choices);
        self.ready(&plan, &fitted)
    }

    /// The network with these codes, ready to run.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(crate) fn ready(&self, plan: &Plan, fitted: &Fitted) -> Result<Loaded> {
        let draft: Draft = emit(self.module.clone(), plan, fitted);
        Ok(Loaded::of_draft(&self.path, &draft, self.isa)?.with_threads(self.threads.clone()))
    }
}
