//! What a change of a model does to its answers: they are compared with those of the float model on the
//! same data.

use std::borrow::Cow;

use amq_format::graph::{Graph, Op, ValueId};
use rayon::prelude::*;
use serde::Serialize;

use super::batches::{Batches, Which};
use super::samples::Samples;
use crate::distance::Distance;
use crate::error::{Error, Result};
use crate::eval::scores::{Scores, classes_axis, divergence, top1};
use crate::feed::stream::{PortNames, TextReader};
use crate::loaded::Loaded;
use crate::tensor::{Data, Tensor};

/// Most tokens of a text, and most samples of arrays, that answers are compared on.
const TOKENS: usize = 2000;
const SAMPLES: usize = 64;
/// Most bytes of answers of the float model that are kept.
const MOST_BYTES: usize = 512 << 20;
/// How far from 1 a sum of probabilities may be.
const UNITY: f32 = 1e-2;

/// Data, and the answers of the float model to them.
#[derive(Debug)]
pub struct Trial {
    data: Questions,
    outputs: Vec<Output>,
    /// Tokens, steps or samples.
    count: usize,
    /// Whether codes are fitted to other data.
    apart: bool,
    what: &'static str,
}

/// What models are asked.
#[derive(Debug)]
enum Questions {
    /// Tokens of a vocabulary of so many entries, as one stream.
    Text { tokens: Vec<i64>, classes: usize },
    /// Calls, each from initial states.
    Calls(Vec<Vec<(String, Tensor)>>),
}

/// An output of the float model.
#[derive(Debug)]
struct Output {
    name: String,
    scores: Option<Classes>,
    /// Of each call.
    expected: Vec<Tensor>,
}

/// Classes that an output has scores of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Classes {
    scores: Scores,
    /// The axis along which they stand.
    axis: usize,
    /// Whether no softmax says so, but a product that gives two or more.
    supposed: bool,
}

/// How far an output is from that of the float model.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The output.
    pub name: String,
    /// Largest difference.
    pub max_abs: f64,
    /// Signal over noise in decibels; JSON's null where nothing differs.
    pub snr_db: f64,
    /// The same of the signal about its mean.
    pub snr_about_mean_db: f64,
    /// Of an output of scores, the mean divergence (Kullback and Leibler's) of its probabilities from those of the float model,
    /// in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Of an output of scores, in which share of the rows the same class has the largest score; of
    /// one that is not float, which share of the elements is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_choice: Option<f64>,
    /// Sum of squared differences over sum of squares about the mean.
    #[serde(skip)]
    pub noise: f64,
    /// Whether it is float.
    #[serde(skip)]
    pub float: bool,
    /// How many rows `same_choice` is a share of.
    #[serde(skip)]
    pub rows: usize,
}

impl Trial {
    /// Asks the float model, on some of the samples.
    ///
    /// # Errors
    /// Samples that the model cannot take.
    pub fn new(float: &Loaded, samples: &Samples) -> Result<Trial> {
        let (data, count, apart, what) = match samples {
            Samples::Text { tokens, classes } => {
                let most = TOKENS.min(MOST_BYTES / 4 / classes.max(&1)).max(2);
                let mut tokens = tokens.clone();
                tokens.truncate(most);
                let count = tokens.len();
                (Questions::Text { tokens, classes: *classes }, count, false, "tokens")
            }
            Samples::Arrays { .. } => {
                let calls = Batches::new(float, samples, Which::Compared, SAMPLES)?;
                let (count, apart) = (calls.new_samples(), calls.apart);
                let what = if calls.in_time { "steps" } else { "samples" };
                (Questions::Calls(calls.map(|batch| batch.inputs).collect()), count, apart, what)
            }
        };
        Ok(Trial { count, apart, what, ..Trial::of(float, data)? })
    }

    /// Asks the float model one call.
    ///
    /// # Errors
    /// Inputs that the model cannot take.
    pub fn call(float: &Loaded, inputs: Vec<(String, Tensor)>) -> Result<Trial> {
        Trial::of(float, Questions::Calls(vec![inputs]))
    }

