//! Sessions: one stream of calls, with its memory and its state.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, mem, slice};

use crate::call::{Call, Memory, Operands, Results};
use crate::error::{Error, Fault};
use crate::infer::{self, list};
use crate::model::{Model, StatePort};
use crate::plan::{self, Plan, Slot};
use crate::values::{Room, Values};
use crate::view::{Buffer, Data, DataMut, View, with_same_type};

mod saved;

use saved::Kept;

/// Plans that are kept: calls that alternate between so many sets of shapes plan each once.
const PLANS: usize = 4;

/// One stream of calls to a [`Model`].
///
/// The first call with a set of input shapes plans it and takes memory; later ones, as long as no
/// more than four sets alternate, allocate nothing. Results are the same whatever came before.
pub struct Session {
    model: Arc<Model>,
    /// The plan used last comes first.
    plans: Vec<Plan>,
    slots: Vec<Buffer>,
    /// The slots of a node's outputs while it runs.
    taken: Vec<Buffer>,
    memory: Memory,
    /// State between steps, one for each of the model's; empty before the first.
    states: Vec<Kept>,
    /// For each graph input, which of those given it is.
    order: Vec<Option<usize>>,
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

/// The outputs of a call. They borrow the session's memory.
pub struct Outputs<'a> {
    model: &'a Model,
    plan: &'a Plan,
    slots: &'a [Buffer],
}

