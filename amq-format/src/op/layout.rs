//! The same elements in another shape or order, and shapes as data.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, broadcast, list};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::known::{Elements, MAX_KNOWN};
use crate::operator::{Arity, Operator, check_axes, holds_dims, linear_work, no_slots, unchanged};
use crate::spec::MAX_RANK;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The elements of x in another shape.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reshape {
    /// The shape.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

impl Operator for Reshape {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_shape(&self.dims)
    }

    no_slots!();
    holds_dims!(1 dims);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        if let (Some(before), Some(after)) = (elements(&x.dims)?, elements(&self.dims)?) {
            let (from, to) = (list(&x.dims), list(&self.dims));
            ensure!(before == after, "{from} cannot become {to}: {before} elements, not {after}");
        }
        let y = Fact::new(x.data_type, self.dims.clone());
        Ok(vec![y.with_value(|| inputs.value(0)?.reshape(&self.dims))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Reshape({})", list(&self.dims))
    }
}

/// A shape that is given: no number in it is negative.
fn check_shape(dims: &[Dim]) -> Result<(), Refusal> {
    refuse_unless(dims.len() <= MAX_RANK, Rule::G11, || format!("{} axes", dims.len()))?;
    let negative = dims.iter().filter_map(Dim::as_size).find(|&size| size < 0);
    negative.map_or(Ok(()), |size| Err((Rule::G12, format!("dimension {size}"))))
}

/// The number of elements, where every size is a number.
fn elements(dims: &[Dim]) -> Result<Option<i64>, Fault> {
    let Some(sizes) = dims.iter().map(Dim::as_size).collect::<Option<Vec<i64>>>() else {
        return Ok(None);
    };
    let product = sizes.iter().try_fold(1i64, |product, &size| product.checked_mul(size));
    product.map(Some).ok_or_else(|| fault!("{} is too large", list(dims)))
}

/// x with its axes in another order.
///
/// Inputs: x. Outputs: y, whose axis i is x's axis `perm[i]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Transpose {
    /// The order.
    #[prost(uint32, repeated, tag = "1")]
    pub perm: Vec<u32>,
}

impl Operator for Transpose {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&self.perm)?;
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        let permutes = sorted.iter().enumerate().all(|(i, &axis)| axis as usize == i);
        refuse_unless(permutes, Rule::G11, || format!("perm {}", list(&self.perm)))
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let (axes, rank) = (self.perm.len(), x.dims.len());
        ensure!(
            axes == rank,
            "perm {} does not order the axes of {}",
            list(&self.perm),
            list(&x.dims)
        );
        let dims = self.perm.iter().map(|&axis| x.dims[axis as usize].clone()).collect();
        let y = Fact::new(x.data_type, dims);
        Ok(vec![y.with_value(|| inputs.value(0)?.transpose(&self.perm))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Transpose({:?})", self.perm)
    }
}

/// x broadcast together with a shape.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Expand {
    /// The shape.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

impl Operator for Expand {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_shape(&self.dims)
    }

    no_slots!();
    holds_dims!(1 dims);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let y = Fact::new(x.data_type, broadcast(&x.dims, &self.dims)?);
        Ok(vec![y.with_value(|| inputs.value(0)?.expand(&self.dims))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Expand({})", list(&self.dims))
    }
}

/// Sizes of dimensions as a vector of i64.
///
/// Inputs: none. Outputs: y `[dims.len()]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dims {
    /// The sizes.
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

impl Operator for Dims {
    fn arity(&self) -> Arity {
        Arity::new(0, 0, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        Ok(())
    }

    no_slots!();
    holds_dims!(1 dims);

    fn rule(&self, _: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let count = self.dims.len();
        let y = Fact::new(DataType::I64, vec![Dim::from(count as i64)]);
        let value = || (count <= MAX_KNOWN).then(|| Elements::vector(self.dims.clone()));
        Ok(vec![y.with_value(value)])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Dims({})", list(&self.dims))
    }
}
