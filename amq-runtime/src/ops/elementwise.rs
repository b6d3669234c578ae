//! Functions of the elements at one place of several tensors, in chains.
//!
//! A chain computes operators on one shape in one pass: block by block, so that what is between
//! them stays in the first cache. Each element goes through the operations that the operators
//! would do one after the other, so a chain changes no bit.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use amq_format::graph::{DataType, ValueId};

use super::walk::{Walk, broadcast_strides, copy_part};
use crate::call::{Call, Kernel, Memory};
use crate::compute::{Elementwise, OPERANDS};
use crate::error::{Fault, fault};
use crate::registers::Register;
use crate::shape::Shape;
use crate::view::{Data, with_same_type};

/// Elements that a chain takes together: a few blocks fit the first cache.
pub(crate) const BLOCK: usize = 2048;

/// Rows of at least so many elements are blocks of their own where an operand is broadcast: within
/// a row it is read as it lies.
const ROW: usize = 256;

/// Applies a function to each pair; one element stands for all. What networks hold vectorizes.
#[inline(always)]
pub(super) fn pairs<A: Copy, B: Copy, Y>(
    a: &[A],
    b: &[B],
    y: &mut [Y],
    mut f: impl FnMut(A, B) -> Y,
) {
    match (a, b) {
        (&[a], &[b]) => y.iter_mut().for_each(|y| *y = f(a, b)),
        (&[a], b) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a, b)),
        (a, &[b]) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b)),
        _ => y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = f(a, b)),
    }
}

/// An operator of a chain.
pub(crate) struct Part {
    pub(crate) function: Box<dyn Elementwise>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
    pub(crate) data_type: DataType,
}

/// Elementwise operators on one shape.
pub(crate) struct Chain {
    /// What it reads, each once.
    operands: Vec<Operand>,
    links: Vec<Link>,
    /// Elements of the result.
    len: usize,
    registers: Vec<Register>,
}

struct Operand {
    data_type: DataType,
    reading: Reading,
}

/// How an operand is read.
enum Reading {
    /// Its elements are those at the result's places.
    Whole,
    /// As `Whole`, from where the result is written; first copied to the register.
    Replaced(Register),
    /// It has one element.
    One,
    /// It is broadcast along rows that are blocks.
    Rows(Walk<1>),
    /// It is broadcast, first to the register.
    Spread(Walk<1>, Register),
}

struct Link {
    function: Box<dyn Elementwise>,
    inputs: Vec<Input>,
    /// None for the last: the result.
    output: Option<Register>,
}

#[derive(Clone, Copy)]
enum Input {
    Operand(usize),
    Register(Register),
}

