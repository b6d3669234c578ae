//! Kernels, and what a call of one works with.

use alloc::vec::Vec;
use core::mem;

use amq_format::graph::ValueId;

use crate::error::{Fault, fault};
use crate::kernels::Target;
use crate::probe::Tap;
use crate::product::{Budget, Hands, Scratch};
use crate::registers::Registers;
use crate::values::{Room, Values};
use crate::view::{Buffer, Data, DataMut};
use crate::workers::Workers;

/// A node's computation for one set of shapes.
pub(crate) trait Kernel: Send + Sync {
    /// Grows the working memory to what `run` needs, as far as its budget allows.
    fn reserve(&self, _memory: &mut Memory) {}

    /// Computes the outputs. Slices have the lengths of the shapes that the kernel was made for.
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault>;
}

/// A node's computation for one set of input shapes that has memory of its own, or finds sizes of its
/// outputs when it runs.
pub(crate) trait Dynamic: Send + Sync {
    /// Takes the memory that `run` needs, as far as that is known.
    fn reserve(&mut self, _memory: &mut Memory) {}

    /// Computes the outputs, whose slots grow where sizes were not known, and adds the sizes that the
    /// node gives, in order.
    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault>;
}

/// What a kernel works with.
pub(crate) struct Call<'a> {
    pub(crate) inputs: Operands<'a>,
    pub(crate) outputs: Results<'a>,
    pub(crate) target: Target,
    pub(crate) memory: &'a mut Memory,
    pub(crate) workers: &'a dyn Workers,
    pub(crate) tap: Tap<'a>,
}

/// Working memory, as large as the kernel that needs most.
#[derive(Default)]
pub(crate) struct Memory {
    /// Of products.
    pub(crate) scratch: Scratch,
    /// Of products that other workers than the caller's thread compute.
    pub(crate) helpers: Vec<Scratch>,
    /// Of recurrent layers.
    pub(crate) work: Vec<f32>,
    /// Indices while they are put in order.
    pub(crate) order: Vec<u32>,
    /// Of elementwise operators.
    pub(crate) registers: Registers,
}

impl Memory {
    /// Memory for so many workers, at least one.
    pub(crate) fn new(workers: usize) -> Memory {
        let helpers = (1..workers).map(|_| Scratch::default()).collect();
        Memory { helpers, ..Memory::default() }
    }

    /// The number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Grows the scratch of each worker, within one budget.
    pub(crate) fn reserve(&mut self, grow: impl Fn(&mut Scratch)) {
        grow(&mut self.scratch);
        self.reserve_helpers(grow);
    }

    /// Grows the scratch of each worker but the caller's, within the same budget.
    pub(crate) fn reserve_helpers(&mut self, grow: impl Fn(&mut Scratch)) {
        for helper in &mut self.helpers {
            mem::swap(&mut self.scratch.budget, &mut helper.budget);
            grow(helper);
            mem::swap(&mut self.scratch.budget, &mut helper.budget);
        }
    }

    /// What products work with.
    pub(crate) fn hands<'a>(&'a mut self, workers: &'a dyn Workers) -> Hands<'a> {
        Hands { workers, scratch: &mut self.scratch, helpers: &mut self.helpers }
    }
}

/// Inputs of a node while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) ids: &'a [ValueId],
    pub(crate) values: Values<'a>,
}

impl<'a> Operands<'a> {
    /// An input that may be absent.
    pub(crate) fn optional(&self, i: usize) -> Option<Data<'a>> {
        self.values.get(*self.ids.get(i)?)
    }

    /// An input.
    pub(crate) fn data(&self, i: usize) -> Result<Data<'a>, Fault> {
        self.optional(i).ok_or_else(|| fault!("input {i} is missing"))
    }

    /// An input of floats.
    pub(crate) fn f32(&self, i: usize) -> Result<&'a [f32], Fault> {
        match self.data(i)? {
            Data::F32(x) => Ok(x),
            _ => Err(mismatch()),
        }
    }
}

/// Outputs of a node while it runs.
#[derive(Default)]
pub(crate) struct Results<'a> {
    /// Of each output, the slot that it lies in.
    pub(crate) slots: &'a mut [Buffer],
    /// Of each output, none where it is absent.
    pub(crate) rooms: &'a [Option<Room>],
}

impl Results<'_> {
    /// All outputs, in the operator's order; none where one is absent.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = Option<DataMut<'_>>> {
        let rooms = self.slots.iter_mut().zip(self.rooms);
        rooms.map(|(slot, room)| room.map(|room| slot.data_mut(room.len)))
    }

    /// An output of so many elements, for which its slot grows; none where it is absent.
    pub(crate) fn grown(
        &mut self,
        i: usize,
        len: usize,
        budget: &mut Budget,
    ) -> Result<Option<DataMut<'_>>, Fault> {
        let Some(Some(_)) = self.rooms.get(i) else { return Ok(None) };
        let slot = &mut self.slots[i];
        budget.slot(slot, len)?;
        Ok(Some(slot.data_mut(len)))
    }

    /// The first output.
    pub(crate) fn data(&mut self) -> Result<DataMut<'_>, Fault> {
        self.each().next().flatten().ok_or_else(|| fault!("its output is absent"))
    }

    /// The first output, of floats.
    pub(crate) fn f32(&mut self) -> Result<&mut [f32], Fault> {
        match self.data()? {
            DataMut::F32(y) => Ok(y),
            _ => Err(mismatch()),
        }
    }
}

/// The fault of a kernel whose operands are not of the types that its rule allowed.
pub(crate) fn mismatch() -> Fault {
    fault!("its operands are not of the types it was planned for")
}
