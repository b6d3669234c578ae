//! Elements that indices choose, and elements that are written where indices say.

use crate::dim::Dim;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal};
use crate::operator::{
    Arity, Operator, Since, check_axes, holds_dims, known, linear_work, no_slots, unchanged,
};
use crate::spec::MAX_RANK;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Input 1: integers that choose entries.
fn indices<'a>(inputs: &Facts<'a>) -> Result<&'a Fact, Fault> {
    let indices = inputs.get(1)?;
    let found = indices.data_type.name();
    let integers = matches!(indices.data_type, DataType::I32 | DataType::I64);
    ensure!(integers, "its indices are {found}, they must be i32 or i64");
    Ok(indices)
}

/// The indices of elements have the axes of x, and do not reach beyond it but along `axis`.
fn fits(x: &Fact, indices: &Fact, axis: usize) -> Result<(), Fault> {
    x.axis(axis)?;
    indices.rank("the tensor of indices", x.dims.len())?;
    for (k, (size, limit)) in indices.dims.iter().zip(&x.dims).enumerate() {
        let beyond = matches!((size.as_size(), limit.as_size()), (Some(a), Some(b)) if a > b);
        ensure!(
            k == axis || !beyond,
            "indices of shape {} reach beyond {}",
            list(&indices.dims),
            list(&x.dims)
        );
    }
    Ok(())
}

/// Elements of x, each at its place in the indices but along the axis, where its index says.
///
/// Inputs: x, indices i32 or i64 with as many axes, negative ones from the end. Outputs: y of the
/// indices' shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GatherElements {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
}

impl Operator for GatherElements {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, indices) = (inputs.get(0)?, indices(inputs)?);
        fits(x, indices, self.axis as usize)?;
        Ok(vec![Fact::new(x.data_type, indices.dims.clone())])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("GatherElements({})", self.axis)
    }
}

/// Parts of x, each at the tuple of indices that the last axis of the indices holds. The leading
/// batch axes are common to both.
///
/// Inputs: x, indices i32 or i64 `[batch.., outer.., n]`, negative ones from the end. Outputs: y
/// `[batch.., outer.., the axes of x behind the batch axes and n more]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GatherNd {
    /// Leading axes that are common to x and the indices.
    #[prost(uint32, tag = "1")]
    pub batch_axes: u32,
}

/// Sizes of the axes of x that tuples of indices do not choose, behind `batch` axes.
fn parts<'a>(x: &'a Fact, indices: &Fact, batch: usize) -> Result<&'a [Dim], Fault> {
    let tuple = indices.dims.last().ok_or_else(|| fault!("its indices have no axes"))?;
    let size = tuple.as_size().and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| fault!("how many indices a tuple has, {tuple}, is not known"))?;
    let enough = batch < indices.dims.len() && size <= MAX_RANK;
    ensure!(enough, "its indices are {}, behind {batch} axes", list(&indices.dims));
    x.dims.get(batch + size..).ok_or_else(|| {
        fault!("{size} indices behind {batch} axes choose nothing of {}", list(&x.dims))
    })
}

impl Operator for GatherNd {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.batch_axes])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, indices, batch) = (inputs.get(0)?, indices(inputs)?, self.batch_axes as usize);
        let parts = parts(x, indices, batch)?;
        for (size, expected) in indices.dims.iter().zip(&x.dims).take(batch) {
            same("a batch axis of its indices", size, expected)?;
        }
        let mut dims = indices.dims[..indices.dims.len() - 1].to_vec();
        dims.extend_from_slice(parts);
        Ok(vec![Fact::new(x.data_type, dims)])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("GatherNd(batch axes {})", self.batch_axes)
    }
}

/// How an element that is written meets the one that is there. Elements of f32 are combined as
/// [`BinaryFunction`](super::BinaryFunction) has it, with the one that is there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ScatterKind {
    /// It replaces it; the last of several stays.
    Replace = 0,
    /// It is added to it.
    Add = 1,
    /// It multiplies it.
    Mul = 2,
    /// The larger stays.
    Max = 3,
    /// The smaller stays.
    Min = 4,
}

impl ScatterKind {
    fn since(number: i32) -> Since {
        Since::number(number, &[(4, Since::FIRST)])
    }

    fn takes(self, x: &Fact) -> Result<(), Fault> {
        let takes = self == ScatterKind::Replace || x.data_type != DataType::Bool;
        ensure!(takes, "{self:?} does not take bool");
        Ok(())
    }
}

/// x with elements written over it, each at its place in the indices but along the axis, where its
/// index says; in the order of the indices.
///
/// Inputs: x, indices i32 or i64 with as many axes, negative ones from the end, updates of the
/// indices' shape. Outputs: y of x's shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScatterElements {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
    /// How elements meet.
    #[prost(enumeration = "ScatterKind", tag = "2")]
    pub kind: i32,
}

/// Input 2: what is written, of x's type.
fn updates<'a>(inputs: &Facts<'a>, x: &Fact) -> Result<&'a Fact, Fault> {
    let updates = inputs.get(2)?;
    let (found, expected) = (updates.data_type.name(), x.data_type.name());
    ensure!(found == expected, "its updates are {found}, they must be {expected}");
    Ok(updates)
}

impl Operator for ScatterElements {
    fn arity(&self) -> Arity {
        Arity::new(3, 3, 1)
    }

    fn since(&self) -> Since {
        ScatterKind::since(self.kind)
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<ScatterKind>(self.kind, "kind")?;
        check_axes(&[self.axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, indices) = (inputs.get(0)?, indices(inputs)?);
        self.kind().takes(x)?;
        fits(x, indices, self.axis as usize)?;
        let updates = updates(inputs, x)?;
        updates.rank("the tensor of updates", indices.dims.len())?;
        for (size, expected) in updates.dims.iter().zip(&indices.dims) {
            same("a size of the updates", size, expected)?;
        }
        Ok(vec![Fact::new(x.data_type, x.dims.clone())])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("ScatterElements({}, {:?})", self.axis, self.kind())
    }
}

/// x with parts written over it, each at the tuple of indices that the last axis of the indices
/// holds; in the order of the indices.
///
/// Inputs: x, indices i32 or i64 `[outer.., n]`, negative ones from the end, updates `[outer.., the
/// axes of x behind the first n]`. Outputs: y of x's shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScatterNd {
    /// How elements meet.
    #[prost(enumeration = "ScatterKind", tag = "1")]
    pub kind: i32,
}

impl Operator for ScatterNd {
    fn arity(&self) -> Arity {
        Arity::new(3, 3, 1)
    }

    fn since(&self) -> Since {
        ScatterKind::since(self.kind)
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<ScatterKind>(self.kind, "kind").map(drop)
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, indices) = (inputs.get(0)?, indices(inputs)?);
        self.kind().takes(x)?;
        let parts = parts(x, indices, 0)?;
        let updates = updates(inputs, x)?;
        let outer = &indices.dims[..indices.dims.len() - 1];
        updates.rank("the tensor of updates", outer.len() + parts.len())?;
        for (size, expected) in updates.dims.iter().zip(outer.iter().chain(parts)) {
            same("a size of the updates", size, expected)?;
        }
        Ok(vec![Fact::new(x.data_type, x.dims.clone())])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("ScatterNd({:?})", self.kind())
    }
}
