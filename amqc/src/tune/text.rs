//! A text as a language model learns it: as several streams, their states carried along.

use amq_format::graph::{Dim, ValueId};
use amq_runtime::Session;
use sha2::{Digest, Sha256};

use super::carried::Carried;
use super::dropout::Dropout;
use super::lesson::{Figure, Learn, Lesson, Measure};
use super::loss::{Targets, of_scores};
use super::params::Params;
use super::tape::{Tape, floats};
use crate::error::{Error, Result};
use crate::eval::{Scores, perplexity};
use crate::feed::stream::{PortNames, TextReader};
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::logits::behind;
use crate::random::SplitMix64;
use crate::tensor::{Data, Tensor, views};

/// How a text is learned.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Streams that the text is divided into, unless the model takes one.
    pub batch: usize,
    /// Tokens of each that gradients go back through, unless the model fixes how many it takes.
    pub span: usize,
    /// How much of the loss is the divergence from the float model, 0 to 1; the rest is cross-entropy with the next
    /// token.
    pub share: f64,
    /// Of the elements that enter the product that gives the scores of a text, the share that is left out in a step.
    pub dropout: f64,
}

/// A text to learn, and one to choose by, as numbers of a vocabulary of so many entries.
#[derive(Clone, Debug)]
pub struct Texts {
    /// What is learned.
    pub learned: Vec<i64>,
    /// What students are judged by.
    pub valid: Vec<i64>,
    /// Entries of the vocabulary.
    pub classes: usize,
}

/// A text, and how far it has been read.
pub(super) struct Text<'a> {
    float: &'a Loaded,
    session: Session,
    texts: &'a Texts,
    scores: Scores,
    reading: Reading,
    input: ValueId,
    input_name: String,
    output: ValueId,
    output_name: String,
    /// The product that gives the scores.
    product: Option<usize>,
    /// Axis of time, and how many there are.
    axes: (usize, usize),
    states: Carried,
    seed: u64,
    /// Times that the text was read, and pieces of the next that were.
    epoch: u64,
    piece: usize,
}

impl<'a> Text<'a> {
    /// A text before its first token, for the network of `module`, whose float model is `float`.
    ///
    /// # Errors
    /// A model that [`TextReader`] cannot feed or that orders its scores in another way than its tokens, states that are
    /// no floats, and too short a text.
    pub(super) fn new(
        float: &'a Loaded,
        module: &Module,
        texts: &'a Texts,
        mut reading: Reading,
        seed: u64,
    ) -> Result<Text<'a>> {
        let Texts { learned: tokens, classes, .. } = texts;
        let classes = *classes;
        let within = |error: Error| error.within(float.path.display());
        let reader = TextReader::new(float, classes, PortNames::default())?;
        let (port, time_axis) = reader.input();
        let output = float.outputs().find(|port| port.value == reader.output());
        let lead = output.map(|port| &port.dims[..port.dims.len() - 1]).unwrap_or_default();
        if lead.len() > 1 && lead != port.dims.as_slice() {
            let name = float.name(reader.output());
            return Err(within(Error::unsupported(format!(
                "tune needs scores in the order of the tokens, {name:?} has them in another"
            ))));
        }
        if let Some(steps) = reader.fixed() {
            reading.span = steps;
        }
        let others = port.dims.iter().enumerate().filter(|&(axis, _)| axis != time_axis);
        if others.into_iter().all(|(_, dim)| dim.as_size().is_some()) {
            reading.batch = 1;
        }
        let number = |name: &str| {
            let of = |value: &String| value == name;
            let value = module.graph.values.iter().position(of).unwrap_or_default();
            value as ValueId
        };
        let scores = Scores::of(float.graph(), reader.output());
        let sizes = |name: &str| {
            let axis = port.dims.iter().position(|dim| dim.as_name() == Some(name))?;
            Some(Dim::from(if axis == time_axis { reading.span } else { reading.batch } as i64))
        };
        let states = Carried::new(module, &sizes).map_err(within)?;
        let (input_name, output_name) =
            (float.name(port.value).to_owned(), float.name(reader.output()).to_owned());
        let output = number(&output_name);
        let text = Text {
            session: float.session(),
            float,
            texts,
            scores,
            reading,
            input: number(&input_name),
            output,
            input_name,
            output_name,
            product: behind(&module.graph, output, true),
            axes: (time_axis, port.dims.len()),
            states,
            seed,
            epoch: 0,
            piece: 0,
        };
        if text.pieces() == 0 {
            return Err(Error::bad_file(format!(
                "a text of {} tokens is too short for {} streams of {} tokens",
                tokens.len(),
                text.reading.batch,
                text.reading.span
            ))
            .remedy("give a longer text, or a smaller --batch or --span"));
        }
        Ok(text)
    }

    /// What is left out in this step.
    fn dropout(&self) -> Option<Dropout> {
        let share = self.reading.dropout as f32;
        let place = (self.epoch << 32).wrapping_add(self.piece as u64);
        let seed = SplitMix64(self.seed ^ SplitMix64(place).next()).next();
        self.product.filter(|_| share > 0.0).map(|node| Dropout { node, share, seed })
    }

    /// Tokens before the first stream: each time the text is read, pieces begin elsewhere.
    fn offset(&self) -> usize {
        match self.epoch {
            0 => 0,
            epoch => SplitMix64(self.seed.wrapping_add(epoch << 32)).below(self.reading.span),
        }
    }

    /// Tokens of a stream.
    fn stream(&self) -> usize {
        (self.texts.learned.len().saturating_sub(1 + self.offset())) / self.reading.batch
    }

    /// Pieces of which a stream is read.
    pub(super) fn pieces(&self) -> usize {
        self.stream() / self.reading.span
    }

    /// The next piece's tokens and those that follow each.
    fn next(&mut self) -> (Tensor, Vec<usize>) {
        if self.piece >= self.pieces() {
            (self.epoch, self.piece) = (self.epoch + 1, 0);
        }
        if self.piece == 0 {
            self.states.begin();
        }
        let Reading { batch, span, .. } = self.reading;
        let (time, rank) = self.axes;
        let first = self.offset() + self.piece * span;
        let stream = self.stream();
        let at = |index: usize| match (rank, time) {
            (1, _) => first + index,
            (_, 0) => first + index / batch + index % batch * stream,
            _ => first + index % span + index / span * stream,
        };
        let places: Vec<usize> = (0..batch * span).map(at).collect();
        let ids = places.iter().map(|&at| self.texts.learned[at]).collect();
        let dims = match (rank, time) {
            (1, _) => vec![span],
            (_, 0) => vec![span, batch],
            _ => vec![batch, span],
        };
        self.piece += 1;
        let labels = places.iter().map(|&at| self.texts.learned[at + 1] as usize).collect();
        (Tensor { dims, data: Data::I64(ids) }, labels)
    }

    /// What the float model is given for these tokens.
    fn of_teacher(&self, tokens: &Tensor) -> Vec<(String, Tensor)> {
        let tokens = (self.input_name.clone(), tokens.clone());
        self.states.of_teacher().chain([tokens]).collect()
    }
}

