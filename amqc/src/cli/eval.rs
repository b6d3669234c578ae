//! `amqc eval`

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use amq_format::graph::{ABSENT, Cell, DataType, Dim, Graph, Op, Port, ValueId};
use amq_runtime::{Isa, Session, View};
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::Outcome;
use crate::data;
use crate::error::{Error, Result};
use crate::eval::{self, Perplexity, Scores, Tokens, Unit, Vocabulary, top1};
use crate::feed::arrays::{bind, read_inputs};
use crate::open::{Loaded, Opened, port_text};
use crate::tensor::{Data, Tensor, views};

/// Measure how good a model is: perplexity of a text, or top-1 accuracy
///
/// Perplexity: the model reads the text as one stream, its states carried along, and predicts each
/// token but the first. Scores pass through a log-softmax, or a logarithm where the model ends in
/// Softmax. Words not in the vocabulary are errors, unless it holds <unk>; each newline is <eos>.
/// A model whose scores depend on tokens to come, or on how the text is cut, is refused.
///
/// Accuracy: the share of items whose largest score is at their label.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("measure").required(true)))]
pub(super) struct Eval {
    /// An .amq file or an ONNX model
    file: PathBuf,
    /// Text to predict
    #[arg(long, value_name = "T", group = "measure", requires = "vocab")]
    text: Option<PathBuf>,
    /// Vocabulary: one entry a line, the first is number 0
    #[arg(long, value_name = "V", requires = "text")]
    vocab: Option<PathBuf>,
    /// What the text is cut into
    #[arg(long, value_enum, default_value_t = Unit::Word)]
    unit: Unit,
    /// Arrays by the names of inputs, items along axis 0
    #[arg(long, value_name = "I.npz", group = "measure", requires = "labels")]
    inputs: Option<PathBuf>,
    /// Class of each item
    #[arg(long, value_name = "L.npy", requires = "inputs")]
    labels: Option<PathBuf>,
    /// Input that takes the tokens [default: the only integer one that is no state]
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    input: Option<String>,
    /// Output that gives the scores [default: the only one that is no state and fits]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct TextJson {
    perplexity: f64,
    predicted: usize,
    /// Of the text's tokens.
    unknown: usize,
}

#[derive(Debug, Serialize)]
struct LabelsJson {
    accuracy: f64,
    predicted: usize,
}

