//! The loop: steps, validation, and what is undone.

use std::path::Path;
use std::time::{Duration, Instant};

use amq_runtime::Isa;

use super::arrays::Arrays;
use super::blocks::{blocks, until};
use super::checkpoint;
use super::course::{Course, Event, Matter, OutputChange, Passed, Training, Tuned, Watch};
use super::interior::Interior;
use super::items::Items;
use super::layers::Maker;
use super::lesson::{Figure, Learn, Lesson};
use super::optimizer::Optimizer;
use super::params::Params;
use super::tape::{Route, Tape};
use super::text::Text;
use crate::compile::{Compiled, Prepared, finish};
use crate::emit::corrected;
use crate::error::{Error, Result};
use crate::fit::Fitted;
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::open::Opened;
use crate::options::ConvertOptions;
use crate::plan::{Choice, Plan, Planned};
use crate::sequence::{self, Calibrated};
use crate::threads::Threads;

/// How often a student is validated on its way.
const VALIDATIONS: f64 = 12.0;

/// Trains the network of the ONNX model at `path`, whose float form is `float`.
///
/// # Errors
/// What [`crate::compile::compile_for`] refuses, operators that training cannot go through, data that cannot be fed, a
/// checkpoint of another training or that is damaged, training that goes astray again and again, and a request to stop.
/// Block by block also texts, labels, states, and a network that is one block.
pub fn tune(
    path: &Path,
    (options, data): (&ConvertOptions, &Calibrated),
    float: &Loaded,
    matter: &Matter,
    training: &Training,
    resumed: Option<&[u8]>,
    watch: &mut Watch<'_>,
) -> Result<Tuned> {
    let located = |error: Error| error.within(path.display());
    let prepared = Prepared::read(path, options)?;
    let mut plan =
        Plan::new(&prepared.module, &prepared.weights, options.resolver()?).map_err(located)?;
    let is_coded = |planned: &Planned| matches!(planned.choice, Choice::Codes { .. });
    if !plan.matrices.iter().any(is_coded) {
        return Err(located(Error::usage(
            "no weight would be coded, so there is nothing to train",
        ))
        .remedy("ask for bits, as with -b 2"));
    }
    if training.by_block {
        check_blocks(&prepared.module, matter).map_err(located)?;
    }
    let fitted = sequence::fit(path, &prepared.module, &mut plan, data, watch.fitting)?;
    let (module, fitted) = corrected(prepared.module.clone(), &plan, &fitted);
    let params = Params::new(&module, &plan, &fitted);
    let student = Student { path, options, prepared, plan, fitted, module, isa: data.isa };
    let Training { reading, seed, .. } = *training;
    let begin =
        |lesson: &dyn Lesson| Trainer::new(&student, training, params, lesson, resumed, watch);
    match matter {
        Matter::Text(texts) => {
            let mut text = Text::new(float, &student.module, texts, reading, seed)?;
            begin(&text)?.end_to_end(&mut text)
        }
        Matter::Arrays(arrays) => {
            let mut items = Items::new(float, &student.module, arrays.clone(), reading, seed)?;
            let trainer = begin(&items)?;
            match training.by_block {
                true => trainer.by_block(&items),
                false => trainer.end_to_end(&mut items),
            }
        }
    }
}

/// Refuses what is not learned block by block.
fn check_blocks(module: &Module, matter: &Matter) -> Result<()> {
    let labelled = |arrays: &Arrays| arrays.learned.iter().any(|group| group.labels.is_some());
    let found = match matter {
        Matter::Text(_) => "a text is not learned block by block",
        Matter::Arrays(arrays) if labelled(arrays) => "a block within a model has no labels",
        _ if !module.graph.states.is_empty() => "states are not carried block by block",
        _ => return Ok(()),
    };
    Err(Error::usage(found).remedy("leave --by-block out"))
}

/// A training on its way.
struct Trainer<'t, 'w> {
    student: &'t Student<'t>,
    training: &'t Training,
    identity: [u8; 32],
    params: Params,
    optimizer: Optimizer,
    course: Course,
    /// What a checkpoint has of what is learned next.
    resumed: Option<&'t [u8]>,
    begun: Instant,
    /// When the last checkpoint was.
    kept: Instant,
    stepping: Duration,
    watch: &'t mut Watch<'w>,
}

