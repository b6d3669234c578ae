//! Samples in arrays, with labels or not: what the float model says of them is learned.

use amq_format::graph::{DataType, Dim, ValueId};
use amq_runtime::Session;
use sha2::{Digest, Sha256};

use super::arrays::{Arrays, Group};
use super::carried::Carried;
use super::lesson::{Figure, Learn, Lesson, Measure};
use super::loss::{Targets, of_scores};
use super::outputs::{Output, compare, values};
use super::params::Params;
use super::tape::Tape;
use super::text::Reading;
use super::turns::{Piece, Size, in_turns, shuffled};
use crate::calibrate::batches::fixed;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::eval::Scores;
use crate::eval::scores::top1;
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::random::SplitMix64;
use crate::tensor::views;
use crate::threads::Threads;

/// A batch that students are judged by, with what the float model gives.
struct Judged {
    batch: Group,
    /// Whether states begin with it.
    begins: bool,
    /// Samples that no batch before had.
    new: usize,
    expected: Vec<Vec<f32>>,
}

/// Arrays, and how far they have been learned.
pub(super) struct Items<'a> {
    float: &'a Loaded,
    module: &'a Module,
    session: Session,
    arrays: Arrays,
    /// Samples that are run at once, and whether the model says so.
    batch: usize,
    is_fixed: bool,
    /// Streams that take turns, of steps of a sequence.
    at_once: usize,
    /// Whether they are steps of a sequence, whose order stays.
    in_time: bool,
    share: f64,
    labelled: bool,
    scores: Scores,
    outputs: Vec<Output>,
    judged: Vec<Judged>,
    seed: u64,
    /// Times that all was learned, and pieces of the next that were.
    epoch: u64,
    piece: usize,
    /// The pieces of this time.
    order: Vec<Piece>,
    /// Streams of steps, and where they are once they began: each is a part of a group.
    streams: Vec<Stream>,
}

struct Stream {
    group: usize,
    carried: Option<Carried>,
}

