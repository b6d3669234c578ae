//! Reductions over axes, and softmax.

use crate::dim::Dim;
use crate::ensure;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::known::Elements;
use crate::operator::{
    Arity, Operator, Since, check_axes, holds_dims, known, linear_work, no_slots, unchanged,
};
use crate::value::DataType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ReduceKind {
    /// Sum.
    Sum = 0,
    /// Arithmetic mean.
    Mean = 1,
    /// Largest.
    Max = 2,
    /// Smallest.
    Min = 3,
    /// Product.
    Product = 4,
}

/// A reduction of x over axes. Integers wrap.
///
/// Inputs: x f32, of all but `Mean` integers, of `Max` and `Min` bool. Outputs: y of the same type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reduce {
    /// What is computed.
    #[prost(enumeration = "ReduceKind", tag = "1")]
    pub kind: i32,
    /// Axes, ascending.
    #[prost(uint32, repeated, tag = "2")]
    pub axes: Vec<u32>,
    /// Whether reduced axes stay, with size 1.
    #[prost(bool, tag = "3")]
    pub keep_dims: bool,
}

impl Operator for Reduce {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.kind, &[(4, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<ReduceKind>(self.kind, "kind")?;
        check_axes(&self.axes)?;
        let ascending = self.axes.is_sorted_by(|a, b| a < b);
        refuse_unless(ascending, Rule::G11, || format!("axes {}", list(&self.axes)))
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let takes = match self.kind() {
            ReduceKind::Max | ReduceKind::Min => true,
            ReduceKind::Mean => x.data_type == DataType::F32,
            ReduceKind::Sum | ReduceKind::Product => x.data_type != DataType::Bool,
        };
        let found = x.data_type.name();
        ensure!(takes, "{:?} does not take {found}", self.kind());
        let rank = x.dims.len();
        let fit = self.axes.iter().all(|&axis| (axis as usize) < rank);
        ensure!(fit, "axes {} are not axes of {}", list(&self.axes), list(&x.dims));
        let mut dims = Vec::with_capacity(rank);
        for (axis, size) in x.dims.iter().enumerate() {
            match (self.axes.contains(&(axis as u32)), self.keep_dims) {
                (false, _) => dims.push(size.clone()),
                (true, true) => dims.push(Dim::from(1)),
                (true, false) => {}
            }
        }
        let y = Fact::new(x.data_type, dims);
        Ok(vec![y.with_value(|| self.known(inputs.value(0)?))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!(
            "Reduce{:?}({:?}{})",
            self.kind(),
            self.axes,
            if self.keep_dims { ", keep_dims" } else { "" }
        )
    }
}

impl Reduce {
    /// The sum or product of all elements of a vector that are known.
    fn known(&self, x: &Elements) -> Option<Elements> {
        if x.dims.len() != 1 || self.axes != [0] {
            return None;
        }
        let result = match self.kind() {
            ReduceKind::Sum => x.values.iter().try_fold(Dim::from(0), |sum, dim| sum.add(dim).ok()),
            ReduceKind::Product => Dim::product(&x.values).ok(),
            ReduceKind::Max => {
                let (first, rest) = x.values.split_first()?;
                rest.iter().try_fold(first.clone(), |most, dim| most.larger(dim).ok())
            }
            ReduceKind::Min => {
                let (first, rest) = x.values.split_first()?;
                rest.iter().try_fold(first.clone(), |least, dim| least.smaller(dim).ok())
            }
            ReduceKind::Mean => None,
        };
        let dims = if self.keep_dims { vec![1] } else { Vec::new() };
        Some(Elements { dims, values: vec![result?] })
    }
}

/// Softmax along an axis, or its logarithm.
///
/// Inputs: x f32. Outputs: y of the same shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Softmax {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
    /// Whether the logarithm is wanted.
    #[prost(bool, tag = "2")]
    pub log: bool,
}

impl Operator for Softmax {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.f32(0)?;
        x.axis(self.axis as usize)?;
        Ok(vec![x.clone()])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("{}Softmax({})", if self.log { "Log" } else { "" }, self.axis)
    }
}
