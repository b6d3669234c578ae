//! Where the values of a call lie.

use amq_format::graph::ValueId;

use crate::constant::Constant;
use crate::view::{Buffer, Data};

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nowhere: it is absent, or kept by the nodes that need it.
    Nowhere,
    /// In the caller's memory: number of the graph input.
    Given(usize),
    /// In the model.
    Constant(ValueId),
    /// In a slot of the session.
    Slot(usize),
    /// A state: what is given as this graph input, or its initial value in a slot.
    State {
        /// Number of the graph input.
        port: usize,
        /// The slot.
        slot: usize,
    },
}

/// Where a value lies, and its number of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Source,
    pub(crate) len: usize,
}

/// Where an output is written: the first elements of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) slot: usize,
    pub(crate) len: usize,
}

/// What a program's caller gives.
pub(crate) trait Given {
    /// The elements of a graph input, if they are given.
    fn input(&self, i: usize) -> Option<Data<'_>>;
}

/// Nothing is given.
pub(crate) struct Nothing;

impl Given for Nothing {
    fn input(&self, _: usize) -> Option<Data<'_>> {
        None
    }
}

/// All values that can be read at one moment of a call.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) places: &'a [Place],
    pub(crate) slots: &'a [Buffer],
    pub(crate) constants: &'a [Option<Constant>],
    pub(crate) given: &'a dyn Given,
}

impl<'a> Values<'a> {
    /// The elements of a value, if there is one.
    pub(crate) fn get(&self, value: ValueId) -> Option<Data<'a>> {
        let place = self.places.get(value as usize)?;
        match place.source {
            Source::Nowhere => None,
            Source::Given(port) => self.given.input(port),
            Source::Constant(value) => Some(self.constants.get(value as usize)?.as_ref()?.data()),
            Source::Slot(slot) => Some(self.slots.get(slot)?.data(place.len)),
            Source::State { port, slot } => match self.given.input(port) {
                None => Some(self.slots.get(slot)?.data(place.len)),
                kept => kept,
            },
        }
    }
}