impl<'a> Items<'a> {
    /// Samples before the first is learned, for the network of `module`, whose float model is `float`: a batch of them
    /// at a time, unless the model says how many. Where their axis is that of time, they are steps of a sequence, of
    /// which a span is run at a time: a batch of streams take turns, each in its order, with states that are carried.
    ///
    /// # Errors
    /// A model without an output of floats, with labels of several; labels that are no classes, too few samples, and what
    /// the float model cannot take.
    pub(super) fn new(
        float: &'a Loaded,
        module: &'a Module,
        mut arrays: Arrays,
        Reading { batch, span, share, .. }: Reading,
        seed: u64,
    ) -> Result<Items<'a>> {
        let found = fixed(float, arrays.axis)?;
        let in_time = float.is_time(arrays.axis);
        let streams = batch;
        let batch = found.unwrap_or(if in_time { span } else { batch });
        match in_time {
            true => arrays.keep_ends(batch),
            false => arrays.keep(),
        }
        let labelled = arrays.learned.iter().any(|group| group.labels.is_some());
        let within = |error: Error| error.within(float.path.display());
        let floats: Vec<_> =
            float.outputs().filter(|port| port.data_type() == DataType::F32).collect();
        if labelled && floats.len() != 1 || floats.is_empty() {
            return Err(within(Error::unsupported(format!(
                "tune needs {} output of floats, there are {}",
                if labelled { "one" } else { "an" },
                floats.len()
            ))));
        }
        let mut items = Items {
            float,
            module,
            session: float.session(),
            arrays,
            batch,
            is_fixed: found.is_some(),
            in_time,
            share,
            labelled,
            scores: Scores::of(float.graph(), floats[0].value),
            outputs: floats.iter().map(|port| Output::new(float, module, port.value)).collect(),
            judged: Vec::new(),
            seed,
            epoch: 0,
            piece: 0,
            order: Vec::new(),
            streams: Vec::new(),
            at_once: streams,
        };
        items.deal();
        if items.order.is_empty() || items.arrays.valid.is_empty() {
            return Err(Error::bad_file(format!(
                "too few samples: the model takes {} at once, and some are kept to choose by",
                items.batch
            ))
            .remedy("give more samples"));
        }
        items.expect()?;
        Ok(items)
    }

    /// The threads that run the float model.
    pub(super) fn threads(&self) -> Threads {
        self.float.threads.clone()
    }

    /// The samples, and how many are learned at once.
    pub(super) fn samples(&self) -> (&Arrays, Size) {
        (&self.arrays, Size { samples: self.batch, is_fixed: self.is_fixed })
    }

    /// Runs the float model on what students are judged by, and checks all labels against the classes that it has.
    fn expect(&mut self) -> Result<()> {
        let (Arrays { axis, .. }, size) = self.samples();
        let axis = *axis;
        let mut session = self.float.session();
        let mut judged = Vec::new();
        let mut distances = vec![Distance::default(); self.outputs.len()];
        for group in &self.arrays.valid {
            for (at, (places, new)) in size.in_order(group.samples(axis)).enumerate() {
                let batch = group.select(axis, &places);
                let begins = !self.in_time || at == 0;
                let expected = self.answers(self.float, &mut session, (&batch, begins))?;
                for (distance, values) in distances.iter_mut().zip(&expected) {
                    values.iter().for_each(|&y| distance.add(y.into(), 0.0));
                }
                judged.push(Judged { batch, begins, new, expected });
            }
        }
        self.judged = judged;
        if let Some(Judged { batch, expected, .. }) = self.judged.first() {
            let classes = expected[0].len() / batch.samples(axis).max(1);
            for group in self.arrays.learned.iter().chain(&self.arrays.valid) {
                self.classes(group, classes)?;
            }
        }
        for (output, distance) in self.outputs.iter_mut().zip(distances) {
            (output.energy, output.elements) = (distance.energy(), distance.count());
            if !output.energy.is_finite() {
                return Err(Error::bad_file(format!(
                    "the float model gives {:?} values that are no numbers",
                    output.name
                ))
                .within(self.float.path.display()));
            }
        }
        Ok(())
    }

    /// Brings samples into the order of this time.
    fn deal(&mut self) {
        let mut random = SplitMix64(self.seed.wrapping_add(self.epoch << 32));
        let groups: Vec<usize> =
            self.arrays.learned.iter().map(|group| group.samples(self.arrays.axis)).collect();
        let (_, size) = self.samples();
        if !self.in_time {
            self.order = shuffled(&groups, size, &mut random);
            return;
        }
        let offset = if self.epoch == 0 { 0 } else { random.below(self.batch) };
        let (order, streams) = in_turns(&groups, size, offset, self.at_once, &mut random);
        self.order = order;
        self.streams = streams.into_iter().map(|group| Stream { group, carried: None }).collect();
    }

    /// The labels of a batch whose scores have so many classes.
    fn classes(&self, batch: &Group, classes: usize) -> Result<Option<Vec<usize>>> {
        let Some(labels) = &batch.labels else { return Ok(None) };
        let class = |&label: &i64| {
            usize::try_from(label).ok().filter(|&label| label < classes).ok_or_else(|| {
                Error::bad_file(format!("a label {label}: there are {classes} classes"))
                    .within(self.float.path.display())
                    .remedy("labels are numbers of the model's scores, the first is 0")
            })
        };
        labels.iter().map(class).collect::<Result<_>>().map(Some)
    }

    /// States where they begin, of as many streams as a batch holds.
    fn states(&self, batch: &Group) -> Result<Carried> {
        let inputs = batch.of_module(self.module);
        let sizes = |name: &str| {
            self.module.graph.inputs.iter().find_map(|port| {
                let (_, tensor) = inputs.iter().find(|(value, _)| *value == port.value)?;
                let axis = port.dims.iter().position(|dim| dim.as_name() == Some(name))?;
                Some(Dim::from(*tensor.dims.get(axis)? as i64))
            })
        };
        Carried::new(self.module, &sizes).map_err(|e| e.within(self.float.path.display()))
    }

    /// The loss of an output, and its gradient.
    fn loss(
        &self,
        output: &Output,
        (y, expected): (&[f32], &[f32]),
        batch: &Group,
        width: usize,
    ) -> Result<(f64, Vec<f32>)> {
        if self.labelled {
            let classes = y.len().checked_div(batch.samples(self.arrays.axis)).unwrap_or(0);
            let labels = self.classes(batch, classes)?;
            let share = self.share as f32;
            let teacher = Some(expected).filter(|_| share > 0.0);
            let targets = Targets { labels: labels.as_deref(), teacher, share };
            return Ok(of_scores(self.scores, classes, y, targets, Vec::new()));
        }
        Ok(output.loss(y, expected, width))
    }
}

impl Items<'_> {
    fn compare(&self, student: &Loaded) -> Result<Judgement> {
        let mut session = student.session();
        let mut noise = vec![0.0; self.outputs.len()];
        let (mut right, mut losses, mut count) = (0, 0.0, 0);
        for Judged { batch, begins, new, expected } in &self.judged {
            let found = self.answers(student, &mut session, (batch, *begins))?;
            if self.labelled {
                let (loss, _) = self.loss(&self.outputs[0], (&found[0], &expected[0]), batch, 1)?;
                let samples = batch.samples(self.arrays.axis);
                let classes = found[0].len().checked_div(samples).unwrap_or(0).max(1);
                let labels = self.classes(batch, classes)?.unwrap_or_default();
                let rows = found[0].chunks_exact(classes).zip(labels).take(*new);
                right += rows.filter(|(row, label)| top1(row) == Some(*label)).count();
                losses += loss * *new as f64;
                count += new;
            }
            for (noise, (found, expected)) in noise.iter_mut().zip(found.iter().zip(expected)) {
                let squares = found.iter().zip(expected);
                *noise +=
                    squares.map(|(&y, &t)| (f64::from(y) - f64::from(t)).powi(2)).sum::<f64>();
            }
        }
        let ratio = |(output, noise): (&Output, f64)| {
            noise / (output.energy * output.elements as f64).max(f64::MIN_POSITIVE)
        };
        let ratios = self.outputs.iter().zip(noise).map(ratio).collect();
        Ok(Judgement { ratios, right, losses, count })
    }

    /// What a model gives for a batch, by output: its states begin there, or follow those of the batch before.
    fn answers(
        &self,
        loaded: &Loaded,
        session: &mut Session,
        (batch, begins): (&Group, bool),
    ) -> Result<Vec<Vec<f32>>> {
        if begins {
            session.reset();
        }
        let inputs = views(&batch.inputs);
        let given = match self.in_time {
            true => session.step(&inputs),
            false => session.run(&inputs),
        };
        Ok(values(&given.map_err(|error| loaded.error(error))?, &self.outputs))
    }
}

