//! Parts of tensors, tensors in parts, and borders.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::known::Elements;
use crate::operator::{
    Arity, Constants, Operator, Role, Since, Slot, check_axes, holds_dims, known, linear_work,
    no_slots, unchanged,
};
use crate::spec::MAX_RANK;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Entries of x along an axis, at the indices.
///
/// Inputs: x (a multi-bit table if axis is 0), indices i32 or i64, negative ones from the end.
/// Outputs: x's shape with the axis replaced by the indices' shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gather {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
}

impl Operator for Gather {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.axis])
    }

    fn slots(&self) -> Vec<Slot> {
        let table = Slot { input: 0, name: "x", suffix: None, role: Role::Table { rows: 1 } };
        if self.axis == 0 { vec![table] } else { Vec::new() }
    }

    fn weights(&self, _: &Constants<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn activations_mut(&mut self, _: usize) -> Option<&mut i32> {
        None
    }

    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let axis = self.axis as usize;
        x.axis(axis)?;
        let found = indices.data_type.name();
        let integers = matches!(indices.data_type, DataType::I32 | DataType::I64);
        ensure!(integers, "its indices are {found}, they must be i32 or i64");
        let mut dims = x.dims[..axis].to_vec();
        dims.extend_from_slice(&indices.dims);
        dims.extend_from_slice(&x.dims[axis + 1..]);
        let y = Fact::new(x.data_type, dims);
        Ok(vec![y.with_value(|| inputs.value(0)?.gather(axis, inputs.value(1)?))])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Gather({})", self.axis)
    }
}

/// Tensors of one type one after the other along an axis.
///
/// Inputs: one or more. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Concat {
    /// The axis.
    #[prost(uint32, tag = "1")]
    pub axis: u32,
}

impl Operator for Concat {
    fn arity(&self) -> Arity {
        Arity::any_number()
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&[self.axis])
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let axis = self.axis as usize;
        let first = inputs.get(0)?;
        let mut result = Fact::new(first.data_type, first.dims.clone());
        result.axis(axis)?;
        for i in 1..inputs.len() {
            let x = inputs.get(i)?;
            let (found, expected) = (x.data_type.name(), result.data_type.name());
            ensure!(found == expected, "input {i} is {found}, input 0 is {expected}");
            x.rank("an input", result.dims.len())?;
            for (k, (size, other)) in x.dims.iter().zip(&mut result.dims).enumerate() {
                if k == axis {
                    *other = other.add(size)?;
                } else {
                    same("a size beside the axis", size, other)?;
                }
            }
        }
        Ok(vec![result.with_value(|| {
            let parts: Option<Vec<&Elements>> =
                (0..inputs.len()).map(|i| inputs.value(i)).collect();
            Elements::concat(&parts?, axis)
        })])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Concat({})", self.axis)
    }
}

/// Every step-th entry of x from start to end along each of some axes.
///
/// Bounds are as in ONNX: negative ones count from the end, all are clamped.
///
/// Inputs: x. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Slice {
    /// The axes.
    #[prost(uint32, repeated, tag = "1")]
    pub axes: Vec<u32>,
    /// First entry, for each axis.
    #[prost(message, repeated, tag = "2")]
    pub starts: Vec<Dim>,
    /// End, excluded, for each axis.
    #[prost(message, repeated, tag = "3")]
    pub ends: Vec<Dim>,
    /// Step, not 0, for each axis.
    #[prost(sint64, repeated, tag = "4")]
    pub steps: Vec<i64>,
}

impl Operator for Slice {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        check_axes(&self.axes)?;
        let axes = self.axes.len();
        let distinct = (1..axes).all(|i| !self.axes[..i].contains(&self.axes[i]));
        refuse_unless(distinct, Rule::G11, || format!("axes {}", list(&self.axes)))?;
        refuse_unless(
            [self.starts.len(), self.ends.len(), self.steps.len()] == [axes; 3],
            Rule::G11,
            || String::from("there are not as many starts, ends and steps as axes"),
        )?;
        let steps = self.steps.iter().all(|&step| step != 0 && step != i64::MIN);
        refuse_unless(steps, Rule::G11, || format!("steps {}", list(&self.steps)))
    }

    no_slots!();
    holds_dims!(2 starts, 3 ends);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let mut dims = x.dims.clone();
        for (axis, range) in self.ranges(&x.dims)? {
            dims[axis] = range.count;
        }
        let y = Fact::new(x.data_type, dims);
        Ok(vec![y.with_value(|| self.known(inputs.value(0)?))])
    }

    linear_work!();

    fn text(&self) -> String {
        let bounds = self.axes.iter().zip(&self.starts).zip(&self.ends).zip(&self.steps);
        let bounds: Vec<String> = bounds
            .map(|(((axis, start), end), step)| format!("{axis}: {start}..{end} by {step}"))
            .collect();
        format!("Slice({})", bounds.join(", "))
    }
}

/// What a slice takes of one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The first entry.
    pub first: Dim,
    /// From one entry to the next.
    pub step: i64,
    /// Number of entries.
    pub count: Dim,
}

/// Bounds from here on mean "to the end" whatever the size: exporters write the largest or smallest
/// integer of 32 or 64 bits.
const TO_THE_END: i64 = i32::MAX as i64;