impl Chain {
    /// A chain of operators in their order, each result but the last used in the chain alone; and
    /// the values that it reads. All results have the shape of `y`.
    pub(crate) fn new<'s>(
        parts: Vec<Part>,
        y: &Shape,
        shape: impl Fn(ValueId) -> Option<&'s Shape>,
    ) -> Result<(Chain, Vec<ValueId>), Fault> {
        let made = |value: ValueId| parts.iter().position(|part| part.output == value);
        let mut values: Vec<ValueId> = Vec::new();
        for &value in parts.iter().flat_map(|part| &part.inputs) {
            if made(value).is_none() && !values.contains(&value) {
                values.push(value);
            }
        }
        let mut walks = Vec::with_capacity(values.len());
        for &value in &values {
            let x = shape(value).ok_or_else(|| fault!("an input is missing"))?;
            let whole = x.len() == y.len();
            let strides = broadcast_strides(&x.dims, &y.dims);
            let walk = (!whole && x.len() != 1).then(|| Walk::new(&y.dims, [&strides], [0]));
            walks.push((x.data_type, whole, walk));
        }
        let in_rows = walks.iter().flat_map(|(.., walk)| walk).all(|walk| walk.inner >= ROW);

        let mut registers = Registers { all: Vec::new(), free: Vec::new() };
        let reading = |(data_type, whole, walk): (DataType, bool, Option<Walk<1>>)| Operand {
            data_type,
            reading: match walk {
                None if whole => Reading::Whole,
                None => Reading::One,
                Some(walk) if in_rows && matches!(walk.strides, [0 | 1]) => Reading::Rows(walk),
                Some(walk) => Reading::Spread(walk, registers.take(data_type)),
            },
        };
        let operands: Vec<Operand> = walks.into_iter().map(reading).collect();

        let last_use = |value: ValueId| parts.iter().rposition(|part| part.inputs.contains(&value));
        let mut held: Vec<Option<Register>> = Vec::with_capacity(parts.len());
        let mut outputs = Vec::with_capacity(parts.len());
        let mut inputs = Vec::with_capacity(parts.len());
        for (i, part) in parts.iter().enumerate() {
            let input = |value: &ValueId| match made(*value).and_then(|by| held.get(by)?.as_ref()) {
                Some(register) => Input::Register(*register),
                None => {
                    let at = values.iter().position(|other| other == value);
                    Input::Operand(at.unwrap_or_default())
                }
            };
            inputs.push(part.inputs.iter().map(input).collect());
            let output = (i + 1 < parts.len()).then(|| registers.take(part.data_type));
            for (other, register) in parts.iter().zip(&held) {
                if let Some(register) = register
                    && last_use(other.output) == Some(i)
                {
                    registers.free.push(*register);
                }
            }
            held.push(output);
            outputs.push(output);
        }
        let links = parts.into_iter().zip(inputs).zip(outputs);
        let links = links
            .map(|((part, inputs), output)| Link { function: part.function, inputs, output })
            .collect();
        Ok((Chain { operands, links, len: y.len(), registers: registers.all }, values))
    }

    /// Whether the result, of this type, may be written over an operand.
    pub(crate) fn can_replace(&self, operand: usize, data_type: DataType) -> bool {
        self.operands.get(operand).is_some_and(|operand| {
            operand.data_type == data_type && matches!(operand.reading, Reading::Whole)
        })
    }

    /// Writes the result over an operand.
    pub(crate) fn replace(&mut self, operand: usize) {
        let mut registers = Registers { all: mem::take(&mut self.registers), free: Vec::new() };
        if let Some(operand) = self.operands.get_mut(operand) {
            operand.reading = Reading::Replaced(registers.take(operand.data_type));
        }
        self.registers = registers.all;
    }

    /// Elements from `at` on that are taken together.
    fn block(&self, at: usize) -> usize {
        let most = if self.registers.is_empty() { self.len } else { BLOCK };
        let to_row_end = self.operands.iter().map(|operand| match &operand.reading {
            Reading::Rows(walk) => walk.inner - at % walk.inner,
            _ => usize::MAX,
        });
        to_row_end.fold(most.min(self.len - at), usize::min)
    }

    /// Fills the registers of operands for a block.
    fn load(&self, call: &mut Call<'_>, at: usize, len: usize) -> Result<(), Fault> {
        for (i, operand) in self.operands.iter().enumerate() {
            match &operand.reading {
                Reading::Whole | Reading::One | Reading::Rows(_) => {}
                Reading::Replaced(register) => {
                    let y = call.outputs.data()?;
                    let to = call.memory.registers.data_mut(*register, len);
                    with_same_type!(y.as_data().part(at, len), to, |from, to| {
                        to.copy_from_slice(from);
                    }, else ());
                }
                Reading::Spread(walk, register) => {
                    let to = call.memory.registers.data_mut(*register, len);
                    with_same_type!(call.inputs.data(i)?, to, |from, to| {
                        copy_part(walk, from, at, to);
                    }, else ());
                }
            }
        }
        Ok(())
    }

    /// The elements of an operand for a block.
    fn operand<'a>(
        &self,
        i: usize,
        call: &'a Call<'_>,
        at: usize,
        len: usize,
    ) -> Result<Data<'a>, Fault> {
        Ok(match &self.operands[i].reading {
            Reading::Whole => call.inputs.data(i)?.part(at, len),
            Reading::One => call.inputs.data(i)?.part(0, 1),
            Reading::Replaced(register) | Reading::Spread(_, register) => {
                call.memory.registers.data(*register, len)
            }
            Reading::Rows(walk) => {
                let start = walk.start_of(at / walk.inner)[0];
                match walk.strides {
                    [0] => call.inputs.data(i)?.part(start, 1),
                    _ => call.inputs.data(i)?.part(start + at % walk.inner, len),
                }
            }
        })
    }
}

impl Kernel for Chain {
    fn reserve(&self, memory: &mut Memory) {
        for register in &self.registers {
            memory.registers.reserve(*register, BLOCK, &mut memory.scratch.budget);
        }
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let mut at = 0;
        while at < self.len {
            let len = self.block(at);
            self.load(call, at, len)?;
            for link in &self.links {
                // Taken while it is written: the operands are other registers.
                let mut taken = link.output.map(|register| call.memory.registers.take(register));
                let mut result = mem::take(&mut call.outputs);
                let mut operands = [Data::F32(&[]); OPERANDS];
                let mut done = Ok(());
                for (operand, input) in operands.iter_mut().zip(&link.inputs) {
                    match *input {
                        Input::Register(register) => {
                            *operand = call.memory.registers.data(register, len);
                        }
                        Input::Operand(i) => match self.operand(i, call, at, len) {
                            Ok(data) => *operand = data,
                            Err(fault) => done = Err(fault),
                        },
                    }
                }
                let y = match &mut taken {
                    Some(register) => Ok(register.data_mut(len)),
                    None => result.data().map(|y| y.into_part(at, len)),
                };
                let done = done.and(y).and_then(|y| link.function.apply(call.target, &operands, y));
                call.outputs = result;
                if let (Some(register), Some(buffer)) = (link.output, taken) {
                    call.memory.registers.put_back(register, buffer);
                }
                done?;
            }
            at += len;
        }
        Ok(())
    }
}

/// Registers of a chain, and which of them hold nothing that is needed.
struct Registers {
    all: Vec<Register>,
    free: Vec<Register>,
}

impl Registers {
    fn take(&mut self, data_type: DataType) -> Register {
        if let Some(at) = self.free.iter().position(|register| register.data_type == data_type) {
            return self.free.swap_remove(at);
        }
        let number = self.all.iter().filter(|register| register.data_type == data_type).count();
        let register = Register { data_type, number };
        self.all.push(register);
        register
    }
}