impl<'t, 'w> Trainer<'t, 'w> {
    /// Before the first step, or where a checkpoint was made.
    fn new(
        student: &'t Student<'t>,
        training: &'t Training,
        params: Params,
        lesson: &dyn Lesson,
        resumed: Option<&'t [u8]>,
        watch: &'t mut Watch<'w>,
    ) -> Result<Trainer<'t, 'w>> {
        let optimizer = Optimizer::new(training.rule, &params);
        let source = student.prepared.source.sha256();
        let identity = checkpoint::identity(&source, student.options, training, lesson);
        let (course, resumed) = match resumed {
            Some(bytes) => {
                let (course, rest) = checkpoint::read(bytes, &identity, lesson.measure())?;
                (course, Some(rest))
            }
            None => {
                let before = student.judge(&params, lesson)?;
                let mut course = Course::new(before);
                params.save(&mut course.student);
                (watch.tell)(&course.validated(0.0, None, before, true));
                (course, None)
            }
        };
        let begun = Instant::now() - course.elapsed;
        let (kept, stepping) = (Instant::now(), Duration::ZERO);
        Ok(Trainer {
            student,
            training,
            identity,
            params,
            optimizer,
            course,
            resumed,
            begun,
            kept,
            stepping,
            watch,
        })
    }

