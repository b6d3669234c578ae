//! What goes along an axis step by step: running totals, and the beginnings of sequences reversed.

use crate::dim::Dim;
use crate::ensure;
use crate::fact::{Fact, Facts, same};
use crate::fault::{Fault, Refusal};
use crate::known::Elements;
use crate::operator::{
    Arity, Operator, Since, check_axes, holds_dims, known, linear_work, no_slots, unchanged,
};
use crate::value::DataType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// How a running total is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CumulativeKind {
    /// Sum.
    Sum = 0,
    /// Product.
    Product = 1,
}

/// Totals of the entries up to each, along an axis. Integers wrap.
///
/// Inputs: x f32 or integers. Outputs: y of the same shape and type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cumulative {
    /// How a total is made.
    #[prost(enumeration = "CumulativeKind", tag = "1")]
    pub kind: i32,
    /// The axis.
    #[prost(uint32, tag = "2")]
    pub axis: u32,
    /// Whether an entry is left out of its own total.
    #[prost(bool, tag = "3")]
    pub exclusive: bool,
    /// Whether it begins with the last entry.
    #[prost(bool, tag = "4")]
    pub reverse: bool,
}

impl Operator for Cumulative {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.kind, &[(1, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<CumulativeKind>(self.kind, "kind")?;
        check_axes(&[self.axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let found = x.data_type.name();
        ensure!(x.data_type != DataType::Bool, "its input is {found}, it must be f32 or integers");
        x.axis(self.axis as usize)?;
        let y = Fact::new(x.data_type, x.dims.clone());
        Ok(vec![y.with_value(|| self.known(inputs.value(0)?))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!(
            "Cumulative{:?}({}{}{})",
            self.kind(),
            self.axis,
            if self.exclusive { ", exclusive" } else { "" },
            if self.reverse { ", reverse" } else { "" }
        )
    }
}

impl Cumulative {
    /// Totals of a vector whose elements are known.
    fn known(&self, x: &Elements) -> Option<Elements> {
        if x.dims.len() != 1 {
            return None;
        }
        let product = self.kind() == CumulativeKind::Product;
        let mut total = Dim::from(i64::from(product));
        let mut values = x.values.clone();
        let places: Vec<usize> = if self.reverse {
            (0..values.len()).rev().collect()
        } else {
            (0..values.len()).collect()
        };
        for at in places {
            let before = total;
            let after = if product { before.mul(&x.values[at]) } else { before.add(&x.values[at]) };
            total = after.ok()?;
            values[at] = if self.exclusive { before } else { total.clone() };
        }
        Some(Elements { dims: x.dims.clone(), values })
    }
}

/// x with the first entries of each sequence, as many as it is long, in the opposite order.
///
/// Inputs: x, lengths i32 or i64, one for each entry along the batch axis. Outputs: y of x's shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReverseSequence {
    /// The axis along which entries of a sequence follow each other.
    #[prost(uint32, tag = "1")]
    pub time_axis: u32,
    /// The axis of sequences, another one.
    #[prost(uint32, tag = "2")]
    pub batch_axis: u32,
}

impl Operator for ReverseSequence {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.time_axis, self.batch_axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, lengths) = (inputs.get(0)?, inputs.get(1)?);
        let found = lengths.data_type.name();
        let integers = matches!(lengths.data_type, DataType::I32 | DataType::I64);
        ensure!(integers, "its lengths are {found}, they must be i32 or i64");
        ensure!(self.time_axis != self.batch_axis, "time and batch are one axis");
        x.axis(self.time_axis as usize)?;
        lengths.rank("the tensor of lengths", 1)?;
        same("the number of lengths", &lengths.dims[0], x.axis(self.batch_axis as usize)?)?;
        Ok(vec![Fact::new(x.data_type, x.dims.clone())])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("ReverseSequence(time {}, batch {})", self.time_axis, self.batch_axis)
    }
}
