//! Frames: the memory in which a program runs, and its plans.

use alloc::vec::Vec;
use core::{mem, slice};

use crate::arena::{self, Slot};
use crate::call::{Call, Memory, Operands, Results};
use crate::error::{Error, Fault};
use crate::infer;
use crate::kernels::Target;
use crate::plan::{Output, Plan, Signature, State};
use crate::probe::{Probe, Tap};
use crate::program::Program;
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
    /// The plan used last comes first.
    plans: Vec<Plan>,
    slots: Vec<Buffer>,
    /// The slots of a node's outputs while it runs.
    taken: Vec<Buffer>,
}

impl Frame {
    /// A frame that holds no memory yet.
    pub(crate) fn new() -> Frame {
        Frame { plans: Vec::with_capacity(PLANS), slots: Vec::new(), taken: Vec::new() }
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
        let inputs = (0..program.inputs.len()).map(|i| dims(i).map(<[usize]>::to_vec)).collect();
        let signature = Signature { inputs, apart };
        let plan = match self.make(program, signature.clone(), memory, limit) {
            // The memory of other plans may be what is too much.
            Err(Error::Memory { .. }) if !self.slots.is_empty() => {
                self.plans.clear();
                self.slots.clear();
                *memory = Memory::new(memory.workers());
                self.make(program, signature, memory, limit)?
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
        limit: u64,
    ) -> Result<Plan, Error> {
        let mut slots: Vec<Slot> =
            self.slots.iter().map(|slot| (slot.data_type(), slot.len())).collect();
        let plan = Plan::new(program, signature, &mut slots, limit)?;
        let arena = arena::bytes(&slots);
        let held = |memory: &Memory| arena.saturating_add(memory.scratch.budget.held);
        if held(memory) > limit {
            return Err(Error::Memory { needed: held(memory), limit });
        }
        for (i, &(data_type, len)) in slots.iter().enumerate() {
            if i == self.slots.len() {
                self.slots.push(Buffer::new(data_type));
            }
            if !self.slots[i].grow(len) {
                let needed = (len as u64).saturating_mul(data_type.size() as u64);
                return Err(Error::Memory { needed, limit });
            }
        }
        memory.scratch.budget.limit = limit - arena;
        for step in plan.steps() {
            self.taken.reserve(step.outputs.len());
            step.kernel.reserve(memory);
        }
        match mem::take(&mut memory.scratch.budget.lacking) {
            0 => Ok(plan),
            lacking => Err(Error::Memory { needed: held(memory).saturating_add(lacking), limit }),
        }
    }

    /// Of each state of the program that the current plan starts with, what it needs.
    pub(crate) fn states(&self) -> &[Option<State>] {
        &self.plans[0].states
    }

    /// Fills a state that the current plan starts with: from elements that were kept, or with its
    /// initial value.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        state: usize,
        kept: Option<Data<'_>>,
        means: &mut Means<'_, '_>,
    ) -> Result<(), Fault> {
        let plan = &self.plans[0];
        let Some(State { room, initial, .. }) = &plan.states[state] else { return Ok(()) };
        let mut taken = mem::take(&mut self.slots[room.slot]);
        let filled = match (kept, initial) {
            (Some(kept), _) => {
                copy(kept, taken.data_mut(room.len));
                Ok(())
            }
            (None, None) => {
                clear(taken.data_mut(room.len));
                Ok(())
            }
            (None, Some(initial)) => initial.run(&mut Call {
                inputs: Operands {
                    ids: &[program.graph.states[state].initial],
                    values: Values {
                        places: &plan.places,
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
        let Frame { plans, slots, taken } = self;
        let (plan, constants) = (&plans[0], &program.constants);
        let nodes = program.graph.nodes.len();
        // What is shown up to now: views have no steps of their own.
        let mut shown = 0;
        for step in plan.steps() {
            if let Some(probe) = &mut means.probe {
                let values = Values { places: &plan.places, slots, constants, given };
                (shown..step.node).for_each(|node| show(program, plan, &values, node, *probe));
                shown = step.node;
            }
            let slot = |room: &Option<Room>| room.map(|room| mem::take(&mut slots[room.slot]));
            taken.extend(step.outputs.iter().map(slot).map(Option::unwrap_or_default));
            let values = Values { places: &plan.places, slots, constants, given };
            let done = step.kernel.run(&mut Call {
                inputs: Operands { ids: &step.inputs, values },
                outputs: Results { slots: taken, rooms: &step.outputs },
                target: means.target,
                memory: means.memory,
                workers: means.workers,
                tap: Tap::new(step.node, &mut means.probe),
            });
            // Also after an error, for the calls to come.
            for (room, slot) in step.outputs.iter().zip(taken.drain(..)) {
                if let Some(room) = room {
                    slots[room.slot] = slot;
                }
            }
            done.map_err(|fault| infer::at(&program.graph.nodes[step.node], fault))?;
        }
        if let Some(probe) = &mut means.probe {
            let values = Values { places: &plan.places, slots, constants, given };
            (shown..nodes).for_each(|node| show(program, plan, &values, node, *probe));
        }
        for Output { room, copied, .. } in &plan.outputs {
            let Some(value) = copied else { continue };
            let mut taken = mem::take(&mut slots[room.slot]);
            let values = Values { places: &plan.places, slots, constants, given };
            if let Some(from) = values.get(*value) {
                copy(from, taken.data_mut(room.len));
            }
            slots[room.slot] = taken;
        }
        Ok(())
    }

    /// An output of the last call.
    pub(crate) fn output(&self, i: usize) -> View<'_> {
        let Output { dims, room, .. } = &self.plans[0].outputs[i];
        View { dims, data: self.slots[room.slot].data(room.len) }
    }

    /// The elements of an output of the last call.
    pub(crate) fn output_mut(&mut self, i: usize) -> DataMut<'_> {
        let room = self.plans[0].outputs[i].room;
        self.slots[room.slot].data_mut(room.len)
    }
}

/// Shows a probe what a node gave.
fn show(program: &Program, plan: &Plan, values: &Values<'_>, node: usize, probe: &mut dyn Probe) {
    for (output, &value) in program.graph.nodes[node].outputs.iter().enumerate() {
        if let (Some(dims), Some(data)) = (plan.dims(value), values.get(value)) {
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