impl Eval {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        match (&self.text, &self.vocab, &self.inputs, &self.labels) {
            (Some(text), Some(vocabulary), ..) => self.perplexity(isa, text, vocabulary),
            (.., Some(inputs), Some(labels)) => self.accuracy(isa, inputs, labels),
            _ => Err(Error::usage("give --text and --vocab, or --inputs and --labels")),
        }
    }

    fn perplexity(&self, isa: Isa, text: &Path, vocabulary: &Path) -> Result<Outcome> {
        let (name, unit) = (vocabulary.display().to_string(), self.unit);
        let vocabulary = Vocabulary::parse(&name, &read_text(vocabulary)?, unit)?;
        let Tokens { ids: tokens, unknown } =
            vocabulary.tokens(&text.display().to_string(), &read_text(text)?, unit)?;
        let loaded = Opened::read(&self.file)?.load(isa)?;
        let mut reader = TextReader::new(self, &loaded, &vocabulary)?;
        let piece = reader.piece(tokens.len().saturating_sub(1))?;
        if tokens.len() > 1 {
            reader.check_cuts(&tokens).map_err(|error| error.within(self.file.display()))?;
        }
        let scores = scores(loaded.graph(), reader.output.value);
        let found = eval::perplexity(&tokens, vocabulary.len(), piece, scores, |fed, receive| {
            reader.feed(fed, receive)
        })
        .map_err(|error| error.within(self.file.display()))?;
        let Perplexity { perplexity, predicted } = found;
        let outcome = Outcome::of(self.json, &TextJson { perplexity, predicted, unknown }, |_| {
            let read_as = match unknown {
                0 => String::new(),
                _ => format!(", {unknown} read as <unk>"),
            };
            format!("perplexity {perplexity:.2} ({predicted} tokens predicted{read_as})\n")
        })?;
        let mut warnings = Vec::new();
        if unknown > predicted / 2 {
            warnings.push(format!(
                "most of the text is not in the vocabulary ({unknown} of {} tokens); --unit says \
                 what the text is cut into",
                predicted + 1
            ));
        }
        Ok(Outcome { warnings, ..outcome })
    }

    fn accuracy(&self, isa: Isa, inputs: &Path, labels: &Path) -> Result<Outcome> {
        let loaded = Opened::read(&self.file)?.load(isa)?;
        let inputs = bind(&loaded, read_inputs(&loaded, inputs)?)?;
        let array = data::read_npy(labels)?;
        let fail = |what: String| Err(Error::bad_file(what).within(labels.display()));
        let Some(classes) = array.integers() else {
            return fail("labels are whole numbers, one for each item".into());
        };
        for (name, tensor) in &inputs {
            if tensor.dims.first() != Some(&classes.len()) {
                let (count, dims) = (classes.len(), &tensor.dims);
                return fail(format!("{count} labels, but {name:?} has the shape {dims:?}"));
            }
        }
        if classes.is_empty() {
            return fail("there is no label".into());
        }
        let floats: Vec<&Port> =
            loaded.outputs().filter(|port| port.data_type() == DataType::F32).collect();
        let output = loaded.pick(
            "output",
            "--output",
            self.output.as_deref(),
            &loaded.graph().outputs,
            &floats,
        )?;
        let output = loaded.name(output.value);
        let batch = batch_size(&loaded)?;
        let mut session = Session::new(loaded.model.clone());
        let mut right = 0;
        for start in (0..classes.len()).step_by(batch.size) {
            let end = classes.len().min(start + batch.size);
            let length = if batch.fixed { batch.size } else { end - start };
            let part: Vec<_> = (inputs.iter())
                .map(|(name, tensor)| (name.clone(), rows(tensor, start, length)))
                .collect();
            let outputs = session.run(&views(&part)).map_err(|error| loaded.error(error))?;
            let scores = outputs.get(output).and_then(|view| view.as_f32()).unwrap_or_default();
            if scores.is_empty() || scores.len() % length != 0 {
                return Err(Error::unsupported(format!(
                    "{}: {} scores of {output:?} for {length} items",
                    self.file.display(),
                    scores.len(),
                )));
            }
            let width = scores.len() / length;
            for (item, row) in (start..end).zip(scores.chunks_exact(width)) {
                let label = usize::try_from(classes[item]).ok().filter(|&label| label < width);
                let Some(label) = label else {
                    let class = classes[item];
                    return fail(format!(
                        "label {class} of item {item}: there are {width} classes"
                    ));
                };
                let Some(best) = top1(row) else {
                    return Err(Error::unsupported(format!(
                        "{}: the scores of item {item} are not numbers",
                        self.file.display()
                    )));
                };
                right += usize::from(best == label);
            }
        }
        let predicted = classes.len();
        let accuracy = right as f64 / predicted as f64;
        Outcome::of(self.json, &LabelsJson { accuracy, predicted }, |_| {
            format!("accuracy {:.2}% ({predicted} items)\n", accuracy * 100.0)
        })
    }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::bad_file(format!("byte {at} is not UTF-8")).within(path.display())
    })
}

/// A language model that reads a text as one stream.
struct TextReader<'a> {
    loaded: &'a Loaded,
    input: &'a Port,
    output: &'a Port,
    classes: usize,
    time_axis: usize,
    /// Steps of each call, where the model fixes them.
    fixed: Option<usize>,
    session: Session,
}

/// Tokens fed at once.
const PIECE: usize = 64;
/// Tokens that a model without states may be fed at once.
const MAX_AT_ONCE: usize = 4096;