impl Learn for Text<'_> {
    fn learn(&mut self, tape: &mut Tape<'_>, params: &mut Params) -> Result<f64> {
        let (tokens, labels) = self.next();
        let share = self.reading.share;
        let of_teacher = self.of_teacher(&tokens);
        let inputs = self.states.of_student().chain([(self.input, tokens)]).collect();
        tape.drop_out(self.dropout());
        let room = tape.room();
        tape.forward(params, inputs)?;
        let scores = floats(tape.value(self.output))?;
        if scores.len() != labels.len() * self.texts.classes {
            return Err(Error::unsupported("tune needs a prediction after every token")
                .within(self.float.path.display()));
        }
        let outputs = match share > 0.0 {
            true => Some(self.session.run(&views(&of_teacher)).map_err(|e| self.float.error(e))?),
            false => None,
        };
        let of_output = outputs.as_ref().and_then(|outputs| outputs.get(&self.output_name));
        let teacher = of_output.and_then(|view| view.as_f32());
        let targets = Targets { labels: Some(&labels), teacher, share: share as f32 };
        let (loss, gradient) = of_scores(self.scores, self.texts.classes, scores, targets, room);
        self.states.follow_student(tape);
        if let Some(outputs) = &outputs {
            self.states.follow_teacher(outputs);
        }
        tape.backward(params, vec![(self.output, gradient)])?;
        Ok(loss)
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend(self.epoch.to_le_bytes());
        to.extend((self.piece as u64).to_le_bytes());
        self.states.save(to);
    }

    fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.epoch = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?);
        self.piece = u64::from_le_bytes(from.split_off(..8)?.try_into().ok()?) as usize;
        self.states.restore(from)
    }
}

impl Lesson for Text<'_> {
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.output]
    }

    fn measure(&self) -> Measure {
        Measure::Perplexity
    }

    fn judge(&self, student: &Loaded) -> Result<Figure> {
        let Texts { valid, classes, .. } = self.texts;
        let found = perplexity(student, *classes, valid, PortNames::default())?;
        Ok(Figure::Perplexity(found.perplexity))
    }

    fn by_output(&self, _: &Loaded) -> Result<Vec<(String, f64)>> {
        Ok(Vec::new())
    }

    fn identify(&self, digest: &mut Sha256) {
        let Texts { learned, valid, classes } = self.texts;
        digest.update(format!("{classes}"));
        for text in [learned, valid] {
            digest.update((text.len() as u64).to_le_bytes());
            text.iter().for_each(|token| digest.update(token.to_le_bytes()));
        }
    }
}
