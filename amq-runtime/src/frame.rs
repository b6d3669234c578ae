//! Frames: the memory in which a program runs, and its plans.

use alloc::vec::Vec;
use core::{mem, slice};

use crate::arena::{self, Slot};
use crate::call::{Call, Memory, Operands, Results};
use crate::error::{Error, Fault};
use crate::infer;
use crate::kernels::Target;
use crate::plan;
use crate::probe::{Probe, Tap};
use crate::program::Program;
use crate::schedule::{Output, Plan, Segment, Signature, State, Step, Then, Work};
use crate::shape::{Shape, Sizes};
use crate::values::{Given, Nothing, Room, Values};
use crate::view::{Buffer, Data, DataMut, View, with_same_type};
use crate::workers::Workers;

/// Plans that are kept: calls that alternate between so many sets of shapes plan each once.
const PLANS: usize = 4;

/// What a frame's calls work with.
pub(crate) struct Means<'a, 'p> {
    pub(crate) target: Target,
    pub(crate) memory: &'a mut Memory,
    pub(crate) workers: &'a dyn Workers,
    pub(crate) probe: Option<&'p mut dyn Probe>,
}

/// The memory in which a program runs. Always the same program.
pub(crate) struct Frame {
    /// Of a body, the sizes of names in the graph around it.
    outer: Option<Sizes>,
    /// The plan used last comes first.
    plans: Vec<Plan>,
    slots: Vec<Buffer>,
    /// The slots of a node's outputs while it runs.
    taken: Vec<Buffer>,
    /// The sizes that a node gave.
    given: Vec<i64>,
}

impl Frame {
    /// A frame that holds no memory yet.
    pub(crate) fn new() -> Frame {
        let (slots, taken, given) = (Vec::new(), Vec::new(), Vec::new());
        Frame { outer: None, plans: Vec::with_capacity(PLANS), slots, taken, given }
    }

    /// A frame of a body, with the sizes of names in the graph around it.
    pub(crate) fn within(outer: &Sizes) -> Frame {
        Frame { outer: Some(outer.clone()), ..Frame::new() }
    }

