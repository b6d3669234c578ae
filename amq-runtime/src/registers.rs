//! Registers: blocks of elements between the operators of a chain.

use alloc::vec::Vec;
use core::mem;

use amq_format::graph::DataType;

use crate::product::Budget;
use crate::view::{Buffer, Data, DataMut, with_vec};

/// One of the blocks that hold elements of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) data_type: DataType,
    pub(crate) number: usize,
}

/// The registers of each type.
#[derive(Debug, Default)]
pub(crate) struct Registers([Vec<Buffer>; 10]);

fn place(data_type: DataType) -> usize {
    match data_type {
        DataType::F32 => 0,
        DataType::I64 => 1,
        DataType::I32 => 2,
        DataType::U8 => 3,
        DataType::I8 => 4,
        DataType::Bool => 5,
        DataType::I16 => 6,
        DataType::U16 => 7,
        DataType::U32 => 8,
        DataType::U64 => 9,
    }
}

impl Registers {
    /// Makes a register at least `len` long, if there is memory for that.
    pub(crate) fn reserve(&mut self, register: Register, len: usize, budget: &mut Budget) {
        let all = &mut self.0[place(register.data_type)];
        while all.len() <= register.number {
            all.push(Buffer::new(register.data_type));
        }
        with_vec!(&mut all[register.number], x => budget.grow(x, len, Default::default()));
    }

    /// The first elements of a register.
    pub(crate) fn data(&self, register: Register, len: usize) -> Data<'_> {
        self.0[place(register.data_type)][register.number].data(len)
    }

    /// The first elements of a register, to be written.
    pub(crate) fn data_mut(&mut self, register: Register, len: usize) -> DataMut<'_> {
        self.0[place(register.data_type)][register.number].data_mut(len)
    }

    /// Takes a register out, until it is put back.
    pub(crate) fn take(&mut self, register: Register) -> Buffer {
        mem::take(&mut self.0[place(register.data_type)][register.number])
    }

    /// Puts a register back.
    pub(crate) fn put_back(&mut self, register: Register, buffer: Buffer) {
        self.0[place(register.data_type)][register.number] = buffer;
    }
}
