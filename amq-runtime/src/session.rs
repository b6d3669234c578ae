//! Sessions: one stream of calls, with its memory and its state.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::call::Memory;
use crate::error::{Error, Fault, MisfitKind};
use crate::frame::{Frame, Means, copy};
use crate::infer::list;
use crate::kernels::NAN;
use crate::model::{Model, StatePort};
use crate::probe::Probe;
use crate::product::Meter;
use crate::program::Port;
use crate::values::Given;
use crate::view::{Buffer, Data, DataMut, View};
use crate::workers::{Alone, Workers};

mod inputs;
mod saved;
mod state;
mod taken;

use inputs::{Key, holds_no_bool};
pub(crate) use saved::Kept;
pub use taken::MemoryTaken;

/// One stream of calls to a [`Model`].
///
/// The first call with a set of input shapes plans it and takes memory; later ones, as long as no
/// more than four sets alternate, allocate nothing. Results are the same whatever came before.
pub struct Session {
    model: Arc<Model>,
    frame: Frame,
    memory: Memory,
    workers: Arc<dyn Workers>,
    /// State between steps, one for each of the model's; empty before the first.
    states: Vec<Kept>,
    /// For each graph input, which of those given it is; in a step also which state, counted on from these.
    order: Vec<Option<usize>>,
    /// Whether the last call gave outputs.
    answered: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |(state, kept): (&StatePort, &Kept)| {
            (self.model.inputs()[state.input].name.clone(), kept.dims.clone())
        };
        let states: Vec<_> = self.model.states().iter().zip(&self.states).map(shape).collect();
        f.debug_struct("Session")
            .field("model", &self.model)
            .field("states", &states)
            .finish_non_exhaustive()
    }
}

/// The inputs of a call, and in a step the states that were kept.
struct Inputs<'a, K> {
    views: &'a [(K, View<'a>)],
    kept: &'a [Kept],
    /// For each graph input, which of the views and, beyond them, of the states it is.
    order: &'a [Option<usize>],
}

impl<K> Given for Inputs<'_, K> {
    fn input(&self, i: usize) -> Option<Data<'_>> {
        let at = self.order[i]?;
        Some(match self.views.get(at) {
            Some((_, view)) => view.data,
            None => self.kept[at - self.views.len()].elements.data(usize::MAX),
        })
    }
}

/// The outputs of a call. They borrow the session's memory.
pub struct Outputs<'a> {
    ports: &'a [Port],
    frame: &'a Frame,
    /// The model's states, and their values, among which some of the outputs lie.
    states: &'a [StatePort],
    kept: &'a [Kept],
}

impl<'a> Outputs<'a> {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<View<'a>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, view)| view)
    }

    /// The output of this number: its place among [`Model::outputs`], which
    /// [`Model::output_number`] finds.
    pub fn at(&self, number: usize) -> Option<View<'a>> {
        (number < self.ports.len()).then(|| output(self.frame, self.states, self.kept, number))
    }

    /// Names and outputs, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, View<'a>)> + use<'a> {
        let Outputs { ports, frame, states, kept } = *self;
        let outputs = ports.iter().enumerate();
        outputs.map(move |(i, port)| (port.name.as_str(), output(frame, states, kept, i)))
    }
}

/// An output, which may lie among the states.
fn output<'a>(
    frame: &'a Frame,
    states: &'a [StatePort],
    kept: &'a [Kept],
    number: usize,
) -> View<'a> {
    let mut kept = states.iter().zip(kept);
    match kept.find(|(state, kept)| kept.is_output && state.output == number) {
        Some((_, Kept { dims, elements, .. })) => View { dims, data: elements.data(usize::MAX) },
        None => frame.output(number),
    }
}

impl fmt::Debug for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Session {
    /// A session without state. It takes memory when it is first called.
    pub fn new(model: Arc<Model>) -> Session {
        Session::with_workers(model, Arc::new(Alone))
    }