impl<'a> TextReader<'a> {
    fn new(eval: &Eval, loaded: &'a Loaded, vocabulary: &Vocabulary) -> Result<TextReader<'a>> {
        let file = || loaded.path.display();
        let integers: Vec<&Port> = loaded.inputs().filter(|port| is_integer(port)).collect();
        let ports = &loaded.graph().inputs;
        let input = loaded.pick("input", "--input", eval.input.as_deref(), ports, &integers)?;
        if !is_integer(input) {
            let text = port_text(loaded.graph(), input);
            return Err(Error::usage(format!("{text} does not take tokens")).within(file()));
        }
        if let Some(other) = loaded.inputs().find(|port| port.value != input.value) {
            let name = loaded.name(other.value);
            return Err(Error::unsupported(format!("eval cannot fill the input {name:?}"))
                .within(file())
                .remedy("declare it a state with convert --state, or export without it"));
        }
        let classes = vocabulary.len();
        let fits = |port: &Port| {
            let last = port.dims.last().map(|dim| dim.as_size());
            port.data_type() == DataType::F32
                && last.is_some_and(|size| size.is_none_or(|size| size == classes as i64))
        };
        let fitting: Vec<&Port> = loaded.outputs().filter(|port| fits(port)).collect();
        let ports = &loaded.graph().outputs;
        if fitting.is_empty() || eval.output.is_some() {
            let name = eval.output.as_deref();
            let all: Vec<&Port> = loaded.outputs().collect();
            let output = loaded.pick("output", "--output", name, ports, &all)?;
            if !fits(output) {
                let text = port_text(loaded.graph(), output);
                return Err(Error::bad_file(format!(
                    "the vocabulary has {classes} entries, which are not the last axis of {text}"
                ))
                .within(file())
                .remedy(
                    "use the vocabulary the model was trained with, or name another --output",
                ));
            }
        }
        let output = loaded.pick("output", "--output", eval.output.as_deref(), ports, &fitting)?;
        let graph = loaded.graph();
        let (time_axis, mut fixed) =
            time_axis(graph, input).map_err(|error| error.within(file()))?;
        if fixed.is_none() && takes_steps(graph, &input.dims[time_axis], output) {
            fixed = Some(1);
        }
        let session = Session::new(loaded.model.clone());
        Ok(TextReader { loaded, input, output, classes, time_axis, fixed, session })
    }

    /// Tokens to feed at once, of a text of which `predicted` are fed.
    fn piece(&self, predicted: usize) -> Result<usize> {
        if !self.loaded.graph().states.is_empty() {
            return Ok(self.fixed.unwrap_or(PIECE));
        }
        let most = self.fixed.unwrap_or(MAX_AT_ONCE);
        if predicted <= most {
            return Ok(self.fixed.unwrap_or(predicted.max(1)));
        }
        Err(Error::unsupported(format!(
            "no states are declared, so a text of {predicted} tokens is read at once or not at \
             all; this model can read {most}"
        ))
        .within(self.loaded.path.display())
        .remedy(
            "export the model with its first and last states as inputs and outputs, or name them \
             with convert --state",
        ))
    }

    /// Makes sure that the scores after a token depend on it and on all before it, on nothing else:
    /// on no token that follows, nor on how the text is cut. Leaves the initial states.
    fn check_cuts(&mut self, tokens: &[i64]) -> Result<()> {
        // No more than is read in any case: the model may have a bound.
        let length = self.fixed.unwrap_or(PIECE.min(tokens.len() - 1));
        let tokens: Vec<i64> = tokens.iter().copied().cycle().take(length).collect();
        let whole = self.anew(&[&tokens])?;
        if whole.len() != length * self.classes {
            // Refused when the text is read.
            return Ok(());
        }
        let (first, second) = tokens.split_at(length / 2);
        let next = |token: &i64| (token + 1) % self.classes as i64;
        let other: Vec<i64> = first.iter().copied().chain(second.iter().map(next)).collect();
        let seen = first.len() * self.classes;
        if self.anew(&[&other])?[..seen] != whole[..seen] {
            return Err(Error::unsupported(
                "the scores after a token depend on tokens that follow it, which it is to predict",
            )
            .remedy("eval needs a model that reads in one direction"));
        }
        let forgets = match self.fixed {
            _ if self.loaded.graph().states.is_empty() => false,
            // It cannot be cut elsewhere: what it says of its layers must do.
            Some(_) => starts_anew(self.loaded.graph()),
            None => {
                let (few, rest) = tokens.split_at(length / 8);
                let (middle, rest) = rest.split_at(length / 2);
                self.anew(&[few, middle, rest])? != whole
            }
        };
        if forgets {
            return Err(Error::unsupported(
                "the scores depend on how the text is cut: no state carries all that the model \
                 remembers",
            )
            .remedy(
                "export the model with its first and last states as inputs and outputs, or name \
                 them with convert --state; inspect lists those that are declared",
            ));
        }
        Ok(())
    }

    /// The bits of the scores after each token of some pieces, read from the initial states, which
    /// are left.
    fn anew(&mut self, pieces: &[&[i64]]) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        self.session.reset();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            self.feed(piece, &mut |scores| {
                rows.extend(scores.iter().map(|score| score.to_bits()));
                Ok(())
            })?;
        }
        self.session.reset();
        Ok(rows)
    }

    /// Feeds tokens after those fed before, and hands on the scores after each.
    fn feed(&mut self, tokens: &[i64], receive: eval::Receive<'_>) -> Result<()> {
        let steps = self.fixed.unwrap_or(tokens.len());
        let mut dims = vec![1; self.input.dims.len()];
        dims[self.time_axis] = steps;
        // Only the last piece is ever too short: what follows the text changes nothing before it.
        let padded = tokens.iter().copied().chain(std::iter::repeat(0)).take(steps);
        let data = match self.input.data_type() {
            DataType::I32 => Data::I32(padded.map(|id| id as i32).collect()),
            _ => Data::I64(padded.collect()),
        };
        let (name, tensor) = (self.loaded.name(self.input.value), Tensor { dims, data });
        let inputs: [(&str, View<'_>); 1] = [(name, tensor.view())];
        let outputs = self.session.step(&inputs).map_err(|error| self.loaded.error(error))?;
        let output = outputs.get(self.loaded.name(self.output.value));
        let scores = output.and_then(|view| view.as_f32()).unwrap_or_default();
        match scores.len() == steps * self.classes {
            true => receive(&scores[..tokens.len() * self.classes]),
            false => receive(scores),
        }
    }
}

fn is_integer(port: &Port) -> bool {
    matches!(port.data_type(), DataType::I64 | DataType::I32)
}

/// Whether a model with states has to be fed one token a call: `axis`, along which tokens follow, is
/// a batch, as states have it too, or the scores do not have it and are those of the last step.
fn takes_steps(graph: &Graph, axis: &Dim, output: &Port) -> bool {
    let mentions = |dim: &Dim| {
        let other = |name: &str| (Some(name) != axis.as_name()).then(|| Dim::from(1));
        dim.substitute(&other).is_err()
    };
    let is_state = |port: &&Port| graph.states.iter().any(|state| state.input == port.value);
    let mut of_states = graph.inputs.iter().filter(is_state).flat_map(|port| &port.dims);
    !graph.states.is_empty() && (of_states.any(mentions) || !output.dims.iter().any(mentions))
}

/// Whether a recurrent layer starts each call from what no state gives.
fn starts_anew(graph: &Graph) -> bool {
    let mut carried: BTreeSet<ValueId> = graph.states.iter().map(|state| state.input).collect();
    graph.nodes.iter().any(|node| {
        if node.inputs.iter().any(|input| carried.contains(input)) {
            carried.extend(node.outputs.iter().filter(|&&output| output != ABSENT));
        }
        let Some(Op::Recurrent(layer)) = &node.op else { return false };
        let states = if layer.cell() == Cell::Lstm { 5..7 } else { 5..6 };
        !states.into_iter().all(|i| node.inputs.get(i).is_some_and(|input| carried.contains(input)))
    })
}

/// The axis of an input along which tokens follow each other, and its size if that is fixed.
/// Every other axis can have size 1.
fn time_axis(graph: &Graph, input: &Port) -> Result<(usize, Option<usize>)> {
    let name = graph.values.get(input.value as usize).map_or("", String::as_str);
    let sizes: Vec<Option<i64>> = input.dims.iter().map(|dim| dim.as_size()).collect();
    let stream = graph.streams.iter().find(|stream| stream.value == input.value);
    let named_batch = |axis: usize| {
        let name = input.dims[axis].as_name().unwrap_or("").to_ascii_lowercase();
        name.contains("batch") || name == "n" || name == "b"
    };
    let one = Some(1);
    let axis = match (stream, sizes.as_slice()) {
        (Some(stream), _) => Some(stream.time_axis as usize),
        (None, [_]) => Some(0),
        (None, [_, batch]) if *batch == one && !named_batch(0) => Some(0),
        (None, [batch, _]) if *batch == one && !named_batch(1) => Some(1),
        // A step of a batch.
        (None, [time, _]) if *time == one => Some(0),
        (None, [_, time]) if *time == one => Some(1),
        (None, [Some(_), None]) => Some(0),
        (None, [None, Some(_)]) => Some(1),
        (None, [None, None]) if named_batch(0) != named_batch(1) => {
            Some(usize::from(named_batch(0)))
        }
        _ => None,
    };
    let Some(axis) = axis.filter(|&axis| axis < sizes.len()) else {
        return Err(Error::unsupported(format!("which axis of {name:?} is time is not clear"))
            .remedy("export the model with axes called seq and batch, or with a batch of 1"));
    };
    let others = sizes.iter().enumerate().filter(|&(other, _)| other != axis);
    if let Some((_, Some(size))) = others.into_iter().find(|(_, size)| size.is_some_and(|s| s != 1))
    {
        return Err(Error::unsupported(format!(
            "{name:?} takes {size} streams at once, and eval feeds one"
        ))
        .remedy("export the model with a batch of 1, or of any size"));
    }
    match sizes[axis].map(usize::try_from) {
        None => Ok((axis, None)),
        Some(Ok(steps @ 1..)) => Ok((axis, Some(steps))),
        Some(_) => Err(Error::unsupported(format!("{name:?} takes no tokens"))),
    }
}

/// What the scores of an output are: probabilities where it comes from a Softmax, perhaps in
/// another shape. (A log-softmax of logarithms of probabilities changes nothing.)
fn scores(graph: &Graph, output: ValueId) -> Scores {
    let mut value = output;
    for node in graph.nodes.iter().rev().filter(|node| !node.outputs.is_empty()) {
        if node.outputs[0] != value {
            continue;
        }
        match (&node.op, node.inputs.first()) {
            (Some(Op::Softmax(softmax)), _) if !softmax.log => return Scores::Probabilities,
            (Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)), Some(&input)) => value = input,
            _ => return Scores::Logits,
        }
    }
    Scores::Logits
}