impl<'a> Outputs<'a> {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<View<'a>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, view)| view)
    }

    /// Names and outputs, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, View<'a>)> + use<'a> {
        let slots = self.slots;
        self.model.outputs().iter().zip(&self.plan.outputs).map(move |(port, output)| {
            let data = slots[output.slot].data(output.len);
            (port.name.as_str(), View { dims: &output.dims, data })
        })
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
        Session {
            order: Vec::with_capacity(model.inputs().len()),
            plans: Vec::with_capacity(PLANS),
            slots: Vec::new(),
            taken: Vec::new(),
            memory: Memory::default(),
            states: Vec::new(),
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
        self.call(inputs, false)?;
        Ok(self.outputs())
    }

    /// Computes all outputs from those inputs that are no states; states come from the step before,
    /// or are initial in the first, and go to the next.
    ///
    /// # Errors
    /// As [`run`](Session::run); [`Error::State`] where a state is given, or would change its shape.
    /// After an error the state is what it was before.
    pub fn step(&mut self, inputs: &[(&str, View<'_>)]) -> Result<Outputs<'_>, Error> {
        self.call(inputs, true)?;
        self.keep_states()?;
        Ok(self.outputs())
    }

    /// Forgets the state: the next step starts from the initial one.
    pub fn reset(&mut self) {
        self.states.clear();
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
        self.states = saved::restore(&self.model, bytes)?;
        Ok(())
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs { model: &self.model, plan: &self.plans[0], slots: &self.slots }
    }

    fn call(&mut self, inputs: &[(&str, View<'_>)], stepping: bool) -> Result<(), Error> {
        self.sort(inputs)?;
        if stepping {
            self.check_states_absent()?;
        }
        self.find_plan(inputs)?;
        if stepping {
            self.check_state_shapes()?;
        }
        self.start_states(stepping)?;
        self.memory.scratch.order = self.memory.scratch.order.reversed();
        self.run_steps(inputs)?;
        self.finish(inputs)
    }

    /// Finds each input among those given, and checks types and numbers of elements.
    fn sort(&mut self, inputs: &[(&str, View<'_>)]) -> Result<(), Error> {
        let ports = self.model.inputs();
        self.order.clear();
        self.order.resize(ports.len(), None);
        for (i, (name, view)) in inputs.iter().enumerate() {
            let port = ports.iter().position(|port| port.name == *name).ok_or_else(|| {
                let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
                Error::Input(format!("there is no input {name}; the inputs are {}", list(&names)))
            })?;
            if self.order[port].replace(i).is_some() {
                return Err(Error::Input(format!("input {name} is given twice")));
            }
            let (found, expected) = (view.data.data_type(), ports[port].data_type);
            if found != expected {
                let (found, expected) = (found.name(), expected.name());
                return Err(Error::Input(format!(
                    "input {name} is {found}, it must be {expected}"
                )));
            }
            let len = view.dims.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
            if len != Some(view.data.len()) {
                return Err(Error::Input(format!(
                    "input {name} has {} elements, which are not shape {}",
                    view.data.len(),
                    list(view.dims)
                )));
            }
            if let Data::Bool(elements) = view.data
                && elements.iter().any(|&element| element > 1)
            {
                return Err(Error::Input(format!("a bool of input {name} is neither 0 nor 1")));
            }
        }
        Ok(())
    }

    fn check_states_absent(&self) -> Result<(), Error> {
        match self.model.states().iter().find(|state| self.order[state.input].is_some()) {
            Some(state) => Err(Error::State(format!(
                "state {} is given, but steps take it from the session: use run",
                self.model.inputs()[state.input].name
            ))),
            None => Ok(()),
        }
    }

    /// Makes the plan for these inputs the first, planning it if need be.
    fn find_plan(&mut self, inputs: &[(&str, View<'_>)]) -> Result<(), Error> {
        let dims = |given: &Option<usize>| given.map(|given| inputs[given].1.dims);
        let fits = |plan: &Plan| {
            plan.signature.iter().zip(&self.order).all(|(a, b)| a.as_deref() == dims(b))
        };
        if let Some(found) = self.plans.iter().position(fits) {
            self.plans[..=found].rotate_right(1);
            return Ok(());
        }
        let signature: Vec<Option<Vec<usize>>> =
            self.order.iter().map(|given| dims(given).map(<[usize]>::to_vec)).collect();
        let plan = match self.plan(signature.clone()) {
            // The memory of other plans may be what is too much.
            Err(Error::Memory { .. }) if !self.slots.is_empty() => {
                self.plans.clear();
                self.slots.clear();
                self.memory = Memory::default();
                self.plan(signature)?
            }
            plan => plan?,
        };
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, plan);
        Ok(())
    }

    /// Plans a call and takes the memory for it: slots and working memory within one limit.
    fn plan(&mut self, signature: Vec<Option<Vec<usize>>>) -> Result<Plan, Error> {
        let mut slots: Vec<Slot> =
            self.slots.iter().map(|slot| (slot.data_type(), slot.len())).collect();
        let plan = Plan::new(&self.model, signature, &mut slots)?;
        let limit = self.model.max_arena_bytes;
        let arena = plan::bytes(&slots);
        let held = |session: &Session| arena.saturating_add(session.memory.scratch.budget.held);
        if held(self) > limit {
            return Err(Error::Memory { needed: held(self), limit });
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
        self.memory.scratch.budget.limit = limit - arena;
        for step in &plan.steps {
            self.taken.reserve(step.outputs.len());
            step.kernel.reserve(&mut self.memory);
        }
        match mem::take(&mut self.memory.scratch.budget.lacking) {
            0 => Ok(plan),
            lacking => Err(Error::Memory { needed: held(self).saturating_add(lacking), limit }),
        }
    }

    /// States must keep the shape that they have.
    fn check_state_shapes(&self) -> Result<(), Error> {
        let plan = &self.plans[0];
        for (i, state) in self.model.states().iter().enumerate() {
            let Some(needed) = &plan.states[i] else { continue };
            let name = &self.model.inputs()[state.input].name;
            if let Some(kept) = self.states.get(i)
                && kept.dims != needed.dims
            {
                let (kept, needed) = (list(&kept.dims), list(&needed.dims));
                return Err(Error::State(format!(
                    "state {name} has shape {kept} from the steps before, these inputs need \
                     {needed}: reset the session to start anew"
                )));
            }
            let next = &plan.outputs[state.output].dims;
            if *next != needed.dims {
                let (next, needed) = (list(next), list(&needed.dims));
                return Err(Error::State(format!(
                    "state {name} would change its shape from {needed} to {next}"
                )));
            }
        }
        Ok(())
    }

    /// Fills the slots of states that are not given.
    fn start_states(&mut self, stepping: bool) -> Result<(), Error> {
        let Session { model, plans, slots, memory, states, order, .. } = self;
        let plan = &plans[0];
        for (i, state) in plan.states.iter().enumerate() {
            let Some(state) = state else { continue };
            let mut taken = mem::take(&mut slots[state.slot]);
            let kept = states.get(i).filter(|_| stepping);
            let filled = match (kept, &state.initial) {
                (Some(kept), _) => {
                    copy(kept.elements.data(state.len), taken.data_mut(state.len));
                    Ok(())
                }
                (None, None) => {
                    clear(taken.data_mut(state.len));
                    Ok(())
                }
                (None, Some(initial)) => {
                    let values = Values {
                        places: &plan.places,
                        slots,
                        constants: &model.constants,
                        given: &[],
                        order,
                    };
                    initial.run(&mut Call {
                        inputs: Operands { ids: &[model.graph().states[i].initial], values },
                        outputs: Results {
                            slots: slice::from_mut(&mut taken),
                            rooms: &[Some(Room { slot: state.slot, len: state.len })],
                        },
                        target: model.target(),
                        memory,
                    })
                }
            };
            slots[state.slot] = taken;
            filled.map_err(|Fault(what)| Error::State(what))?;
        }
        Ok(())
    }

    fn run_steps(&mut self, given: &[(&str, View<'_>)]) -> Result<(), Error> {
        let Session { model, plans, slots, taken, memory, order, .. } = self;
        let plan = &plans[0];
        for step in &plan.steps {
            let node = &model.graph().nodes[step.node];
            let slot = |room: &Option<Room>| room.map(|room| mem::take(&mut slots[room.slot]));
            taken.extend(step.outputs.iter().map(slot).map(Option::unwrap_or_default));
            let constants = &model.constants;
            let values = Values { places: &plan.places, slots, constants, given, order };
            let done = step.kernel.run(&mut Call {
                inputs: Operands { ids: &node.inputs, values },
                outputs: Results { slots: taken, rooms: &step.outputs },
                target: model.target(),
                memory,
            });
            // Also after an error, for the calls to come.
            for (room, slot) in step.outputs.iter().zip(taken.drain(..)) {
                if let Some(room) = room {
                    slots[room.slot] = slot;
                }
            }
            done.map_err(|fault| infer::at(node, fault))?;
        }
        Ok(())
    }

    /// Brings outputs to their slots, and NaNs to one form.
    fn finish(&mut self, given: &[(&str, View<'_>)]) -> Result<(), Error> {
        let Session { model, plans, slots, order, .. } = self;
        let plan = &plans[0];
        for output in &plan.outputs {
            let mut taken = mem::take(&mut slots[output.slot]);
            if let Some(value) = output.copied {
                let constants = &model.constants;
                let values = Values { places: &plan.places, slots, constants, given, order };
                if let Some(from) = values.get(value) {
                    copy(from, taken.data_mut(output.len));
                }
            }
            if let DataMut::F32(elements) = taken.data_mut(output.len) {
                model.target().vectorize(
                    #[inline(always)]
                    || {
                        for x in elements.iter_mut() {
                            *x = if x.is_nan() { f32::from_bits(CANONICAL_NAN) } else { *x };
                        }
                    },
                );
            }
            slots[output.slot] = taken;
        }
        Ok(())
    }

    /// Takes the next state from the outputs.
    fn keep_states(&mut self) -> Result<(), Error> {
        let Session { model, plans, slots, states, .. } = self;
        let plan = &plans[0];
        let first = states.is_empty();
        for (i, state) in model.states().iter().enumerate() {
            let output = &plan.outputs[state.output];
            if first {
                let mut elements = Buffer::new(model.outputs()[state.output].data_type);
                if !elements.grow(output.len) {
                    states.clear();
                    return Err(Error::State(String::from("there is no memory for the state")));
                }
                states.push(Kept { dims: output.dims.clone(), elements });
            }
            let from = slots[output.slot].data(output.len);
            copy(from, states[i].elements.data_mut(output.len));
        }
        Ok(())
    }
}

/// The bits of every NaN in outputs.
const CANONICAL_NAN: u32 = 0x7fc0_0000;

/// Copies elements of one type and number.
fn copy(from: Data<'_>, to: DataMut<'_>) {
    with_same_type!(from, to, |from, to| to.copy_from_slice(from), else ());
}

fn clear(to: DataMut<'_>) {
    match to {
        DataMut::F32(to) => to.fill(0.0),
        DataMut::I64(to) => to.fill(0),
        DataMut::I32(to) => to.fill(0),
        DataMut::U8(to) | DataMut::Bool(to) => to.fill(0),
        DataMut::I8(to) => to.fill(0),
    }
}