    /// A session whose products are shared among threads that the caller lends. Results do not depend
    /// on them; each takes working memory.
    pub fn with_workers(model: Arc<Model>, workers: Arc<dyn Workers>) -> Session {
        Session {
            memory: Memory::new(workers.count()),
            workers,
            order: Vec::with_capacity(model.inputs().len()),
            frame: Frame::new(),
            states: Vec::new(),
            answered: false,
            model,
        }
    }

    /// The model that it calls.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Computes all outputs from inputs given by name. States that are not given take their initial
    /// values; the session's own state is neither used nor changed.
    ///
    /// # Errors
    /// [`Error::Input`] where inputs are not what the model takes, [`Error::Memory`] where they are
    /// too large, [`Error::Node`] where a node cannot work on the data, such as an index out of range.
    pub fn run(&mut self, inputs: &[(&str, View<'_>)]) -> Result<Outputs<'_>, Error> {
        self.call(inputs, false, None)?;
        Ok(self.answer())
    }

    /// As [`run`](Session::run), and shows a probe what is computed. Results are the same. The first
    /// such call with a set of input shapes plans it anew: each node is computed apart.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), amq_runtime::Error> {
    /// # let mut session: amq_runtime::Session = unimplemented!();
    /// use amq_runtime::{Probe, Product, View};
    ///
    /// /// The mean square of what enters each product.
    /// #[derive(Default)]
    /// struct Squares(Vec<(usize, f32)>);
    ///
    /// impl Probe for Squares {
    ///     fn product(&mut self, product: &Product<'_>) {
    ///         let sum: f32 = product.vectors.iter().map(|x| x * x).sum();
    ///         self.0.push((product.node, sum / product.vectors.len() as f32));
    ///     }
    /// }
    ///
    /// let mut squares = Squares::default();
    /// session.run_with(&[("tokens", View::i64(&[1, 1], &[7]))], &mut squares)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn run_with(
        &mut self,
        inputs: &[(&str, View<'_>)],
        probe: &mut dyn Probe,
    ) -> Result<Outputs<'_>, Error> {
        self.call(inputs, false, Some(probe))?;
        Ok(self.answer())
    }

    /// Computes all outputs from those inputs that are no states; states come from the step before,
    /// or are initial in the first, and go to the next.
    ///
    /// # Errors
    /// As [`run`](Session::run); [`Error::State`] where a state is given, or would change its shape.
    /// After an error the state is what it was before.
    pub fn step(&mut self, inputs: &[(&str, View<'_>)]) -> Result<Outputs<'_>, Error> {
        self.call(inputs, true, None)?;
        Ok(self.answer())
    }

    /// As [`step`](Session::step), and shows a probe what is computed, as
    /// [`run_with`](Session::run_with) does.
    ///
    /// # Errors
    /// As [`step`](Session::step).
    pub fn step_with(
        &mut self,
        inputs: &[(&str, View<'_>)],
        probe: &mut dyn Probe,
    ) -> Result<Outputs<'_>, Error> {
        self.call(inputs, true, Some(probe))?;
        Ok(self.answer())
    }

    /// As [`run`](Session::run), with inputs given by number: their places among [`Model::inputs`], which
    /// [`Model::input_number`] finds once.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn run_by_number(&mut self, inputs: &[(usize, View<'_>)]) -> Result<Outputs<'_>, Error> {
        self.call(inputs, false, None)?;
        Ok(self.answer())
    }

    /// As [`step`](Session::step), with inputs given by number, as
    /// [`run_by_number`](Session::run_by_number) takes them.
    ///
    /// # Errors
    /// As [`step`](Session::step).
    pub fn step_by_number(&mut self, inputs: &[(usize, View<'_>)]) -> Result<Outputs<'_>, Error> {
        self.call(inputs, true, None)?;
        Ok(self.answer())
    }

    /// Times what the quantization of activations takes of the calls that follow, on the caller's thread, by
    /// a clock of which only differences tell. Results are the same.
    pub fn meter_quantization(&mut self, now: fn() -> Duration) {
        self.memory.scratch.meter = Some(Meter { now, taken: Duration::ZERO });
    }

    /// What the quantization of activations took since [`meter_quantization`](Session::meter_quantization).
    pub fn quantization_time(&self) -> Duration {
        self.memory.scratch.meter.map_or(Duration::ZERO, |meter| meter.taken)
    }

    /// Forgets the state: the next step starts from the initial one.
    pub fn reset(&mut self) {
        self.part_outputs();
        self.states.clear();
    }

    /// The state: names of the inputs that take it, and what the next step starts from. None before the first.
    pub fn states(&self) -> impl Iterator<Item = (&str, View<'_>)> {
        let ports = self.model.inputs();
        self.model.states().iter().zip(&self.states).map(|(state, Kept { dims, elements, .. })| {
            (ports[state.input].name.as_str(), View { dims, data: elements.data(usize::MAX) })
        })
    }

    /// The state as bytes, for [`restore`](Session::restore) in a session of the same file, on
    /// whatever machine.
    pub fn save(&self) -> Vec<u8> {
        saved::save(&self.model, &self.states)
    }

    /// Continues from a state that was saved.
    ///
    /// # Errors
    /// [`Error::State`] where the bytes are not the state of a session of the same file; the state
    /// is then what it was before.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let states = saved::restore(&self.model, bytes)?;
        self.part_outputs();
        self.states = states;
        Ok(())
    }

    /// The outputs that the last call gave, for those who cannot hold what it returned; none before the
    /// first and after an error.
    pub fn outputs(&self) -> Option<Outputs<'_>> {
        self.answered.then(|| self.answer())
    }

    fn answer(&self) -> Outputs<'_> {
        let (ports, states) = (self.model.outputs(), self.model.states());
        Outputs { ports, frame: &self.frame, states, kept: &self.states }
    }

    fn call<K: Key>(
        &mut self,
        inputs: &[(K, View<'_>)],
        stepping: bool,
        probe: Option<&mut dyn Probe>,
    ) -> Result<(), Error> {
        self.forget_outputs();
        self.compute(inputs, stepping, probe)?;
        if stepping {
            self.keep_states()?;
        }
        self.answered = true;
        Ok(())
    }

    fn compute<K: Key>(
        &mut self,
        inputs: &[(K, View<'_>)],
        stepping: bool,
        probe: Option<&mut dyn Probe>,
    ) -> Result<(), Error> {
        self.sort(inputs)?;
        if stepping {
            self.check_states_absent()?;
        }
        let Session { model, frame, memory, order, .. } = self;
        let dims = |i: usize| Some(inputs[order[i]?].1.dims);
        frame.plan(model.program(), dims, probe.is_some(), memory, model.max_arena_bytes)?;
        if stepping {
            self.check_state_shapes()?;
        }
        let Session { model, frame, memory, workers, states, order, .. } = self;
        let (program, target) = (model.program(), model.target());
        let mut means = Means { target, memory, workers: &**workers, probe };
        for (i, state) in model.states().iter().enumerate() {
            if stepping && i < states.len() {
                order[state.input] = Some(inputs.len() + i);
                continue;
            }
            let started = frame.start(program, i, &mut means);
            started.map_err(|Fault(what)| Error::state(MisfitKind::Shape, "", what))?;
        }
        let scratch = &mut means.memory.scratch;
        scratch.order = scratch.order.reversed();
        scratch.budget.iterations = model.max_iterations;
        frame.run(program, &Inputs { views: inputs, kept: states, order }, &mut means)?;
        for i in 0..program.outputs.len() {
            if frame.is_canonical(i) {
                continue;
            }
            if let DataMut::F32(elements) = frame.output_mut(i) {
                target.vectorize(
                    #[inline(always)]
                    || {
                        // Seldom: elements that are right are not written.
                        if elements.iter().fold(false, |any, x| any | x.is_nan()) {
                            elements
                                .iter_mut()
                                .for_each(|x| *x = if x.is_nan() { NAN } else { *x });
                        }
                    },
                );
            }
        }
        Ok(())
    }

    /// Finds each input among those given, and checks types and numbers of elements.
    fn sort<K: Key>(&mut self, inputs: &[(K, View<'_>)]) -> Result<(), Error> {
        let ports = self.model.inputs();
        self.order.clear();
        self.order.resize(ports.len(), None);
        for (i, (key, view)) in inputs.iter().enumerate() {
            let number = key.number(ports).ok_or_else(|| {
                let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
                let (name, names) = (key.shown(), list(&names));
                let what = format!("there is no input {name}; the inputs are {names}");
                Error::input(MisfitKind::Unknown, &name, what)
            })?;
            let Port { name, data_type: expected, .. } = &ports[number];
            let fail = |kind, what| Err(Error::input(kind, name, what));
            if self.order[number].replace(i).is_some() {
                return fail(MisfitKind::Given, format!("input {name} is given twice"));
            }
            let found = view.data.data_type();
            if found != *expected {
                let (found, expected) = (found.name(), expected.name());
                let what = format!("input {name} is {found}, it must be {expected}");
                return fail(MisfitKind::Type, what);
            }
            let len = view.dims.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
            if len != Some(view.data.len()) {
                let (count, shape) = (view.data.len(), list(view.dims));
                let what =
                    format!("input {name} has {count} elements, which are not shape {shape}");
                return fail(MisfitKind::Shape, what);
            }
            if holds_no_bool(view.data) {
                let what = format!("a bool of input {name} is neither 0 nor 1");
                return fail(MisfitKind::Value, what);
            }
        }
        Ok(())
    }

    fn check_states_absent(&self) -> Result<(), Error> {
        match self.model.states().iter().find(|state| self.order[state.input].is_some()) {
            Some(state) => {
                let name = &self.model.inputs()[state.input].name;
                let what =
                    format!("state {name} is given, but steps take it from the session: use run");
                Err(Error::state(MisfitKind::Given, name, what))
            }
            None => Ok(()),
        }
    }

    /// States must keep the shape that they have.
    fn check_state_shapes(&self) -> Result<(), Error> {
        for (state, (i, needed)) in
            self.model.states().iter().zip(self.frame.states().iter().enumerate())
        {
            let Some(needed) = needed else { continue };
            let name = &self.model.inputs()[state.input].name;
            if let Some(kept) = self.states.get(i)
                && kept.dims != needed.dims
            {
                let (kept, needed) = (list(&kept.dims), list(&needed.dims));
                let what = format!(
                    "state {name} has shape {kept} from the steps before, these inputs need \
                     {needed}: reset the session to start anew"
                );
                return Err(Error::state(MisfitKind::Shape, name, what));
            }
            // A size that a node gives is no state's.
            let Some(next) = self.frame.output_dims(state.output) else { continue };
            if next != needed.dims {
                let (next, needed) = (list(next), list(&needed.dims));
                let what = format!("state {name} would change its shape from {needed} to {next}");
                return Err(Error::state(MisfitKind::Shape, name, what));
            }
        }
        Ok(())
    }

    /// Takes the next state from the outputs.
    fn keep_states(&mut self) -> Result<(), Error> {
        let Session { model, frame, states, .. } = self;
        let first = states.is_empty();
        for (i, state) in model.states().iter().enumerate() {
            let View { dims, data } = frame.output(state.output);
            if first {
                let mut elements = Buffer::new(data.data_type());
                if !elements.grow(data.len()) {
                    states.clear();
                    return Err(saved::no_memory(&model.inputs()[state.input].name));
                }
                states.push(Kept { dims: dims.to_vec(), elements, is_output: false });
            }
            let Kept { elements, is_output, .. } = &mut states[i];
            *is_output = frame.exchange(state.output, elements);
            if !*is_output {
                let View { data, .. } = frame.output(state.output);
                copy(data, elements.data_mut(data.len()));
            }
        }
        Ok(())
    }

    /// Before a call: there are no outputs any more.
    fn forget_outputs(&mut self) {
        self.answered = false;
        self.states.iter_mut().for_each(|kept| kept.is_output = false);
    }

    /// Before states change: outputs that lie among them become the frame's, where they are.
    fn part_outputs(&mut self) {
        let Session { model, frame, states, .. } = self;
        for (state, kept) in model.states().iter().zip(states) {
            if core::mem::take(&mut kept.is_output) {
                copy(kept.elements.data(usize::MAX), frame.output_mut(state.output));
                frame.exchange(state.output, &mut kept.elements);
            }
        }
    }
}
