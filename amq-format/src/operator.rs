//! What an operator declares: everything about it but how it is computed.

use crate::activations::Activations;
use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list};
use crate::fault::{Fault, Refusal, refuse_unless};
pub use crate::since::Since;
use crate::spec::{MAX_BITS_WITH_CODES, MAX_RANK};
use crate::value::{ABSENT, DataType, Tensor, ValueId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

/// An operator: its attributes are the fields of the message that implements this.
///
/// Nothing here has a default, so that nothing can be forgotten. What is asked for a `Sized` one is no part of `dyn Operator`,
/// and so of no program that does not ask: only a compiler does.
pub trait Operator {
    /// How many inputs, outputs and bodies it has.
    fn arity(&self) -> Arity;

    /// The first version that can say what it says with these attributes.
    fn since(&self) -> Since;

    /// Its newest version.
    fn newest(&self) -> u32;

    /// Checks the attributes by themselves, but for what dimensions are made of.
    fn attributes(&self) -> Result<(), Refusal>;

    /// The inputs that are constants or tables.
    fn slots(&self) -> Vec<Slot>;

    /// Checks the shapes of its weights and biases, and what multiplies with them.
    fn weights(&self, node: &Constants<'_>) -> Result<(), Refusal>;

    /// Where it says how activations meet the weights at an input, if it multiplies with them.
    fn activations_mut(&mut self, input: usize) -> Option<&mut i32>
    where
        Self: Sized;

    /// The lists of dimensions that it holds.
    fn dims(&self) -> [&[Dim]; 2];

    /// The lists of dimensions that it holds, to be changed.
    fn dims_mut(&mut self) -> [&mut [Dim]; 2];

    /// Its fields that are messages, by their numbers.
    fn messages() -> &'static [(u32, Held)]
    where
        Self: Sized;

    /// Types, shapes and known elements of all outputs that it has. The attributes are right.
    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault>;

    /// About how many multiplications or moves of an element it takes, from the numbers of elements
    /// of its inputs and outputs; none where that does not fit 64 bits.
    fn work(&self, inputs: &[Option<&Fact>], read: i64, given: i64) -> Option<i64>
    where
        Self: Sized;

    /// Itself in a line of a listing: its name or kind, with its attributes.
    fn text(&self) -> String
    where
        Self: Sized;
}

/// How many inputs, outputs and bodies an operator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// Inputs that must be there.
    pub needed: usize,
    /// Inputs there may be; the largest number stands for any number, of which none is absent.
    pub inputs: usize,
    /// Outputs there may be; one must.
    pub outputs: usize,
    /// Graphs that it runs.
    pub bodies: usize,
    /// Names of sizes that it gives when it runs; the largest number stands for any number.
    pub binds: usize,
    /// Which inputs its bodies have too.
    pub captures: Captures,
}

/// Inputs that all bodies of a node have, in the node's order: its last and theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// The first of them among the node's inputs.
    pub first: usize,
    /// The first of them among a body's inputs.
    pub at: usize,
}

impl Arity {
    /// One or more inputs, all of which must be there, and one output.
    pub(crate) const fn any_number() -> Arity {
        Arity::new(1, usize::MAX, 1)
    }

    /// Of an operator without bodies that gives no sizes.
    pub(crate) const fn new(needed: usize, inputs: usize, outputs: usize) -> Arity {
        let captures = Captures { first: 0, at: 0 };
        Arity { needed, inputs, outputs, bodies: 0, binds: 0, captures }
    }

    /// Of an operator without bodies that gives so many sizes; the largest number stands for any
    /// number.
    pub(crate) const fn giving(
        needed: usize,
        inputs: usize,
        outputs: usize,
        binds: usize,
    ) -> Arity {
        Arity { binds, ..Arity::new(needed, inputs, outputs) }
    }

    /// Of an operator with so many bodies, any number of inputs, outputs and names of sizes.
    pub(crate) const fn of_bodies(bodies: usize, captures: Captures) -> Arity {
        let any = usize::MAX;
        Arity { needed: captures.first, inputs: any, outputs: any, bodies, binds: any, captures }
    }
}

/// An input that is a constant or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Which input.
    pub input: usize,
    /// Its name, such as `W`.
    pub name: &'static str,
    /// What stands behind the node's name where it has several matrices, such as `W`.
    pub suffix: Option<&'static str>,
    /// What it is for.
    pub role: Role,
}

/// What a constant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A matrix that vectors are multiplied with: a constant of floats, plain or multi-bit.
    Weight {
        /// Leading axes that are rows.
        rows: usize,
        /// How the vectors enter the product.
        activations: Activations,
    },
    /// A plain constant of floats that goes with weights.
    Bias,
    /// Rows that are looked up, constant or not: they may be multi-bit.
    Table {
        /// Leading axes that are rows.
        rows: usize,
    },
}

impl Slot {
    /// A matrix of which the first axis is rows.
    pub(crate) fn weight(input: usize, activations: Activations) -> Slot {
        Slot { input, name: "W", suffix: None, role: Role::Weight { rows: 1, activations } }
    }

    /// A plain constant.
    pub(crate) fn bias(input: usize, name: &'static str) -> Slot {
        Slot { input, name, suffix: None, role: Role::Bias }
    }

    /// Leading axes that are rows, where it may be multi-bit.
    pub fn rows(&self) -> Option<usize> {
        match self.role {
            Role::Weight { rows, .. } | Role::Table { rows } => Some(rows),
            Role::Bias => None,
        }
    }