    /// Makes the plan for inputs of these shapes the current one, planning it if need be: slots and
    /// working memory stay within `limit` bytes. With `apart`, no node is fused with another.
    pub(crate) fn plan<'d>(
        &mut self,
        program: &Program,
        dims: impl Fn(usize) -> Option<&'d [usize]>,
        apart: bool,
        memory: &mut Memory,
        limit: u64,
    ) -> Result<(), Error> {
        let fits = |plan: &Plan| {
            let mut inputs = plan.signature.inputs.iter().enumerate();
            plan.signature.apart == apart && inputs.all(|(i, known)| known.as_deref() == dims(i))
        };
        if let Some(found) = self.plans.iter().position(fits) {
            self.plans[..=found].rotate_right(1);
            return Ok(());
        }
        memory.scratch.budget.limit = limit;
        let inputs = (0..program.inputs.len()).map(|i| dims(i).map(<[usize]>::to_vec)).collect();
        let signature = Signature { inputs, apart };
        let plan = match self.make(program, signature.clone(), memory) {
            // The memory of other plans may be what is too much.
            Err(Error::Memory { .. }) if self.outer.is_none() && !self.slots.is_empty() => {
                self.plans.clear();
                self.slots.clear();
                *memory = Memory::new(memory.workers());
                memory.scratch.budget.limit = limit;
                self.make(program, signature, memory)?
            }
            plan => plan?,
        };
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, plan);
        Ok(())
    }

    /// Plans a call and takes the memory for it.
    fn make(
        &mut self,
        program: &Program,
        signature: Signature,
        memory: &mut Memory,
    ) -> Result<Plan, Error> {
        let mut slots = sizes(&self.slots);
        let limit = memory.scratch.budget.limit;
        let mut plan = plan::plan(program, signature, self.outer.as_ref(), &mut slots, limit)?;
        self.taken.reserve(prepare(&mut self.slots, &slots, &mut plan.first, memory)?);
        Ok(plan)
    }

    /// Bytes that its slots take.
    pub(crate) fn bytes(&self) -> u64 {
        arena::bytes(&sizes(&self.slots))
    }

    /// Of each state of the program that the current plan starts with, what it needs.
    pub(crate) fn states(&self) -> &[Option<State>] {
        &self.plans[0].states
    }

    /// A state that the current plan starts with, if something reads it.
    pub(crate) fn state(&self, i: usize) -> Option<View<'_>> {
        let State { dims, room, .. } = self.plans[0].states[i].as_ref()?;
        Some(View { dims, data: self.slots[room.slot].data(room.len) })
    }

    /// Fills a state that the current plan starts with, and that is not given, with its initial value.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        state: usize,
        means: &mut Means<'_, '_>,
    ) -> Result<(), Fault> {
        let plan = &self.plans[0];
        let Some(State { room, initial, .. }) = &plan.states[state] else { return Ok(()) };
        let mut taken = mem::take(&mut self.slots[room.slot]);
        let filled = match initial {
            None => {
                clear(taken.data_mut(room.len));
                Ok(())
            }
            Some(initial) => initial.run(&mut Call {
                inputs: Operands {
                    ids: &[program.graph.states[state].initial],
                    values: Values {
                        places: &plan.first.places,
                        slots: &self.slots,
                        constants: &program.constants,
                        given: &Nothing,
                    },
                },
                outputs: Results { slots: slice::from_mut(&mut taken), rooms: &[Some(*room)] },
                target: means.target,
                memory: means.memory,
                workers: means.workers,
                tap: Tap { node: 0, probe: None },
            }),
        };
        self.slots[room.slot] = taken;
        filled
    }

    /// Runs the current plan, whose states are filled.
    pub(crate) fn run(
        &mut self,
        program: &Program,
        given: &dyn Given,
        means: &mut Means<'_, '_>,
    ) -> Result<(), Error> {
        let Frame { plans, slots, taken, given: sizes, .. } = self;
        let Plan { signature, first, .. } = &mut plans[0];
        let constants = &program.constants;
        let mut segment = first;
        let mut number = 0;
        // What is shown up to now: views have no steps of their own.
        let mut shown = 0;
        loop {
            sizes.clear();
            let Segment { places, steps, then, shapes, .. } = &mut *segment;
            for Step { node, work, inputs, outputs } in steps {
                if let Some(probe) = &mut means.probe {
                    let values = Values { places, slots, constants, given };
                    (shown..*node).for_each(|node| show(program, shapes, &values, node, *probe));
                    shown = *node;
                }
                let slot = |room: &Option<Room>| room.map(|room| mem::take(&mut slots[room.slot]));
                taken.extend(outputs.iter().map(slot).map(Option::unwrap_or_default));
                let mut call = Call {
                    inputs: Operands {
                        ids: inputs,
                        values: Values { places, slots, constants, given },
                    },
                    outputs: Results { slots: taken, rooms: outputs },
                    target: means.target,
                    memory: means.memory,
                    workers: means.workers,
                    tap: Tap::new(*node, &mut means.probe),
                };
                let done = match work {
                    Work::Kernel(kernel) => kernel.run(&mut call),
                    Work::Dynamic(dynamic) => {
                        sizes.clear();
                        dynamic.run(&mut call, sizes)
                    }
                };
                // Also after an error, for the calls to come.
                for (room, slot) in outputs.iter().zip(taken.drain(..)) {
                    if let Some(room) = room {
                        slots[room.slot] = slot;
                    }
                }
                done.map_err(|fault| infer::at(&program.graph.nodes[*node], fault))?;
            }
            let end = program.segments.get(number).map_or(0, |nodes| nodes.end);
            if let Some(probe) = &mut means.probe {
                let values = Values { places, slots, constants, given };
                // What the last node gave is shown when its shape is known.
                let last = end - usize::from(matches!(then, Then::More { .. }));
                (shown..last).for_each(|node| show(program, shapes, &values, node, *probe));
                shown = last;
            }
            if matches!(segment.then, Then::End(_)) {
                break;
            }
            let Then::More { known, next } = &mut segment.then else { return Ok(()) };
            match next.iter().position(|segment| segment.given == *sizes) {
                Some(found) => next[..=found].rotate_right(1),
                None => {
                    let (apart, limit) = (signature.apart, means.memory.scratch.budget.limit);
                    let (known, mut grown) = ((**known).clone(), self::sizes(slots));
                    let mut planned = plan::after(program, known, sizes, apart, &mut grown, limit)?;
                    taken.reserve(prepare(slots, &grown, &mut planned, means.memory)?);
                    next.truncate(PLANS - 1);
                    next.insert(0, planned);
                }
            }
            segment = &mut next[0];
            number += 1;
        }
        let Then::End(outputs) = &segment.then else { return Ok(()) };
        for Output { room, copied, .. } in outputs {
            let Some(value) = copied else { continue };
            let mut taken = mem::take(&mut slots[room.slot]);
            let values = Values { places: &segment.places, slots, constants, given };
            if let Some(from) = values.get(*value) {
                copy(from, taken.data_mut(room.len));
            }
            slots[room.slot] = taken;
        }
        Ok(())
    }

    /// The shape of an output, where it is known before the call.
    pub(crate) fn output_dims(&self, i: usize) -> Option<&[usize]> {
        self.plans[0].outputs().get(i).map(|output| output.dims.as_slice())
    }

    /// An output of the last call.
    pub(crate) fn output(&self, i: usize) -> View<'_> {
        let Output { dims, room, .. } = &self.plans[0].outputs()[i];
        View { dims, data: self.slots[room.slot].data(room.len) }
    }

    /// Exchanges the memory of an output of the last call for another, if that is as large and no other output lies
    /// there: whether it did.
    pub(crate) fn exchange(&mut self, i: usize, other: &mut Buffer) -> bool {
        let outputs = self.plans[0].outputs();
        let slot = outputs[i].room.slot;
        let own = &mut self.slots[slot];
        let fits = own.len() == other.len() && own.data_type() == other.data_type();
        let exchanged =
            fits && outputs.iter().filter(|output| output.room.slot == slot).count() == 1;
        if exchanged {
            mem::swap(own, other);
        }
        exchanged
    }

    /// Whether NaNs of an output are canonical as they are computed.
    pub(crate) fn is_canonical(&self, i: usize) -> bool {
        self.plans[0].outputs()[i].is_canonical
    }

    /// The elements of an output of the last call.
    pub(crate) fn output_mut(&mut self, i: usize) -> DataMut<'_> {
        let room = self.plans[0].outputs()[i].room;
        self.slots[room.slot].data_mut(room.len)
    }
}