impl Learn for Items<'_> {
    fn learn(&mut self, tape: &mut Tape<'_>, params: &mut Params) -> Result<f64> {
        if self.piece >= self.order.len() {
            (self.epoch, self.piece) = (self.epoch + 1, 0);
            self.deal();
        }
        let Piece { group, ref places, stream } = self.order[self.piece];
        let batch = self.arrays.learned[group].select(self.arrays.axis, places);
        self.piece += 1;
        let begun = stream.and_then(|stream| self.streams[stream].carried.take());
        let mut carried = begun.map_or_else(|| self.states(&batch), Ok)?;
        let is_told = !self.labelled || self.share > 0.0;
        let expected = match is_told {
            true => {
                let inputs: Vec<_> =
                    batch.inputs.iter().cloned().chain(carried.of_teacher()).collect();
                let given = self.session.run(&views(&inputs)).map_err(|e| self.float.error(e))?;
                carried.follow_teacher(&given);
                values(&given, &self.outputs)
            }
            false => vec![Vec::new(); self.outputs.len()],
        };
        tape.forward(
            params,
            batch.of_module(self.module).into_iter().chain(carried.of_student()).collect(),
        )?;
        carried.follow_student(tape);
        if let Some(stream) = stream {
            self.streams[stream].carried = Some(carried);
        }
        let found = compare(tape, &self.outputs, &expected, |output, (y, expected), width| {
            if is_told {
                output.check(&self.float.path, y, expected)?;
            }
            self.loss(output, (y, expected), &batch, width)
        });
        let (loss, gradients) = found?;
        tape.backward(params, gradients)?;
        Ok(loss)
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend(self.epoch.to_le_bytes());
        to.extend((self.piece as u64).to_le_bytes());
        for stream in &self.streams {
            to.push(u8::from(stream.carried.is_some()));
            if let Some(carried) = &stream.carried {
                carried.save(to);
            }
        }
    }

    fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.epoch = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?);
        self.piece = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?) as usize;
        self.deal();
        for stream in 0..self.streams.len() {
            if from.split_off_first()? == &0 {
                continue;
            }
            let first =
                self.arrays.learned[self.streams[stream].group].select(self.arrays.axis, &[0]);
            let mut carried = self.states(&first).ok()?;
            carried.restore(from)?;
            self.streams[stream].carried = Some(carried);
        }
        Some(())
    }
}

impl Lesson for Items<'_> {
    fn outputs(&self) -> Vec<ValueId> {
        self.outputs.iter().map(|output| output.value).collect()
    }

    fn measure(&self) -> Measure {
        if self.labelled { Measure::Accuracy } else { Measure::Decibels }
    }

    fn judge(&self, student: &Loaded) -> Result<Figure> {
        let Judgement { ratios, right, losses, count } = self.compare(student)?;
        if self.labelled {
            let count = count.max(1) as f64;
            return Ok(Figure::Accuracy { share: right as f64 / count, loss: losses / count });
        }
        Ok(Figure::Decibels(decibels(ratios.iter().sum::<f64>() / ratios.len() as f64)))
    }

    fn by_output(&self, student: &Loaded) -> Result<Vec<(String, f64)>> {
        if self.labelled || self.outputs.len() < 2 {
            return Ok(Vec::new());
        }
        let ratios = self.compare(student)?.ratios;
        let of = |(output, ratio): (&Output, f64)| (output.name.clone(), decibels(ratio));
        Ok(self.outputs.iter().zip(ratios).map(of).collect())
    }

    fn identify(&self, digest: &mut Sha256) {
        let Arrays { learned, valid, axis } = &self.arrays;
        digest.update(format!("{axis} {}", learned.len()));
        for group in learned.iter().chain(valid) {
            for (name, tensor) in &group.inputs {
                digest.update(format!("{name} {:?}", tensor.dims));
                digest.update(tensor.data.to_bytes());
            }
            digest.update(format!("{:?}", group.labels));
        }
    }
}

/// A ratio of noise to signal.
fn decibels(ratio: f64) -> f64 {
    -10.0 * ratio.log10()
}

/// What a student gives, beside what it should.
struct Judgement {
    /// Noise over signal of each output.
    ratios: Vec<f64>,
    /// With labels, those that were right, the sum of losses, and how many there are.
    right: usize,
    losses: f64,
    count: usize,
}
