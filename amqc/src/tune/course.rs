//! What a training is, how far it is, and what is told of it.

use std::time::Duration;

use serde::Serialize;

use super::arrays::Arrays;
use super::lesson::Figure;
use super::optimizer::{Optimizer, Rule};
use super::params::{Params, Stage};
use super::text::{Reading, Texts};
use crate::compile::Compiled;
use crate::error::{Error, Result};

/// Share of the way on which coefficients move alone, of Adam: they are few, and soon where they can be.
const FIRST: f64 = 1.0 / 12.0;
/// The largest rate of coefficients. Their gradients are sums over rows, so that large steps go too far for all of a row.
const MOST_OF_SCALES: f64 = 0.005;
/// Share of the way on which the rate of weights rises then.
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
    /// Whether blocks are trained one after the other, each by what the float model has at its end.
    pub by_block: bool,
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
        /// The block that was trained.
        block: Option<Passed>,
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

/// A block that was trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passed {
    /// Which, from 1 on.
    pub block: usize,
    /// Of how many.
    pub blocks: usize,
    /// Its loss on what students are judged by, as it was calibrated.
    pub before: f64,
    /// Its loss as it was trained. Where that is no gain it is left as it was.
    pub after: f64,
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
    /// Of the student that was validated last.
    pub(super) last: Figure,
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

    /// What moves at a share of the way.
    pub(super) fn stage(&self, done: f64) -> Stage {
        match self.rule {
            Rule::Adam if done < FIRST => Stage::Scales,
            _ => Stage::Weights,
        }
    }

    /// The rate at a share of the way.
    pub(super) fn rate(&self, done: f64) -> f64 {
        let rate = self.rate.unwrap_or_else(|| self.rule.rate());
        let rise = (done - FIRST) / RISE;
        let cosine = |way: f64| 0.51 + 0.49 * (std::f64::consts::PI * way).cos();
        match self.stage(done) {
            Stage::Scales => rate.min(MOST_OF_SCALES) * cosine(done / FIRST),
            Stage::Weights if self.rule == Rule::Sgd => rate,
            Stage::Weights if rise < 1.0 => rate * rise.max(0.02),
            Stage::Weights => rate * cosine((done - FIRST - RISE) / (1.0 - FIRST - RISE)),
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
            last: before,
            best: before,
            best_step: 0,
            student: Vec::new(),
        }
    }

    /// With the next block.
    pub(super) fn begin(&mut self) {
        (self.scale, self.loss) = (1.0, f64::NAN);
    }

    pub(super) fn validated(
        &self,
        done: f64,
        block: Option<Passed>,
        figure: Figure,
        best: bool,
    ) -> Event {
        let loss = Some(self.loss).filter(|loss| !loss.is_nan());
        Event::Valid { step: self.step, done, block, loss, figure, best, elapsed: self.elapsed }
    }

    /// Takes note of a student that was validated: the rate falls where it does not gain. The second has weights that just began to
    /// move, and may be worse than the first at any rate that brings much later. Without a rule the rate stays.
    pub(super) fn note(&mut self, found: Figure, params: &Params, rule: Option<Rule>) {
        let gains = found.is_better_than(&self.last);
        let best = found.is_better_than(&self.best);
        self.last = found;
        match rule {
            Some(Rule::Adam) if self.valid > 2 && !gains => self.scale *= 0.5,
            Some(Rule::Sgd) if !best => self.scale /= 1.2,
            _ => {}
        }
        if best {
            (self.best, self.best_step) = (found, self.step);
            self.student.clear();
            params.save(&mut self.student);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Fitted;
    use crate::onnx::tests::{Build, f32s};
    use crate::plan::Plan;

    /// A rate is halved where a student is worse than the one before, but for the first; the best is kept.
    #[test]
    fn rates_fall_where_students_do_not_gain() {
        let build = Build::new(17).input("x", "n 2").initializer(f32s("w", &[2, 1], &[1.0, 2.0]));
        let mut module = build.node("MatMul", "x w", "y").output("y").import().unwrap();
        crate::passes::run(&mut module).unwrap();
        let plan = Plan { matrices: Vec::new(), raised: Vec::new() };
        let params = Params::new(&module, &plan, &Fitted::default());
        let mut course = Course::new(Figure::Decibels(9.0));
        let mut scales = |rule: Rule, figures: &[f64]| -> Vec<f64> {
            course.scale = 1.0;
            let scale = |&figure: &f64| {
                (course.valid, course.step) = (course.valid + 1, course.step + 10);
                course.note(Figure::Decibels(figure), &params, Some(rule));
                course.scale
            };
            figures.iter().map(scale).collect()
        };
        let found = scales(Rule::Adam, &[7.0, 8.0, 7.5, 9.5, 9.5]);
        assert_eq!(found, [1.0, 1.0, 0.5, 0.5, 0.25]);
        assert_eq!(scales(Rule::Sgd, &[9.4, 9.6]), [1.0 / 1.2, 1.0 / 1.2]);
        assert_eq!((course.best, course.best_step), (Figure::Decibels(9.6), 70));
        assert!(!course.student.is_empty());
    }
}
