//! States: one by one, and for those who keep them elsewhere.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Session;
use super::inputs::holds_no_bool;
use super::saved::Kept;
use crate::error::{Error, Fault, MisfitKind};
use crate::frame::{Means, copy};
use crate::infer::list;
use crate::view::{Buffer, View};

impl Session {
    /// One state by the name of the input that takes it: what the next step starts from. None before the
    /// first step, and where the model has no such state.
    pub fn state(&self, name: &str) -> Option<View<'_>> {
        self.states().find(|(other, _)| *other == name).map(|(_, view)| view)
    }

    /// Puts another value of the same type and shape in the place of one state, by the name of the input that
    /// takes it: the next step starts from it.
    ///
    /// # Errors
    /// [`Error::State`] where there is no such state, or none yet because no step was taken, and where the
    /// value has another type or shape or is no value of that type. The state is then what it was.
    pub fn set_state(&mut self, name: &str, value: View<'_>) -> Result<(), Error> {
        let ports = self.model.inputs();
        let fail = |kind, what| Err(Error::state(kind, name, what));
        let mut states = self.model.states().iter();
        let Some(at) = states.position(|state| ports[state.input].name == name) else {
            let names = self.model.states().iter().map(|state| ports[state.input].name.as_str());
            let names = list(&names.collect::<Vec<_>>());
            return fail(
                MisfitKind::Unknown,
                format!("there is no state {name}; the states are {names}"),
            );
        };
        let port = &ports[self.model.states()[at].input];
        let Some(Kept { dims, .. }) = self.states.get(at) else {
            let what = format!("state {name} has no value to replace before the first step");
            return fail(MisfitKind::Missing, what);
        };
        if value.data.data_type() != port.data_type {
            let (found, expected) = (value.data.data_type().name(), port.data_type.name());
            let what = format!("state {name} is {expected}, the value is {found}");
            return fail(MisfitKind::Type, what);
        }
        let len: usize = dims.iter().product();
        if value.dims != dims.as_slice() || value.data.len() != len {
            let (found, expected) = (list(value.dims), list(dims));
            let what = format!("state {name} has shape {expected}, the value {found}");
            return fail(MisfitKind::Shape, what);
        }
        if holds_no_bool(value.data) {
            return fail(MisfitKind::Value, format!("a bool of state {name} is neither 0 nor 1"));
        }
        self.part_outputs();
        copy(value.data, self.states[at].elements.data_mut(len));
        Ok(())
    }

    /// The state, for those who keep it elsewhere; empty where the next step starts from the initial one.
    pub(crate) fn kept(&self) -> &[Kept] {
        &self.states
    }

    /// The same, to be changed: as many as the model has, or none.
    pub(crate) fn kept_mut(&mut self) -> &mut Vec<Kept> {
        self.part_outputs();
        &mut self.states
    }

    /// The states that a first step with these inputs starts from.
    ///
    /// # Errors
    /// As [`step`](Session::step).
    pub(crate) fn begin(&mut self, inputs: &[(&str, View<'_>)]) -> Result<Vec<Kept>, Error> {
        // Another plan may have other outputs.
        self.forget_outputs();
        self.sort(inputs)?;
        self.check_states_absent()?;
        let Session { model, frame, memory, workers, order, .. } = self;
        let dims = |i: usize| Some(inputs[order[i]?].1.dims);
        frame.plan(model.program(), dims, false, memory, model.max_arena_bytes)?;
        let mut means = Means { target: model.target(), memory, workers: &**workers, probe: None };
        let mut begun = Vec::with_capacity(model.states().len());
        for (i, state) in model.states().iter().enumerate() {
            let started = frame.start(model.program(), i, &mut means);
            started.map_err(|Fault(what)| Error::state(MisfitKind::Shape, "", what))?;
            let name = &model.inputs()[state.input].name;
            let fail =
                |kind, what: String| Error::state(kind, name, format!("{what} the state {name}"));
            let unread = || fail(MisfitKind::Model, String::from("nothing reads"));
            let View { dims, data } = frame.state(i).ok_or_else(unread)?;
            let mut elements = Buffer::new(data.data_type());
            if !elements.grow(data.len()) {
                return Err(fail(MisfitKind::Memory, String::from("there is no memory for")));
            }
            copy(data, elements.data_mut(data.len()));
            begun.push(Kept { dims: dims.to_vec(), elements, is_output: false });
        }
        Ok(begun)
    }
}
