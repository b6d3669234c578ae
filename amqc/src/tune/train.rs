//! The loop: steps, validation, and what is undone.

use std::path::Path;
use std::time::{Duration, Instant};

use amq_runtime::Isa;

use super::checkpoint;
use super::course::{Course, Event, Matter, OutputChange, Training, Tuned, Watch};
use super::items::Items;
use super::layers::Maker;
use super::lesson::{Figure, Lesson};
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
    let fitted = sequence::fit(path, &prepared.module, &mut plan, data, watch.fitting)?;
    let (module, fitted) = corrected(prepared.module.clone(), &plan, &fitted);
    let mut params = Params::new(&module, &plan, &fitted);
    let student = Student { path, options, prepared, plan, fitted, module, isa: data.isa };
    let Training { reading, seed, .. } = *training;
    let mut lesson: Box<dyn Lesson> = match matter {
        Matter::Text(texts) => Box::new(Text::new(float, &student.module, texts, reading, seed)?),
        Matter::Arrays(arrays) => {
            Box::new(Items::new(float, &student.module, arrays.clone(), reading, seed)?)
        }
    };
    let route = Route::new(&student.module, &params, &lesson.outputs()).map_err(located)?;
    let maker = Maker { path, isa: data.isa };
    let mut tape = Tape::new(&student.module, &route, maker);
    let mut optimizer = Optimizer::new(training.rule, &params);
    let identity =
        checkpoint::identity(&student.prepared.source.sha256(), options, training, &*lesson);
    let mut course = match resumed {
        Some(bytes) => {
            checkpoint::read(bytes, &identity, &mut params, &mut optimizer, &mut *lesson)?
        }
        None => {
            let before = student.judge(&params, &*lesson)?;
            let mut course = Course::new(before);
            params.save(&mut course.student);
            (watch.tell)(&course.validated(0.0, before, true));
            course
        }
    };
    let begun = Instant::now() - course.elapsed;
    let mut kept = Instant::now();
    let mut stepping = Duration::ZERO;
    loop {
        course.elapsed = begun.elapsed();
        let done = training.done(&course);
        let due = done >= f64::from(course.valid + 1) / VALIDATIONS;
        if due {
            course.valid = (done * VALIDATIONS) as u32;
            let found = student.judge(&params, &*lesson)?;
            let best = found.is_better_than(&course.best);
            (watch.tell)(&course.validated(done, found, best));
            course.note(found, &params, training.rule);
            if found.is_astray_from(&course.best) {
                let why = found.to_string();
                course.undo(why, &mut params, &mut optimizer, watch)?;
            }
        }
        if done >= 1.0 {
            break;
        }
        let stop = (watch.stop)();
        if let Some(keep) = &mut watch.keep
            && (stop || kept.elapsed() >= training.interval)
        {
            keep(&checkpoint::write(&identity, &course, &params, &optimizer, &*lesson))?;
            kept = Instant::now();
        }
        if stop {
            return Err(Error::io("tune", "interrupted"));
        }
        let step_begun = Instant::now();
        let stage = training.stage(done);
        if stage != params.stage() {
            params.enter(stage);
            optimizer.reset();
        }
        params.clear();
        let loss = lesson.learn(&mut tape, &mut params)?;
        let norm = Optimizer::norm(&params);
        course.step += 1;
        if !loss.is_finite() || !norm.is_finite() {
            let why = format!("a loss of {loss} with a gradient of {norm}");
            course.undo(why, &mut params, &mut optimizer, watch)?;
            continue;
        }
        let rate = training.rate(done) * course.scale;
        optimizer.step(&mut params, norm, rate, training.decay);
        params.follow();
        stepping += step_begun.elapsed();
        course.loss = if course.loss.is_nan() { loss } else { 0.98 * course.loss + 0.02 * loss };
        let (step, loss, elapsed) = (course.step, course.loss, course.elapsed);
        (watch.tell)(&Event::Step { step, done, loss, rate, elapsed });
    }
    params.restore(&mut course.student.as_slice());
    let compiled = student.compile(&params)?;
    let after = lesson.by_output(&student.load(&params)?)?;
    let outputs =
        match after.is_empty() {
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
    let Course { before, best, best_step, step, .. } = course;
    Ok(Tuned { compiled, before, figure: best, outputs, step: best_step, steps: step, stepping })
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