    fn of(float: &Loaded, data: Questions) -> Result<Trial> {
        let mut outputs: Vec<Output> = Vec::new();
        let mut bytes = 0;
        data.ask(float, &mut |name, value, tensor| {
            bytes += 4 * tensor.data.len();
            if bytes > MOST_BYTES {
                return Ok(());
            }
            match outputs.iter_mut().find(|output| output.name == name) {
                Some(output) => output.expected.push(tensor),
                None => {
                    let scores = match &data {
                        Questions::Text { .. } => {
                            let scores = Scores::of(float.graph(), value);
                            Some(Classes { scores, axis: 1, supposed: false })
                        }
                        Questions::Calls(_) => classes(float.graph(), value, &tensor),
                    };
                    outputs.push(Output { name: name.to_owned(), scores, expected: vec![tensor] });
                }
            }
            Ok(())
        })?;
        // A product beside other outputs may give anything.
        if outputs.iter().filter(|output| output.is_float()).count() > 1 {
            for output in &mut outputs {
                output.scores = output.scores.filter(|classes| !classes.supposed);
            }
        }
        Ok(Trial { data, outputs, count: 1, apart: true, what: "samples" })
    }

    /// On how many tokens, steps or samples models are compared.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What they are.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Whether codes are fitted to other data.
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Inputs of the first call, of a text some of its tokens.
    ///
    /// # Errors
    /// A model that cannot take them.
    pub fn first_call(&self, loaded: &Loaded) -> Result<Vec<(String, Tensor)>> {
        match &self.data {
            Questions::Text { tokens, classes } => {
                Ok(TextReader::new(loaded, *classes, PortNames::default())?.inputs(tokens))
            }
            Questions::Calls(calls) => Ok(calls.first().cloned().unwrap_or_default()),
        }
    }

    /// How far each output of a model is from that of the float model.
    ///
    /// # Errors
    /// A model that has other inputs or outputs.
    pub fn answers(&self, loaded: &Loaded) -> Result<Vec<Answer>> {
        let mut sums: Vec<Sums> = self.outputs.iter().map(|_| Sums::default()).collect();
        self.data.ask(loaded, &mut |name, _, tensor| {
            let Some(at) = self.outputs.iter().position(|output| output.name == name) else {
                return Ok(());
            };
            sums[at].add(&self.outputs[at], &tensor).ok_or_else(|| {
                Error::bad_file(format!("{name}: the float model gives another type or shape"))
                    .within(loaded.path.display())
            })
        })?;
        Ok(self.outputs.iter().zip(sums).map(|(output, sums)| sums.answer(output)).collect())
    }
}

impl Questions {
    /// Hands on the name, the value and the elements of each output of each call.
    fn ask(
        &self,
        loaded: &Loaded,
        receive: &mut dyn FnMut(&str, ValueId, Tensor) -> Result<()>,
    ) -> Result<()> {
        match self {
            Questions::Text { tokens, classes } => {
                let mut reader = TextReader::new(loaded, *classes, PortNames::default())?;
                let piece = reader.piece(tokens.len())?;
                let (value, name) = (reader.output(), loaded.name(reader.output()));
                tokens.chunks(piece).try_for_each(|tokens| {
                    reader.feed(tokens, &mut |scores| {
                        let dims = vec![scores.len() / classes, *classes];
                        receive(name, value, Tensor { dims, data: Data::F32(scores.to_vec()) })
                    })
                })
            }
            Questions::Calls(calls) => calls.iter().try_for_each(|inputs| {
                let outputs = loaded.run(inputs)?;
                outputs.into_iter().try_for_each(|(name, tensor)| {
                    match loaded.outputs().find(|port| loaded.name(port.value) == name) {
                        Some(port) => receive(&name, port.value, tensor),
                        None => Ok(()),
                    }
                })
            }),
        }
    }
}

/// Classes that an output holds scores of: it comes from a softmax, or a product of two classes or more gives it.
fn classes(graph: &Graph, output: ValueId, tensor: &Tensor) -> Option<Classes> {
    let Data::F32(data) = &tensor.data else { return None };
    let node = graph.nodes.iter().find(|node| node.outputs.first() == Some(&output))?;
    let last = tensor.dims.len().checked_sub(1)?;
    let softmax = classes_axis(graph, output, tensor.dims.len());
    let axis = softmax.unwrap_or(last);
    let (count, inner) = (tensor.dims[axis], tensor.dims[axis + 1..].iter().product::<usize>());
    if count < 2 || data.is_empty() {
        return None;
    }
    if Scores::of(graph, output) == Scores::Probabilities {
        let sums = data.chunks_exact(count * inner).all(|part| {
            (0..inner).all(|at| {
                let sum: f32 = part[at..].iter().step_by(inner).sum();
                (sum - 1.0).abs() < UNITY
            })
        });
        let classes = Classes { scores: Scores::Probabilities, axis, supposed: false };
        return sums.then_some(classes);
    }
    match &node.op {
        _ if softmax.is_some() => Some(Classes { scores: Scores::Logits, axis, supposed: false }),
        Some(Op::Linear(_)) => Some(Classes { scores: Scores::Logits, axis, supposed: true }),
        _ => None,
    }
}

