//! The largest and the smallest.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Operator, check_axes, holds_dims, no_slots, unchanged};
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
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
    /// How many.
    #[prost(uint64, tag = "2")]
    pub k: u64,
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
        refuse_unless(i64::try_from(self.k).is_ok(), Rule::G11, || format!("k is {}", self.k))
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, axis) = (inputs.get(0)?, self.axis as usize);
        let found = x.data_type.name();
        ensure!(x.data_type != DataType::Bool, "its input is {found}, it must be f32 or integers");
        let k = i64::try_from(self.k).map_err(|_| fault!("k is {}", self.k))?;
        let size = x.axis(axis)?;
        let enough = size.as_size().is_none_or(|size| k <= size);
        ensure!(enough, "it takes {k} of {size} entries along axis {axis}");
        let mut dims = x.dims.clone();
        dims[axis] = Dim::from(k);
        Ok(vec![Fact::new(x.data_type, dims.clone()), Fact::new(DataType::I64, dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        // Comparisons, of which an entry takes part in a few.
        read.checked_mul(8)?.checked_add(given)
    }

    fn text(&self) -> String {
        let order = if self.unsorted { ", unsorted" } else { "" };
        let which = if self.smallest { "Smallest" } else { "Largest" };
        format!("{which}({} along {}{order})", self.k, self.axis)
    }
}
