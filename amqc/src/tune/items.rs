//! Samples in arrays, with labels or not: what the float model says of them is learned.

use amq_format::graph::{DataType, Dim, Graph, Op, ValueId};
use amq_runtime::Session;
use sha2::{Digest, Sha256};

use super::lesson::{Figure, Lesson, Measure, start};
use super::loss::{Targets, of_scores, of_values};
use super::params::Params;
use super::tape::{Tape, floats};
use super::text::Reading;
use crate::calibrate::batches::fixed;
use crate::error::{Error, Result};
use crate::eval::{Scores, scores::top1};
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::random::SplitMix64;
use crate::tensor::{Tensor, views};

/// Of samples that are learned, one in so many is kept to choose by.
const KEPT: usize = 8;

/// Samples that lie along an axis of arrays.
#[derive(Clone, Debug)]
pub struct Group {
    /// By the names of inputs.
    pub inputs: Vec<(String, Tensor)>,
    /// The class of each sample.
    pub labels: Option<Vec<i64>>,
}

/// Samples to learn from, and to choose by.
#[derive(Clone, Debug)]
pub struct Arrays {
    /// What is learned; the arrays of a group have the same number of samples.
    pub learned: Vec<Group>,
    /// What students are judged by: if nothing is given, each eighth sample of those that would be learned.
    pub valid: Vec<Group>,
    /// The axis along which samples lie.
    pub axis: usize,
}

impl Group {
    /// How many samples lie along the axis.
    pub fn samples(&self, axis: usize) -> usize {
        self.inputs.first().and_then(|(_, tensor)| tensor.dims.get(axis).copied()).unwrap_or(0)
    }

    fn select(&self, axis: usize, places: &[usize]) -> Group {
        let part = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.select(axis, places));
        let labels = |all: &Vec<i64>| places.iter().map(|&at| all[at]).collect();
        Group {
            inputs: self.inputs.iter().map(part).collect(),
            labels: self.labels.as_ref().map(labels),
        }
    }
}

impl Arrays {
    /// Moves each eighth sample to those to choose by, if there are none yet; of `run` samples that follow each other
    /// all or none.
    fn keep(&mut self, run: usize) {
        if !self.valid.is_empty() {
            return;
        }
        let count: usize = self.learned.iter().map(|group| group.samples(self.axis)).sum();
        let every = KEPT.min(count.div_ceil(run)).max(1);
        let mut before = 0;
        for group in &mut self.learned {
            let samples = group.samples(self.axis);
            let is_kept = |&at: &usize| (before + at / run) % every == every - 1;
            let (kept, rest): (Vec<_>, Vec<_>) = (0..samples).partition(is_kept);
            before += samples.div_ceil(run);
            if !kept.is_empty() {
                self.valid.push(group.select(self.axis, &kept));
                *group = group.select(self.axis, &rest);
            }
        }
    }
}

/// An output that a loss is of.
struct Output {
    value: ValueId,
    name: String,
    /// Whether rows along the last axis are probabilities.
    distribution: bool,
    /// The mean square of its elements.
    energy: f64,
}

/// A batch that students are judged by, with what the float model gives.
struct Judged {
    batch: Group,
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
    /// Whether they are steps of a sequence, whose order stays.
    in_time: bool,
    share: f64,
    labelled: bool,
    scores: Scores,
    outputs: Vec<Output>,
    judged: Vec<Judged>,
    seed: u64,
    /// Times that all was learned, and batches of the next that were.
    epoch: u64,
    piece: usize,
    /// The batches of this time: a group and places in it.
    order: Vec<(usize, Vec<usize>)>,
}

impl<'a> Items<'a> {
    /// Samples before the first is learned, for the network of `module`, whose float model is `float`: a batch of them
    /// at a time, unless the model says how many. Where their axis is that of time, they are steps of a sequence, of
    /// which a span is run at a time, in their order.
    ///
    /// # Errors
    /// A model without an output of floats, with labels of several; labels that are no classes, too few samples, and what
    /// the float model cannot take.
    pub(super) fn new(
        float: &'a Loaded,
        module: &'a Module,
        mut arrays: Arrays,
        Reading { batch, span, share }: Reading,
        seed: u64,
    ) -> Result<Items<'a>> {
        let found = fixed(float, arrays.axis)?;
        let in_time = float.is_time(arrays.axis);
        let batch = found.unwrap_or(if in_time { span } else { batch });
        arrays.keep(if in_time { batch } else { 1 });
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
        let number = |name: &str| {
            let of = |value: &String| value == name;
            module.graph.values.iter().position(of).unwrap_or_default() as ValueId
        };
        let output = |value: ValueId| {
            let name = float.name(value).to_owned();
            let distribution = is_distribution(float.graph(), value);
            Output { value: number(&name), name, distribution, energy: 0.0 }
        };
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
            outputs: floats.iter().map(|port| output(port.value)).collect(),
            judged: Vec::new(),
            seed,
            epoch: 0,
            piece: 0,
            order: Vec::new(),
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