    /// Whether it must be a constant.
    pub fn is_constant(&self) -> bool {
        !matches!(self.role, Role::Table { .. })
    }
}

/// What a field of an operator holds, apart from numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Dimensions.
    Dims,
    /// Messages of numbers alone, each of so many bytes in memory.
    Numbers(usize),
}

/// The constants that a node reads.
#[derive(Clone, Copy)]
pub struct Constants<'a> {
    pub(crate) inputs: &'a [ValueId],
    pub(crate) constant: &'a dyn Fn(ValueId) -> Option<&'a Tensor>,
}

impl Debug for Constants<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Constants").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<'a> Constants<'a> {
    /// The constant of an input that must be one.
    pub(crate) fn get(&self, slot: &Slot) -> Result<&'a Tensor, Refusal> {
        let value = self.inputs.get(slot.input).copied().unwrap_or(ABSENT);
        let tensor = (self.constant)(value);
        tensor.ok_or_else(|| (Rule::G13, format!("{} is no constant", slot.name)))
    }

    /// The shape of a weight or bias must be one that `fits` accepts; an absent one fits.
    pub(crate) fn shape(
        &self,
        slot: &Slot,
        fits: impl FnOnce(&[u64]) -> bool,
    ) -> Result<(), Refusal> {
        if matches!(self.inputs.get(slot.input), None | Some(&ABSENT)) {
            return Ok(());
        }
        let tensor = self.get(slot)?;
        refuse_unless(fits(&tensor.dims), Rule::G13, || unfit(slot, tensor))
    }

    /// Activations that are coded meet a multi-bit weight, of which codes take few bits.
    pub(crate) fn activations(&self, activations: Activations, slot: &Slot) -> Result<(), Refusal> {
        if activations == Activations::F32 {
            return Ok(());
        }
        let (any, found) = (activations.codes().is_none(), activations.adjective());
        let Some(coding) = &self.get(slot)?.multi_bit else {
            return Err((Rule::G15, format!("{found} activations meet plain weights")));
        };
        refuse_unless(any || coding.bits <= MAX_BITS_WITH_CODES, Rule::G15, || {
            format!("{found} activations meet weights of {} bits", coding.bits)
        })
    }
}

/// A constant that is not what its slot takes.
pub(crate) fn unfit(slot: &Slot, tensor: &Tensor) -> String {
    let found = DataType::try_from(tensor.data_type).map_or("of no known type", DataType::name);
    format!("{} is {found}, its shape {}", slot.name, list(&tensor.dims))
}

/// An attribute's number as one of an enumeration.
pub(crate) fn known<E: TryFrom<i32>>(number: i32, attribute: &str) -> Result<E, Refusal> {
    E::try_from(number).map_err(|_| (Rule::G11, format!("{attribute} is {number}")))
}

/// Axes that a tensor can have.
pub(crate) fn check_axes(axes: &[u32]) -> Result<(), Refusal> {
    refuse_unless(axes.len() <= MAX_RANK, Rule::G11, || format!("{} axes", axes.len()))?;
    refuse_unless(axes.iter().all(|&axis| (axis as usize) < MAX_RANK), Rule::G11, || {
        format!("axes {}", list(axes))
    })
}

/// Declares the fields of an operator that are dimensions, at most two, by their numbers.
macro_rules! holds_dims {
    ($($tag:literal $first:ident $(, $next:literal $second:ident)?)?) => {
        fn dims(&self) -> [&[Dim]; 2] {
            holds_dims!(@pair self, (&), $($first $($second)?)?)
        }

        fn dims_mut(&mut self) -> [&mut [Dim]; 2] {
            holds_dims!(@pair self, (&mut), $($first $($second)?)?)
        }

        fn messages() -> &'static [(u32, $crate::operator::Held)] {
            &[$(($tag, $crate::operator::Held::Dims) $(, ($next, $crate::operator::Held::Dims))?)?]
        }
    };
    (@pair $self:ident, ($($by:tt)*), ) => { [$($by)* [], $($by)* []] };
    (@pair $self:ident, ($($by:tt)*), $first:ident) => { [$($by)* $self.$first, $($by)* []] };
    (@pair $self:ident, ($($by:tt)*), $first:ident $second:ident) => {
        [$($by)* $self.$first, $($by)* $self.$second]
    };
}
pub(crate) use holds_dims;

/// Declares an operator that says the same since version 1.0 of the format.
macro_rules! unchanged {
    () => {
        fn since(&self) -> $crate::operator::Since {
            $crate::operator::Since::FIRST
        }

        fn newest(&self) -> u32 {
            1
        }
    };
}
pub(crate) use unchanged;

/// Declares that no input of an operator is a weight or a table.
macro_rules! no_slots {
    () => {
        fn slots(&self) -> alloc::vec::Vec<$crate::operator::Slot> {
            alloc::vec::Vec::new()
        }

        fn weights(
            &self,
            _: &$crate::operator::Constants<'_>,
        ) -> Result<(), $crate::fault::Refusal> {
            Ok(())
        }

        fn activations_mut(&mut self, _: usize) -> Option<&mut i32> {
            None
        }
    };
}
pub(crate) use no_slots;

/// Declares an operator that touches each element of its inputs and outputs about once.
macro_rules! linear_work {
    () => {
        fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
            read.checked_add(given)
        }
    };
}
pub(crate) use linear_work;
