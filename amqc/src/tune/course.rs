//! What a training is, how far it is, and what is told of it.

use std::time::Duration;

use serde::Serialize;

use super::arrays::Arrays;
use super::lesson::Figure;
use super::optimizer::{Optimizer, Rule};
use super::params::Params;
use super::text::{Reading, Texts};
use crate::compile::Compiled;
use crate::error::{Error, Result};

/// Share of the way on which the rate rises, of Adam.
const RISE: f64 = 0.04;
/// So often training may go astray.
const MOST_UNDONE: u32 = 6;

/// How long training goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// So many steps: the same file each time.
    Steps(u64),
    /// So long, from the first step on. How many steps that is depends on the machine.
    Time(Duration),
}

/// How a network is trained.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// How long.
    pub length: Length,
    /// What is drawn by chance follows from it.
    pub seed: u64,
    /// How weights follow gradients, and how far.
    pub rule: Rule,
    /// The rate, unless it is the rule's own.
    pub rate: Option<f64>,
    /// Of the rate, what Adam takes of each coded weight in a step.
    pub decay: f64,
    /// How what is learned is cut into pieces.
    pub reading: Reading,
    /// Time between two checkpoints.
    pub interval: Duration,
}

/// What is learned.
#[derive(Clone, Debug)]
pub enum Matter {
    /// A text, by a language model.
    Text(Texts),
    /// What the float model says of samples, or their labels.
    Arrays(Arrays),
}

/// What is told on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step was taken.
    Step {
        /// Steps so far.
        step: u64,
        /// Share of the way, 0 to 1.
        done: f64,
        /// The loss, in nats, as a mean that forgets.
        loss: f64,
        /// The rate.
        rate: f64,
        /// Time since training began.
        elapsed: Duration,
    },
    /// A student was validated.
    Valid {
        /// Steps so far.
        step: u64,
        /// Share of the way, 0 to 1.
        done: f64,
        /// The loss, in nats; none before the first step.
        loss: Option<f64>,
        /// How good it is.
        figure: Figure,
        /// Whether none before was better.
        best: bool,
        /// Time since training began.
        elapsed: Duration,
    },
    /// Training went astray, and goes on from the best student with half the rate.
    Undone {
        /// Steps so far.
        step: u64,
        /// What was found.
        why: String,
    },
}

/// Writes a checkpoint.
pub type Keep<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Who is told, and decides.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Watch<'a> {
    /// Is told of each matrix that training begins with how many of its rows are fitted, of how many.
    pub fitting: &'a (dyn Fn(&str, usize, usize) + Sync),
    /// Is told what happens.
    pub tell: &'a mut dyn FnMut(&Event),
    /// Writes a checkpoint; none are made without.
    pub keep: Option<Keep<'a>>,
    /// Whether to stop, after a checkpoint.
    pub stop: &'a dyn Fn() -> bool,
}

/// A network that was trained.
#[derive(Debug)]
pub struct Tuned {
    /// The best student.
    pub compiled: Compiled,
    /// How good the network was that training began with, on what students are judged by.
    pub before: Figure,
    /// How good the best student is.
    pub figure: Figure,
    /// Where several outputs are compared, how near each is.
    pub outputs: Vec<OutputChange>,
    /// The step after which it was there.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Time that steps took, without validation.
    pub stepping: Duration,
}

/// How near an output is to that of the float model, about its mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputChange {
    /// The output.
    pub name: String,
    /// Decibels that training began with.
    pub before_db: f64,
    /// Decibels of the best student.
    pub after_db: f64,
}

/// What changes from step to step, beside params, optimizer and text.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) step: u64,
    pub(super) elapsed: Duration,
    /// Validations so far.
    pub(super) valid: u32,
    /// What the rate is multiplied by.
    pub(super) scale: f64,
    pub(super) undone: u32,
    /// The mean loss, NaN before the first step.
    pub(super) loss: f64,
    pub(super) before: Figure,
    pub(super) best: Figure,
    pub(super) best_step: u64,
    /// Weights and codes of the best student.
    pub(super) student: Vec<u8>,
}

impl Training {
    /// Share of the way that is done.
    pub(super) fn done(&self, course: &Course) -> f64 {
        let done = match self.length {
            Length::Steps(steps) => course.step as f64 / steps.max(1) as f64,
            Length::Time(time) => {
                course.elapsed.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE)
            }
        };
        done.min(1.0)
    }

    /// The rate at a share of the way.
    pub(super) fn rate(&self, done: f64) -> f64 {
        let rate = self.rate.unwrap_or_else(|| self.rule.rate());
        match self.rule {
            Rule::Sgd => rate,
            Rule::Adam if done < RISE => rate * (done / RISE).max(0.02),
            Rule::Adam => {
                let rest = (done - RISE) / (1.0 - RISE);
                rate * (0.51 + 0.49 * (std::f64::consts::PI * rest).cos())
            }
        }
    }
}

impl Course {
    pub(super) fn new(before: Figure) -> Course {
        Course {
            step: 0,
            elapsed: Duration::ZERO,
            valid: 0,
            scale: 1.0,
            undone: 0,
            loss: f64::NAN,
            before,
            best: before,
            best_step: 0,
            student: Vec::new(),
        }
    }

    pub(super) fn validated(&self, done: f64, figure: Figure, best: bool) -> Event {
        let loss = Some(self.loss).filter(|loss| !loss.is_nan());
        Event::Valid { step: self.step, done, loss, figure, best, elapsed: self.elapsed }
    }

    /// Goes back to the best student.
    pub(super) fn undo(
        &mut self,
        why: String,
        params: &mut Params,
        optimizer: &mut Optimizer,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        self.undone += 1;
        if self.undone > MOST_UNDONE {
            return Err(Error::unsupported(format!(
                "training went astray {} times, last with {why}",
                self.undone
            ))
            .remedy("ask for a smaller --rate, or more bits"));
        }
        params.restore(&mut self.student.as_slice());
        optimizer.reset();
        self.scale *= 0.5;
        (watch.tell)(&Event::Undone { step: self.step, why });
        Ok(())
    }
}