    /// Runs the float model on what students are judged by, and checks all labels against the classes that it has.
    fn expect(&mut self) -> Result<()> {
        let axis = self.arrays.axis;
        let mut sums = vec![(0.0, 0usize); self.outputs.len()];
        for group in &self.arrays.valid {
            let samples = group.samples(axis);
            for start in (0..samples).step_by(self.batch) {
                let mut places: Vec<usize> = (start..samples.min(start + self.batch)).collect();
                let new = places.len();
                places.resize(if self.is_fixed { self.batch } else { new }, samples - 1);
                let batch = group.select(axis, &places);
                let expected = answers(self.float, &mut self.session, &self.outputs, &batch)?;
                for ((sum, count), values) in sums.iter_mut().zip(&expected) {
                    *sum += values.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>();
                    *count += values.len();
                }
                self.judged.push(Judged { batch, new, expected });
            }
        }
        if let Some(Judged { batch, expected, .. }) = self.judged.first() {
            let classes = expected[0].len() / batch.samples(axis).max(1);
            for group in self.arrays.learned.iter().chain(&self.arrays.valid) {
                self.classes(group, classes)?;
            }
        }
        for (output, (sum, count)) in self.outputs.iter_mut().zip(sums) {
            output.energy = sum / count.max(1) as f64;
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

    /// Brings samples into the order of this time: full batches, and what is left of groups that fill none.
    fn deal(&mut self) {
        let mut random = SplitMix64(self.seed.wrapping_add(self.epoch << 32));
        self.order.clear();
        for (index, group) in self.arrays.learned.iter().enumerate() {
            let mut places: Vec<usize> = (0..group.samples(self.arrays.axis)).collect();
            if !self.in_time {
                random.shuffle(&mut places);
            }
            let batches = places.chunks_exact(self.batch);
            if batches.len() == 0 && !places.is_empty() && !self.is_fixed {
                self.order.push((index, places));
                continue;
            }
            self.order.extend(batches.map(|batch| (index, batch.to_vec())));
        }
        random.shuffle(&mut self.order);
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

    /// What the network that is trained is given.
    fn inputs(&self, batch: &Group) -> Result<Vec<(ValueId, Tensor)>> {
        let graph = &self.module.graph;
        let mut all = Vec::new();
        for port in &graph.inputs {
            let given = batch.inputs.iter().find(|(name, _)| name == self.module.name(port.value));
            if let Some((_, tensor)) = given {
                all.push((port.value, tensor.clone()));
            }
        }
        let sizes = |name: &str| {
            graph.inputs.iter().find_map(|port| {
                let (_, tensor) = all.iter().find(|(value, _)| *value == port.value)?;
                let axis = port.dims.iter().position(|dim| dim.as_name() == Some(name))?;
                Some(Dim::from(*tensor.dims.get(axis)? as i64))
            })
        };
        let mut states = Vec::new();
        for state in &graph.states {
            let start = start(self.module, state, &sizes).ok_or_else(|| {
                let name = self.module.name(state.input);
                Error::unsupported(format!("tune cannot begin the state {name:?}"))
                    .within(self.float.path.display())
            })?;
            states.push((state.input, start));
        }
        all.extend(states);
        Ok(all)
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
            return Ok(of_scores(self.scores, classes, y, targets));
        }
        if output.distribution {
            let targets = Targets { labels: None, teacher: Some(expected), share: 1.0 };
            return Ok(of_scores(Scores::Probabilities, width, y, targets));
        }
        Ok(of_values(y, expected, output.energy))
    }
}

impl Lesson for Items<'_> {
    fn outputs(&self) -> Vec<ValueId> {
        self.outputs.iter().map(|output| output.value).collect()
    }

    fn measure(&self) -> Measure {
        if self.labelled { Measure::Accuracy } else { Measure::Decibels }
    }

    fn learn(&mut self, tape: &mut Tape<'_>, params: &mut Params) -> Result<f64> {
        if self.piece >= self.order.len() {
            (self.epoch, self.piece) = (self.epoch + 1, 0);
            self.deal();
        }
        let (group, places) = &self.order[self.piece];
        let batch = self.arrays.learned[*group].select(self.arrays.axis, places);
        self.piece += 1;
        let is_told = !self.labelled || self.share > 0.0;
        let expected = match is_told {
            true => answers(self.float, &mut self.session, &self.outputs, &batch)?,
            false => vec![Vec::new(); self.outputs.len()],
        };
        tape.forward(params, self.inputs(&batch)?)?;
        let (mut total, mut gradients) = (0.0, Vec::new());
        let part = 1.0 / self.outputs.len() as f64;
        for (output, expected) in self.outputs.iter().zip(&expected) {
            let tensor = tape.value(output.value);
            let width = tensor.and_then(|y| y.dims.last().copied()).unwrap_or(1);
            let y = floats(tensor)?;
            if is_told && y.len() != expected.len() {
                return Err(Error::unsupported(format!(
                    "in training {:?} has {} elements, in the float model {}",
                    output.name,
                    y.len(),
                    expected.len()
                ))
                .within(self.float.path.display()));
            }
            let (loss, mut gradient) = self.loss(output, (y, expected), &batch, width)?;
            gradient.iter_mut().for_each(|g| *g *= part as f32);
            total += part * loss;
            gradients.push((output.value, gradient));
        }
        tape.backward(params, gradients)?;
        Ok(total)
    }

    fn judge(&self, student: &Loaded) -> Result<Figure> {
        let mut session = student.session();
        let (mut noise, mut signal) =
            (vec![0.0; self.outputs.len()], vec![0.0; self.outputs.len()]);
        let (mut right, mut losses, mut count) = (0usize, 0.0, 0usize);
        for Judged { batch, new, expected } in &self.judged {
            let found = answers(student, &mut session, &self.outputs, batch)?;
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
            for (output, (found, expected)) in found.iter().zip(expected).enumerate() {
                for (&y, &t) in found.iter().zip(expected) {
                    noise[output] += (f64::from(y) - f64::from(t)).powi(2);
                    signal[output] += f64::from(t).powi(2);
                }
            }
        }
        if self.labelled {
            let count = count.max(1) as f64;
            return Ok(Figure::Accuracy { share: right as f64 / count, loss: losses / count });
        }
        let ratio = |(noise, signal): (&f64, &f64)| noise / signal.max(f64::MIN_POSITIVE);
        let ratios: f64 = noise.iter().zip(&signal).map(ratio).sum();
        Ok(Figure::Decibels(-10.0 * (ratios / self.outputs.len() as f64).log10()))
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

    fn save(&self, to: &mut Vec<u8>) {
        to.extend(self.epoch.to_le_bytes());
        to.extend((self.piece as u64).to_le_bytes());
    }

    fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.epoch = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?);
        self.piece = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?) as usize;
        self.deal();
        Some(())
    }
}