/// The elements with an axis as the last.
fn with_last(tensor: &Tensor, axis: usize) -> Cow<'_, [f32]> {
    let Data::F32(data) = &tensor.data else { return Cow::Borrowed(&[]) };
    let (count, inner) = (tensor.dims[axis], tensor.dims[axis + 1..].iter().product::<usize>());
    if inner == 1 {
        return Cow::Borrowed(data);
    }
    let mut turned = Vec::with_capacity(data.len());
    for part in data.chunks_exact((count * inner).max(1)) {
        for at in 0..inner {
            turned.extend(part[at..].iter().step_by(inner));
        }
    }
    Cow::Owned(turned)
}

impl Output {
    fn is_float(&self) -> bool {
        self.expected.iter().all(|tensor| matches!(tensor.data, Data::F32(_)))
    }
}

/// Sums over the calls of an output.
#[derive(Default)]
struct Sums {
    distance: Distance,
    calls: usize,
    rows: usize,
    kl: f64,
    same: usize,
}

impl Sums {
    /// Adds a call; `None` if its type or shape is not that of the float model.
    fn add(&mut self, output: &Output, found: &Tensor) -> Option<()> {
        let Some(expected) = output.expected.get(self.calls) else { return Some(()) };
        self.calls += 1;
        self.distance.join(&Distance::of(expected, found)?);
        if let (Some(expected), Some(found)) = (expected.data.integers(), found.data.integers()) {
            self.rows += found.len();
            self.same += expected.iter().zip(&found).filter(|(x, y)| x == y).count();
        }
        let Some(Classes { scores, axis, .. }) = output.scores else { return Some(()) };
        let Some(&classes @ 1..) = found.dims.get(axis) else { return Some(()) };
        let (expected, found) = (with_last(expected, axis), with_last(found, axis));
        let of_row = |(expected, found): (&[f32], &[f32])| {
            (divergence(scores, expected, found), usize::from(top1(expected) == top1(found)))
        };
        let rows: Vec<(f64, usize)> = (expected.par_chunks_exact(classes))
            .zip(found.par_chunks_exact(classes))
            .map(of_row)
            .collect();
        for (kl, same) in rows {
            (self.kl, self.same, self.rows) = (self.kl + kl, self.same + same, self.rows + 1);
        }
        Some(())
    }

    fn answer(&self, output: &Output) -> Answer {
        let mean = |sum: f64| (self.rows > 0).then(|| sum / self.rows as f64);
        Answer {
            name: output.name.clone(),
            max_abs: self.distance.max_abs,
            snr_db: self.distance.snr_db(),
            snr_about_mean_db: self.distance.snr_about_mean_db(),
            noise: self.distance.noise(),
            float: output.is_float(),
            rows: self.rows,
            kl: mean(self.kl).filter(|_| output.scores.is_some()),
            same_choice: mean(self.same as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::tests::{A, Build};
    use crate::open::Opened;

    /// How far a model is from itself.
    fn answers(build: &Build, dims: &[usize]) -> Vec<Answer> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(amq_runtime::Isa::detect()).unwrap();
        let data = (0..dims.iter().product()).map(|i: usize| (i * 7 % 11) as f32 / 4.0).collect();
        let x = Tensor { dims: dims.to_vec(), data: Data::F32(data) };
        let trial = Trial::call(&loaded, vec![("x".into(), x)]).unwrap();
        trial.answers(&loaded).unwrap()
    }

    #[test]
    fn a_product_gives_scores_where_nothing_else_is_given() {
        let one = Build::new(13).input("x", "n 4").weight("w", &[4, 3]);
        let one = one.node("MatMul", "x w", "y").output("y");
        assert_eq!(answers(&one, &[2, 4])[0].kl, Some(0.0));
        let two = one.weight("v", &[4, 2]).node("MatMul", "x v", "z").output("z");
        assert!(answers(&two, &[2, 4]).iter().all(|answer| answer.kl.is_none()));
    }

    #[test]
    fn classes_may_stand_along_an_axis_that_is_not_the_last() {
        let build = Build::new(13).input("x", "n 3 t");
        let build = build.node_with("Softmax", "x", "y", &[("axis", A::I(1))]).output("y");
        let answer = &answers(&build, &[2, 3, 5])[0];
        assert_eq!((answer.rows, answer.same_choice), (10, Some(1.0)));
        assert!(answer.kl.is_some_and(|kl| kl.abs() < 1e-7));
        let x = Tensor { dims: vec![1, 2, 3], data: Data::F32((0..6).map(|i| i as f32).collect()) };
        assert_eq!(*with_last(&x, 1), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(*with_last(&x, 2), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
