//! The largest and the smallest.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Operator, check_axes, holds_dims, no_slots, unchanged};
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// The k largest or smallest entries along an axis, and where they are. NaN counts as larger than
/// every number, -0 and +0 as equal; of equal entries those with the lower indices are taken.
///
/// Inputs: x, f32 or integers. Outputs: values and their indices, i64; x's shape with k along the
/// axis. One of the two may be absent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TopK {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
    /// How many: one number.
    #[prost(message, repeated, tag = "2")]
    pub k: Vec<Dim>,
    /// Whether the smallest are meant.
    #[prost(bool, tag = "3")]
    pub smallest: bool,
    /// Whether they stay in the order of x. If not, the first is the largest or smallest and equal
    /// ones are in the order of x.
    #[prost(bool, tag = "4")]
    pub unsorted: bool,
}

impl Operator for TopK {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 2)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.axis])?;
        let one = matches!(self.k.as_slice(), [k] if k.as_size().is_none_or(|k| k >= 0));
        refuse_unless(one, Rule::G11, || format!("k is {}", list(&self.k)))
    }

    no_slots!();
    holds_dims!(2 k);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, axis) = (inputs.get(0)?, self.axis as usize);
        let found = x.data_type.name();
        ensure!(x.data_type != DataType::Bool, "its input is {found}, it must be f32 or integers");
        let k = self.k.first().ok_or_else(|| fault!("k is missing"))?;
        let size = x.axis(axis)?;
        let enough = size.as_size().zip(k.as_size()).is_none_or(|(size, k)| k <= size);
        ensure!(enough, "it takes {k} of {size} entries along axis {axis}");
        let mut dims = x.dims.clone();
        dims[axis] = k.clone();
        Ok(vec![Fact::new(x.data_type, dims.clone()), Fact::new(DataType::I64, dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        // Comparisons, of which an entry takes part in a few.
        read.checked_mul(8)?.checked_add(given)
    }

    fn text(&self) -> String {
        let order = if self.unsorted { ", unsorted" } else { "" };
        let which = if self.smallest { "Smallest" } else { "Largest" };
        let k = self.k.first().map(Dim::to_string).unwrap_or_default();
        format!("{which}({k} along {}{order})", self.axis)
    }
}