/// What a model gives for a batch, by output.
fn answers(
    loaded: &Loaded,
    session: &mut Session,
    outputs: &[Output],
    batch: &Group,
) -> Result<Vec<Vec<f32>>> {
    session.reset();
    let given = session.run(&views(&batch.inputs)).map_err(|error| loaded.error(error))?;
    let of = |output: &Output| given.get(&output.name).and_then(|view| view.as_f32());
    Ok(outputs.iter().map(|output| of(output).unwrap_or_default().to_vec()).collect())
}

/// Whether a value is a softmax along its last axis.
fn is_distribution(graph: &Graph, value: ValueId) -> bool {
    let rank = graph.outputs.iter().find(|port| port.value == value).map_or(0, |p| p.dims.len());
    let producer = graph.nodes.iter().find(|node| node.outputs.first() == Some(&value));
    matches!(
        producer.and_then(|node| node.op.as_ref()),
        Some(Op::Softmax(softmax)) if !softmax.log && softmax.axis as usize + 1 == rank
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn group(first: i64, count: usize) -> Group {
        let data = Data::I64((first..first + count as i64).collect());
        let tensor = Tensor { dims: vec![count], data };
        Group { inputs: vec![("x".to_owned(), tensor)], labels: None }
    }

    fn samples(groups: &[Group]) -> Vec<Vec<i64>> {
        groups.iter().map(|group| group.inputs[0].1.data.integers().unwrap()).collect()
    }

    /// Steps that follow each other are learned or kept together.
    #[test]
    fn runs_are_kept_whole() {
        let arrays =
            || Arrays { learned: vec![group(0, 7), group(100, 6)], valid: Vec::new(), axis: 0 };
        let mut alone = arrays();
        alone.keep(1);
        assert_eq!(samples(&alone.valid), [[100]]);
        let mut runs = arrays();
        runs.keep(3);
        assert_eq!(samples(&runs.valid), [[103, 104, 105]]);
        assert_eq!(samples(&runs.learned), [vec![0, 1, 2, 3, 4, 5, 6], vec![100, 101, 102]]);
    }
}
