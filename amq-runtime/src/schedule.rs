//! What a plan is: for one set of input shapes, where each value lies, and the steps that compute them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::ValueId;

use crate::call::{Dynamic, Kernel};
use crate::infer::Fact;
use crate::shape::{Shape, Sizes};
use crate::values::{Place, Room};

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Shape of each graph input; none where it is a state that is not given.
    pub(crate) inputs: Vec<Option<Vec<usize>>>,
    /// Whether each node is a step of its own, so that its results can be seen.
    pub(crate) apart: bool,
}

/// A schedule for one signature.
pub(crate) struct Plan {
    pub(crate) signature: Signature,
    /// Of each state of the program that is not given.
    pub(crate) states: Vec<Option<State>>,
    pub(crate) first: Segment,
}

/// Steps for which all sizes are known when the first starts.
pub(crate) struct Segment {
    /// The sizes that the last node before it gave.
    pub(crate) given: Vec<i64>,
    /// Of each value.
    pub(crate) places: Vec<Place>,
    pub(crate) steps: Vec<Step>,
    pub(crate) then: Then,
    /// Of each value, if each node is a step of its own, so that its results can be seen.
    pub(crate) shapes: Vec<Option<Shape>>,
}

/// What comes after a segment.
pub(crate) enum Then {
    /// The graph's outputs.
    End(Vec<Output>),
    /// More, for the sizes that the segment's last node gives.
    More {
        known: Box<Known>,
        /// Segments that are planned, the one used last first.
        next: Vec<Segment>,
    },
}

/// What is known where a segment ends.
#[derive(Clone)]
pub(crate) struct Known {
    /// Number of the segment.
    pub(crate) segment: usize,
    pub(crate) sizes: Sizes,
    /// Of each value.
    pub(crate) shapes: Vec<Option<Shape>>,
    /// Of each value, the one that lies in the same place.
    pub(crate) roots: Vec<ValueId>,
    /// Of each root, up to which node the place is needed, and whether it was given back.
    pub(crate) needed: Vec<Need>,
    /// Of each value.
    pub(crate) places: Vec<Place>,
    /// Slots that hold nothing that is needed.
    pub(crate) free: Vec<usize>,
    /// Outputs of the segment's last node whose shapes have sizes that it gives.
    pub(crate) open: Vec<(ValueId, Fact)>,
}

/// What is run.
pub(crate) enum Work {
    Kernel(Box<dyn Kernel>),
    Dynamic(Box<dyn Dynamic>),
}

/// A kernel to run.
pub(crate) struct Step {
    /// The node, or the last one of a chain.
    pub(crate) node: usize,
    pub(crate) work: Work,
    /// The values that the kernel reads.
    pub(crate) inputs: Vec<ValueId>,
    /// Of each output, none where it is absent.
    pub(crate) outputs: Vec<Option<Room>>,
}

/// A graph output.
pub(crate) struct Output {
    pub(crate) dims: Vec<usize>,
    pub(crate) room: Room,
    /// The value to copy there at the end, where it lies elsewhere.
    pub(crate) copied: Option<ValueId>,
    /// Whether its NaNs are canonical as they are computed.
    pub(crate) is_canonical: bool,
}

/// A state that a call starts with.
pub(crate) struct State {
    pub(crate) dims: Vec<usize>,
    pub(crate) room: Room,
    /// Broadcasts the initial value, if that is not zero.
    pub(crate) initial: Option<Box<dyn Kernel>>,
}

/// How long a place is needed.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// Up to the step of a node, as far as that is planned; none if nothing reads it yet.
    Until(Option<usize>),
    /// No more: another value may lie there.
    Over,
}

impl Plan {
    /// The segment that ran last.
    pub(crate) fn last(&self) -> &Segment {
        let mut last = &self.first;
        while let Then::More { next, .. } = &last.then
            && let Some(segment) = next.first()
        {
            last = segment;
        }
        last
    }

    /// The number of steps, as far as the plan is known.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        let (mut segment, mut steps) = (&self.first, self.first.steps.len());
        while let Then::More { next, .. } = &segment.then
            && let Some(last) = next.first()
        {
            segment = last;
            steps += segment.steps.len();
        }
        steps
    }

    /// The outputs, as far as the plan is known.
    pub(crate) fn outputs(&self) -> &[Output] {
        match &self.last().then {
            Then::End(outputs) => outputs,
            Then::More { .. } => &[],
        }
    }
}