    fn maker(&self) -> Maker<'t> {
        Maker { path: self.student.path, isa: self.student.isa }
    }

    /// Trains all of the network at once.
    fn end_to_end(mut self, lesson: &mut dyn Lesson) -> Result<Tuned> {
        let module = &self.student.module;
        let nodes = 0..module.graph.nodes.len();
        let route = Route::new(module, nodes, &self.params, &lesson.outputs());
        let route = route.map_err(|error| error.within(self.student.path.display()))?;
        let mut tape = Tape::new(module, &route, self.maker());
        self.resume(lesson)?;
        loop {
            let until = f64::from(self.course.valid + 1) / VALIDATIONS;
            let done = self.steps(lesson, &mut tape, (0, 1), until)?;
            self.course.valid = (done * VALIDATIONS) as u32;
            self.judge(lesson, done, None)?;
            if done >= 1.0 {
                return self.finish(lesson);
            }
        }
    }

    /// Trains one block after the other, each by what the float model has at its end.
    fn by_block(mut self, items: &Items<'_>) -> Result<Tuned> {
        let Student { path, prepared, module, plan, fitted, isa, .. } = self.student;
        let located = |error: Error| error.within(path.display());
        // What cannot be trained through is told before the first block is trained.
        let nodes = 0..module.graph.nodes.len();
        Route::new(module, nodes, &self.params, &items.outputs()).map_err(located)?;
        let blocks = blocks(module, &self.params, &items.outputs()).map_err(located)?;
        let count = blocks.len();
        if count < 2 {
            let found = "no value lies between two coded matrices that all goes through: the model is one block";
            return Err(located(Error::usage(found)).remedy("leave --by-block out"));
        }
        for (index, block) in blocks.iter().enumerate().skip(self.course.valid as usize) {
            let float = until(path, &prepared.module, block, *isa)?;
            let float = float.with_threads(items.threads());
            self.params.confine(&block.nodes);
            let mut interior = Interior::new(float, module, items.samples(), self.training.seed)?;
            let outputs = interior.outputs();
            let route = Route::new(module, block.nodes.clone(), &self.params, &outputs);
            let route = route.map_err(located)?;
            let mut tape = Tape::new(module, &route, self.maker());
            if self.resumed.is_none() {
                self.optimizer.reset();
                self.course.begin();
            }
            self.resume(&mut interior)?;
            let done = self.steps(&mut interior, &mut tape, (index, count), 1.0)?;
            let mut calibrated = Params::new(module, plan, fitted);
            let [after, before] = interior.beside(&mut tape, &mut self.params, &mut calibrated)?;
            let gains = after < before;
            if !gains {
                self.params.exchange(&mut calibrated);
            }
            self.course.valid = index as u32 + 1;
            let passed = Passed { block: index + 1, blocks: count, before, after };
            self.judge(items, done, Some(passed))?;
        }
        self.finish(items)
    }

    /// Goes on from a checkpoint, if there is one.
    fn resume(&mut self, learned: &mut dyn Learn) -> Result<()> {
        let Some(rest) = self.resumed.take() else { return Ok(()) };
        checkpoint::restore(rest, &mut self.params, &mut self.optimizer, learned)
    }

    /// Takes steps until so much of a part of the way, one of so many, is done. Gives how much is done of all.
    fn steps(
        &mut self,
        learned: &mut dyn Learn,
        tape: &mut Tape<'_>,
        (part, parts): (usize, usize),
        until: f64,
    ) -> Result<f64> {
        let Trainer { training, identity, params, optimizer, course, .. } = self;
        loop {
            course.elapsed = self.begun.elapsed();
            let done = training.done(course);
            let of_part = (done * parts as f64 - part as f64).clamp(0.0, 1.0);
            if of_part >= until {
                return Ok(done);
            }
            let stop = (self.watch.stop)();
            if let Some(keep) = &mut self.watch.keep
                && (stop || self.kept.elapsed() >= training.interval)
            {
                keep(&checkpoint::write(identity, course, params, optimizer, learned))?;
                self.kept = Instant::now();
            }
            if stop {
                return Err(Error::io("tune", "interrupted"));
            }
            let step_begun = Instant::now();
            let stage = training.stage(of_part);
            if stage != params.stage() {
                params.enter(stage);
                optimizer.reset();
            }
            params.clear();
            let loss = learned.learn(tape, params)?;
            let norm = Optimizer::norm(params);
            course.step += 1;
            if !loss.is_finite() || !norm.is_finite() {
                let why = format!("a loss of {loss} with a gradient of {norm}");
                course.undo(why, params, optimizer, self.watch)?;
                continue;
            }
            let rate = training.rate(of_part) * course.scale;
            optimizer.step(params, norm, rate, training.decay);
            params.follow();
            self.stepping += step_begun.elapsed();
            course.loss =
                if course.loss.is_nan() { loss } else { 0.98 * course.loss + 0.02 * loss };
            let (step, loss, elapsed) = (course.step, course.loss, course.elapsed);
            (self.watch.tell)(&Event::Step { step, done, loss, rate, elapsed });
        }
    }

    /// Judges the student as it is, with so much of the way done.
    fn judge(&mut self, lesson: &dyn Lesson, done: f64, block: Option<Passed>) -> Result<()> {
        let Trainer { student, training, params, optimizer, course, .. } = self;
        let found = student.judge(params, lesson)?;
        let best = found.is_better_than(&course.best);
        (self.watch.tell)(&course.validated(done, block, found, best));
        // Where blocks are still to come, a student need not gain.
        course.note(found, params, block.is_none().then_some(training.rule));
        if found.is_astray_from(&course.best) {
            course.undo(found.to_string(), params, optimizer, self.watch)?;
        }
        Ok(())
    }

    /// The best student, and what became of outputs.
    fn finish(mut self, lesson: &dyn Lesson) -> Result<Tuned> {
        let student = self.student;
        self.params.restore(&mut self.course.student.as_slice());
        let compiled = student.compile(&self.params)?;
        let after = lesson.by_output(&student.load(&self.params)?)?;
        let outputs = match after.is_empty() {
            true => Vec::new(),
            false => {
                let begun = Params::new(&student.module, &student.plan, &student.fitted);
                let before = lesson.by_output(&student.load(&begun)?)?;
                let change = |((name, after_db), (_, before_db)): (_, (String, f64))| {
                    OutputChange { name, before_db, after_db }
                };
                after.into_iter().zip(before).map(change).collect()
            }
        };
        let Course { before, best: figure, best_step, step: steps, .. } = self.course;
        let stepping = self.stepping;
        Ok(Tuned { compiled, before, figure, outputs, step: best_step, steps, stepping })
    }
}

/// The network that is trained.
struct Student<'a> {
    path: &'a Path,
    options: &'a ConvertOptions,
    prepared: Prepared,
    plan: Plan,
    fitted: Fitted,
    /// With the biases that training begins with.
    module: Module,
    isa: Isa,
}

impl Student<'_> {
    /// The file of a student.
    fn compile(&self, params: &Params) -> Result<Compiled> {
        let mut module = self.module.clone();
        let fitted = params.write(&mut module, &self.fitted);
        let Prepared { source, weights, .. } = &self.prepared;
        finish(self.path, self.options, source, module, weights, &self.plan, &fitted)
    }

    /// How good the file of a student is.
    fn judge(&self, params: &Params, lesson: &dyn Lesson) -> Result<Figure> {
        lesson.judge(&self.load(params)?)
    }

    fn load(&self, params: &Params) -> Result<Loaded> {
        let bytes = self.compile(params)?.bytes;
        let threads = Threads::new(rayon::current_num_threads())?;
        Opened::of_bytes(self.path, &bytes).load_with(self.isa, threads)
    }
}
