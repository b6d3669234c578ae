//! A text read by a language model as one stream: in chunks or step by step, its states carried along.

use amq_format::graph::{DataType, Graph, Port, ValueId};
use amq_runtime::{Probe, Session};

use super::time::{takes_steps, time_axis};
use crate::error::{Error, Result};
use crate::loaded::{Loaded, port_text};
use crate::tensor::{Data, Tensor};

/// Which input takes the tokens and which output gives the scores, where a model leaves a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortNames<'a> {
    /// The only integer input that is no state, unless named.
    pub input: Option<&'a str>,
    /// The only float output that is no state and has a score for each entry, unless named.
    pub output: Option<&'a str>,
}

/// Receives rows of scores, one for each token fed.
pub type Receive<'a> = &'a mut dyn FnMut(&[f32]) -> Result<()>;

/// A language model that reads a text as one stream.
#[derive(Debug)]
pub struct TextReader<'a> {
    loaded: &'a Loaded,
    input: &'a Port,
    output: &'a Port,
    classes: usize,
    time_axis: usize,
    /// Steps of each call, where the model fixes them.
    fixed: Option<usize>,
    session: Session,
}

/// Tokens fed at once to a model that carries states.
pub(super) const PIECE: usize = 64;
/// Tokens that a model without states may be fed at once.
const MAX_AT_ONCE: usize = 4096;

impl<'a> TextReader<'a> {
    /// Finds how to feed the model tokens of a vocabulary of `classes` entries.
    ///
    /// # Errors
    /// No input for tokens or more than one, another input that is no state, no output with a score
    /// for each entry or more than one, and what [`time_axis`] refuses.
    pub fn new(loaded: &'a Loaded, classes: usize, names: PortNames<'_>) -> Result<TextReader<'a>> {
        let file = || loaded.path.display();
        let integers: Vec<&Port> = loaded.inputs().filter(|port| is_integer(port)).collect();
        let ports = &loaded.graph().inputs;
        let input = loaded.pick("input", "--input", names.input, ports, &integers)?;
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
        let fits = |port: &Port| {
            let last = port.dims.last().map(|dim| dim.as_size());
            port.data_type() == DataType::F32
                && last.is_some_and(|size| size.is_none_or(|size| size == classes as i64))
        };
        let fitting: Vec<&Port> = loaded.outputs().filter(|port| fits(port)).collect();
        let ports = &loaded.graph().outputs;
        if fitting.is_empty() || names.output.is_some() {
            let all: Vec<&Port> = loaded.outputs().collect();
            let output = loaded.pick("output", "--output", names.output, ports, &all)?;
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
        let output = loaded.pick("output", "--output", names.output, ports, &fitting)?;
        let graph = loaded.graph();
        let (time_axis, mut fixed) =
            time_axis(graph, input).map_err(|error| error.within(file()))?;
        if fixed.is_none() && takes_steps(graph, &input.dims[time_axis], output) {
            fixed = Some(1);
        }
        let session = loaded.session();
        Ok(TextReader { loaded, input, output, classes, time_axis, fixed, session })
    }

    /// The output that gives the scores.
    pub fn output(&self) -> ValueId {
        self.output.value
    }

    /// The input that takes the tokens, and its axis along which they follow each other.
    pub fn input(&self) -> (&Port, usize) {
        (self.input, self.time_axis)
    }

    /// Entries of the vocabulary: scores after each token.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The model's graph.
    pub fn graph(&self) -> &Graph {
        self.loaded.graph()
    }

    /// Steps of each call, where the model fixes them.
    pub fn fixed(&self) -> Option<usize> {
        self.fixed
    }

    /// Tokens to feed at once, of a text of which `predicted` are fed.
    ///
    /// # Errors
    /// More tokens than a model without states can read in one call.
    pub fn piece(&self, predicted: usize) -> Result<usize> {
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

    /// The bits of the scores after each token of some pieces, read from the initial states, which
    /// are left.
    ///
    /// # Errors
    /// As [`TextReader::feed`].
    pub fn anew(&mut self, pieces: &[&[i64]]) -> Result<Vec<u32>> {
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

    /// Feeds tokens after those fed before, as many in a call as the model takes, and hands on the
    /// scores after each: one for each class, unless the model gives another number of them.
    ///
    /// # Errors
    /// Tokens that the model cannot take, and what `receive` refuses.
    pub fn feed(&mut self, tokens: &[i64], receive: Receive<'_>) -> Result<()> {
        let most = self.fixed.unwrap_or(tokens.len()).max(1);
        tokens.chunks(most).try_for_each(|tokens| self.call(tokens, receive))
    }

    /// The inputs of the call that feeds the first of these tokens, as many as the model takes at once.
    pub fn inputs(&self, tokens: &[i64]) -> Vec<(String, Tensor)> {
        let most = self.fixed.unwrap_or(PIECE).min(tokens.len());
        vec![(self.loaded.name(self.input.value).to_owned(), self.tensor(&tokens[..most]))]
    }

    /// Feeds tokens as [`TextReader::feed`] does, and shows a probe what the model computes.
    ///
    /// # Errors
    /// Tokens that the model cannot take.
    pub fn feed_with(&mut self, tokens: &[i64], probe: &mut dyn Probe) -> Result<()> {
        let most = self.fixed.unwrap_or(tokens.len()).max(1);
        for tokens in tokens.chunks(most) {
            let tensor = self.tensor(tokens);
            let inputs = [(self.loaded.name(self.input.value), tensor.view())];
            let outputs = self.session.step_with(&inputs, probe);
            outputs.map_err(|error| self.loaded.error(error))?;
        }
        Ok(())
    }

    /// Goes back to the initial states.
    pub fn reset(&mut self) {
        self.session.reset();
    }

    fn call(&mut self, tokens: &[i64], receive: Receive<'_>) -> Result<()> {
        let tensor = self.tensor(tokens);
        let inputs = [(self.loaded.name(self.input.value), tensor.view())];
        let outputs = self.session.step(&inputs).map_err(|error| self.loaded.error(error))?;
        let output = outputs.get(self.loaded.name(self.output.value));
        let scores = output.and_then(|view| view.as_f32()).unwrap_or_default();
        let steps = self.fixed.unwrap_or(tokens.len());
        match scores.len() == steps * self.classes {
            true => receive(&scores[..tokens.len() * self.classes]),
            false => receive(scores),
        }
    }

    /// Tokens as the model takes them in a call.
    fn tensor(&self, tokens: &[i64]) -> Tensor {
        let steps = self.fixed.unwrap_or(tokens.len());
        let mut dims = vec![1; self.input.dims.len()];
        dims[self.time_axis] = steps;
        // Only the last piece is ever too short: what follows the text changes nothing before it.
        let padded = tokens.iter().copied().chain(std::iter::repeat(0)).take(steps);
        let data = match self.input.data_type() {
            DataType::I32 => Data::I32(padded.map(|id| id as i32).collect()),
            _ => Data::I64(padded.collect()),
        };
        Tensor { dims, data }
    }
}

fn is_integer(port: &Port) -> bool {
    matches!(port.data_type(), DataType::I64 | DataType::I32)
}