struct Batch {
    size: usize,
    fixed: bool,
}

/// Items to run at once: what the model fixes, or a number that keeps it busy.
fn batch_size(loaded: &Loaded) -> Result<Batch> {
    const ITEMS: usize = 64;
    let mut fixed = None;
    for port in loaded.inputs() {
        let name = loaded.name(port.value);
        let size = match port.dims.first().map(|dim| dim.as_size()) {
            Some(size) => size,
            None => return Err(Error::unsupported(format!("the input {name:?} has no axis"))),
        };
        let Some(size) = size else { continue };
        let size = usize::try_from(size).ok().filter(|&size| size > 0);
        if size.is_none() || fixed.is_some_and(|other| Some(other) != size) {
            return Err(Error::unsupported("the inputs take different numbers of items")
                .within(loaded.path.display()));
        }
        fixed = size;
    }
    Ok(Batch { size: fixed.unwrap_or(ITEMS), fixed: fixed.is_some() })
}

/// Items `start..start + length` of a tensor; beyond its end, the last one again.
fn rows(tensor: &Tensor, start: usize, length: usize) -> Tensor {
    fn take<T: Copy>(values: &[T], count: usize, start: usize, length: usize) -> Vec<T> {
        let width = values.len() / count.max(1);
        let items = (start..start + length).map(|item| item.min(count.saturating_sub(1)));
        items.flat_map(|item| values[item * width..(item + 1) * width].iter().copied()).collect()
    }
    let count = tensor.dims.first().copied().unwrap_or(1);
    let data = match &tensor.data {
        Data::F32(values) => Data::F32(take(values, count, start, length)),
        Data::I64(values) => Data::I64(take(values, count, start, length)),
        Data::I32(values) => Data::I32(take(values, count, start, length)),
        Data::U8(values) => Data::U8(take(values, count, start, length)),
        Data::I8(values) => Data::I8(take(values, count, start, length)),
        Data::Bool(values) => Data::Bool(take(values, count, start, length)),
    };
    let mut dims = tensor.dims.clone();
    if let Some(first) = dims.first_mut() {
        *first = length;
    }
    Tensor { dims, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_format::graph::{Node, Recurrent, Reshape, Softmax, State, Stream, Unary};

    fn port(dims: &[&str]) -> Port {
        let dims = dims.iter().map(|&text| text.parse().map_or(Dim::named(text), i64::into));
        Port { value: 1, data_type: DataType::I64 as i32, dims: dims.collect() }
    }

    fn graph() -> Graph {
        Graph { values: vec!["".into(), "tokens".into()], ..Graph::default() }
    }

    #[test]
    fn the_time_axis_is_found_or_refused() {
        for (dims, expected) in [
            (&["seq"][..], Some((0, None))),
            (&["seq", "batch"], Some((0, None))),
            (&["batch_size", "length"], Some((1, None))),
            (&["35", "1"], Some((0, Some(35)))),
            (&["1", "35"], Some((1, Some(35)))),
            (&["1", "1"], Some((0, Some(1)))),
            (&["t", "1"], Some((0, None))),
            (&["1", "t"], Some((1, None))),
            (&["1", "batch"], Some((0, Some(1)))),
            (&["n", "1"], Some((1, Some(1)))),
            (&["batch", "35"], Some((1, Some(35)))),
            (&["35", "n"], Some((0, Some(35)))),
            (&["x", "y"], None),
            (&["35", "20"], None),
            (&["a", "b", "c"], None),
            (&[], None),
        ] {
            assert_eq!(time_axis(&graph(), &port(dims)).ok(), expected, "{dims:?}");
        }
    }

    #[test]
    fn a_declared_stream_decides() {
        let mut graph = graph();
        graph.streams = vec![Stream { value: 1, time_axis: 1, batch_axis: Some(0) }];
        assert_eq!(time_axis(&graph, &port(&["x", "y"])).ok(), Some((1, None)));
        assert!(time_axis(&graph, &port(&["20", "35"])).is_err());
        assert!(time_axis(&graph, &port(&["x"])).is_err());
    }

    #[test]
    fn a_softmax_is_seen_through_views() {
        let node = |op, input, output| Node {
            inputs: vec![input],
            outputs: vec![output],
            op: Some(op),
            ..Node::default()
        };
        let softmax = |log| Op::Softmax(Softmax { axis: 1, log });
        let reshape = || Op::Reshape(Reshape::default());
        let with = |nodes| Graph { nodes, ..Graph::default() };
        let graph = with(vec![node(softmax(false), 1, 2), node(reshape(), 2, 3)]);
        assert_eq!(scores(&graph, 3), Scores::Probabilities);
        assert_eq!(scores(&graph, 1), Scores::Logits);
        let graph = with(vec![node(softmax(true), 1, 2), node(reshape(), 2, 3)]);
        assert_eq!(scores(&graph, 3), Scores::Logits);
        let unary = Op::Unary(Unary::default());
        let graph = with(vec![node(softmax(false), 1, 2), node(unary, 2, 3)]);
        assert_eq!(scores(&graph, 3), Scores::Logits);
    }

    #[test]
    fn batches_and_last_steps_are_fed_token_by_token() {
        for (state, output, expected) in [
            (&["1", "batch", "8"][..], &["seq", "batch", "9"][..], false),
            (&["1", "1", "8"], &["seq", "9"], false),
            (&["seq", "8"], &["seq", "9"], true),
            (&["1", "batch", "8"], &["batch", "9"], true),
        ] {
            let mut graph = graph();
            graph.inputs = vec![Port { value: 2, ..port(state) }];
            let steps = |graph: &Graph| takes_steps(graph, &Dim::named("seq"), &port(output));
            assert!(!steps(&graph), "without states a text is read at once");
            graph.states = vec![State { input: 2, ..State::default() }];
            assert_eq!(steps(&graph), expected, "{state:?} {output:?}");
        }
    }

    #[test]
    fn a_layer_starts_anew_unless_states_give_all_it_starts_from() {
        // x, h, c, a half of h, and a layer that starts from that half and from c.
        let mut cut = Node { inputs: vec![2], outputs: vec![4], ..Node::default() };
        cut.op = Some(Op::Reshape(Reshape::default()));
        let layer = Recurrent { cell: Cell::Lstm as i32, ..Recurrent::default() };
        let mut lstm = Node { inputs: vec![1, 8, 9, 0, 0, 4, 3], ..Node::default() };
        lstm.op = Some(Op::Recurrent(Box::new(layer)));
        let state = |input| State { input, ..State::default() };
        let mut graph = Graph { nodes: vec![cut, lstm], ..Graph::default() };
        for (states, expected) in
            [(vec![2, 3], false), (vec![2], true), (vec![3], true), (vec![1, 3], true)]
        {
            graph.states = states.into_iter().map(state).collect();
            assert_eq!(starts_anew(&graph), expected, "{:?}", graph.states);
        }
        // An output that is not wanted gives nothing to an input that is not there.
        graph.states = vec![state(2), state(3)];
        graph.nodes[1].inputs[5] = ABSENT;
        graph.nodes[1].outputs = vec![5, ABSENT, 6];
        assert!(starts_anew(&graph));
    }

    #[test]
    fn a_short_batch_is_filled_with_its_last_item() {
        let tensor = Tensor { dims: vec![3, 2], data: Data::I64(vec![1, 2, 3, 4, 5, 6]) };
        let rows = rows(&tensor, 2, 2);
        assert_eq!(rows, Tensor { dims: vec![2, 2], data: Data::I64(vec![5, 6, 5, 6]) });
    }
}