/// Types and sizes of slots.
fn sizes(slots: &[Buffer]) -> Vec<Slot> {
    slots.iter().map(|slot| (slot.data_type(), slot.len())).collect()
}

/// Takes the memory that a segment needs: slots of these sizes, and what its kernels work in. Gives the
/// most outputs that a step has.
fn prepare(
    slots: &mut Vec<Buffer>,
    needed: &[Slot],
    segment: &mut Segment,
    memory: &mut Memory,
) -> Result<usize, Error> {
    let budget = &mut memory.scratch.budget;
    let limit = budget.limit;
    let refused = |held: u64, more: u64| {
        let needed = held.saturating_add(more);
        Error::Memory { needed, limit }
    };
    let more = arena::bytes(needed).saturating_sub(arena::bytes(&sizes(slots)));
    budget.take(more).map_err(|_| refused(budget.held, more))?;
    for (i, &(data_type, len)) in needed.iter().enumerate() {
        if i == slots.len() {
            slots.push(Buffer::new(data_type));
        }
        if !slots[i].grow(len) {
            return Err(refused(0, (len as u64).saturating_mul(data_type.size() as u64)));
        }
    }
    let mut outputs = 0;
    for step in &mut segment.steps {
        outputs = outputs.max(step.outputs.len());
        match &mut step.work {
            Work::Kernel(kernel) => kernel.reserve(memory),
            Work::Dynamic(dynamic) => dynamic.reserve(memory),
        }
    }
    let budget = &mut memory.scratch.budget;
    match mem::take(&mut budget.lacking) {
        0 => Ok(outputs),
        lacking => Err(refused(budget.held, lacking)),
    }
}

/// Shows a probe what a node gave.
fn show(
    program: &Program,
    shapes: &[Option<Shape>],
    values: &Values<'_>,
    node: usize,
    probe: &mut dyn Probe,
) {
    for (output, &value) in program.graph.nodes[node].outputs.iter().enumerate() {
        let shape = shapes.get(value as usize).and_then(Option::as_ref);
        if let (Some(Shape { dims, .. }), Some(data)) = (shape, values.get(value)) {
            probe.output(node, output, View { dims, data });
        }
    }
}

/// Copies elements of one type and number.
pub(crate) fn copy(from: Data<'_>, to: DataMut<'_>) {
    with_same_type!(from, to, |from, to| to.copy_from_slice(from), else ());
}

fn clear(to: DataMut<'_>) {
    match to {
        DataMut::F32(to) => to.fill(0.0),
        DataMut::I64(to) => to.fill(0),
        DataMut::I32(to) => to.fill(0),
        DataMut::U8(to) | DataMut::Bool(to) => to.fill(0),
        DataMut::I8(to) => to.fill(0),
        DataMut::I16(to) => to.fill(0),
        DataMut::U16(to) => to.fill(0),
        DataMut::U32(to) => to.fill(0),
        DataMut::U64(to) => to.fill(0),
    }
}

#[cfg(test)]
mod tests;