impl Slice {
    /// What it takes of each of its axes, for x of this shape.
    ///
    /// # Errors
    /// x has no such axis, or a bound may count from the beginning or from the end.
    pub fn ranges(&self, dims: &[Dim]) -> Result<Vec<(usize, Range)>, Fault> {
        let bounds = self.starts.iter().zip(&self.ends).zip(&self.steps);
        let each = self.axes.iter().zip(bounds).map(|(&axis, ((start, end), &step))| {
            let axis = axis as usize;
            let size = dims.get(axis);
            let size = size.ok_or_else(|| fault!("axis {axis} of {} is wrong", list(dims)))?;
            Ok((axis, range(size, start, end, step)?))
        });
        each.collect()
    }

    /// Known elements, between bounds that are numbers.
    fn known(&self, elements: &Elements) -> Option<Elements> {
        let mut known = elements.clone();
        for (i, &axis) in self.axes.iter().enumerate() {
            let (start, end) = (self.starts[i].as_size()?, self.ends[i].as_size()?);
            known = known.slice(axis as usize, start, end, self.steps[i])?;
        }
        Some(known)
    }
}

fn range(size: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<Range, Fault> {
    let zero = Dim::from(0);
    // ONNX keeps a start within the axis for a negative step; only an end may lie before it. On an
    // empty axis, where most is -1 then, both do and nothing is taken.
    let (first, least, most) = if step > 0 {
        (zero.clone(), zero.clone(), size.clone())
    } else {
        let most = size.add(&Dim::from(-1))?;
        (zero.smaller(&most)?, Dim::from(-1), most)
    };
    let clamp = |bound: &Dim, low: &Dim| -> Result<Dim, Fault> {
        let number = bound.as_size();
        match (number, size.as_size()) {
            (Some(number), None) if number >= TO_THE_END => return Ok(most.clone()),
            (Some(number), None) if number <= -TO_THE_END => return Ok(low.clone()),
            _ => {}
        }
        // No size is as large as a quarter of all numbers, and sums of such do not overflow.
        let bound = &number
            .map_or(bound.clone(), |number| Dim::from(number.clamp(-i64::MAX / 4, i64::MAX / 4)));
        let from_start = if bound.larger(&zero)? == *bound {
            bound.clone()
        } else if bound.smaller(&Dim::from(-1))? == *bound {
            size.add(bound)?
        } else {
            return Err(fault!("the bound {bound} may be negative or not, which is not supported"));
        };
        // Expressions do not show that most is at least low.
        if from_start == most {
            return Ok(most.clone());
        }
        Ok(from_start.larger(low)?.smaller(&most)?)
    };
    let (first, last) = (clamp(start, &first)?, clamp(end, &least)?);
    let length = last.sub(&first)?.ceil_div(&Dim::from(step))?;
    Ok(Range { first, step, count: length.larger(&zero)? })
}

/// What a border holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PadMode {
    /// One value.
    Constant = 0,
    /// The tensor mirrored at its first and last entry, those not repeated.
    Reflect = 1,
    /// The first or last entry.
    Edge = 2,
    /// The tensor again, from its other end.
    Wrap = 3,
}

/// x with entries added, or with negative sizes taken away, at both ends of each axis. Borders are
/// made of what is left, which is repeated where they are longer.
///
/// Inputs: x, value (one element of x's type, may be absent: zero). Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pad {
    /// What the border holds.
    #[prost(enumeration = "PadMode", tag = "1")]
    pub mode: i32,
    /// Entries at the beginning of each axis.
    #[prost(message, repeated, tag = "2")]
    pub begins: Vec<Dim>,
    /// Entries at the end of each axis.
    #[prost(message, repeated, tag = "3")]
    pub ends: Vec<Dim>,
}

impl Operator for Pad {
    fn arity(&self) -> Arity {
        Arity::new(1, 2, 1)
    }

    fn since(&self) -> Since {
        Since::number(self.mode, &[(3, Since::FIRST)])
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<PadMode>(self.mode, "mode")?;
        let (begins, ends) = (self.begins.len(), self.ends.len());
        refuse_unless(begins == ends && begins <= MAX_RANK, Rule::G11, || {
            format!("{begins} begins, {ends} ends")
        })
    }

    no_slots!();
    holds_dims!(2 begins, 3 ends);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let rank = x.dims.len();
        ensure!(self.begins.len() == rank, "pads are not those of {rank} axes");
        if let Some(value) = inputs.optional(1) {
            let (found, expected) = (value.data_type.name(), x.data_type.name());
            ensure!(found == expected, "the value is {found}, it must be {expected}");
            let one = value.dims.iter().all(|dim| dim.as_size().is_none_or(|size| size == 1));
            ensure!(one, "the value has shape {}, it must be a scalar", list(&value.dims));
        }
        let mut dims = Vec::with_capacity(rank);
        for ((size, begin), end) in x.dims.iter().zip(&self.begins).zip(&self.ends) {
            dims.push(size.add(begin)?.add(end)?);
        }
        Ok(vec![Fact::new(x.data_type, dims)])
    }

    linear_work!();

    fn text(&self) -> String {
        format!("Pad({:?}, {}, {})", self.mode(), list(&self.begins), list(&self.ends))
    }
}
