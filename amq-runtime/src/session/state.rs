//! States, one by one.

use alloc::format;
use alloc::vec::Vec;

use super::Session;
use super::inputs::holds_no_bool;
use super::saved::Kept;
use crate::error::{Error, MisfitKind};
use crate::frame::copy;
use crate::infer::list;
use crate::view::View;

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
        let Some(Kept { dims, elements }) = self.states.get_mut(at) else {
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
        copy(value.data, elements.data_mut(len));
        Ok(())
    }
}
