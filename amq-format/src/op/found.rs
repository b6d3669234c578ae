//! Operators that find sizes when they run: how many elements are chosen, or what sizes are computed.

use crate::dim::Dim;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal};
use crate::known::Elements;
use crate::operator::{Arity, Operator, holds_dims, no_slots, unchanged};
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Integers that are sizes from here on.
///
/// Inputs: x, i64. Outputs: x. It gives a size for each element of x, none of which may be negative.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sizes {}

/// Where elements are that are not 0, in their order.
///
/// Inputs: x. Outputs: the indices of those along each axis, i64 [axes, number]. It gives their number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NonZero {}

/// Which entries along the first axis are different. -0 and +0 are equal, NaN is equal to itself and
/// larger than every number.
///
/// Inputs: x [n, ..]. Outputs: where each different one is first, i64 `[number]`; which one of these
/// each entry is, i64 `[n]`; how often each is there, i64 `[number]`. All but one may be absent. It gives
/// their number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unique {
    /// Whether they stay in the order in which they are first. If not, they are in the order of their
    /// elements, of which the first that differs counts.
    #[prost(bool, tag = "1")]
    pub unsorted: bool,
}

/// The numbers from one on, in equal steps, up to a limit that is none of them.
///
/// Inputs: the first number, the limit and the step, one element each, f32 or integers of one type.
/// Outputs: the numbers. It gives how many there are: none where the step leads away from the limit.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Series {}

/// Of boxes that overlap, those with the highest scores.
///
/// Inputs: boxes, f32 [batch, n, 4]; scores, f32 [batch, classes, n]; how many of each class at most,
/// i64, one element; from which overlap on, as a part of both together, a box gives way, f32, one
/// element, or absent: 0; above which score boxes count, f32, one element, or absent: all do. Outputs:
/// of each box that is left its batch, class and number, i64 [number, 3]. It gives their number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NonMaxSuppression {
    /// Whether boxes are stated by center, width and height: x, y, w, h. If not, by two corners that
    /// lie opposite: y, x, y, x.
    #[prost(bool, tag = "1")]
    pub centered: bool,
}

/// The size that a node gives alone.
fn own_size(inputs: &Facts<'_>) -> Result<Dim, Fault> {
    let binds = inputs.bodies.binds();
    match binds {
        [name] => Ok(Dim::given(name.clone())),
        _ => Err(fault!("it gives {} sizes, it must give one", binds.len())),
    }
}

/// One element of a type.
fn scalar(what: &str, fact: &Fact, data_type: DataType) -> Result<(), Fault> {
    let (found, expected) = (fact.data_type.name(), data_type.name());
    ensure!(found == expected, "{what} is {found}, it must be {expected}");
    let one = fact.dims.iter().all(|dim| dim.as_size().is_none_or(|size| size == 1));
    ensure!(one, "{what} has shape {}, it must have one element", list(&fact.dims));
    Ok(())
}

macro_rules! never_folded {
    () => {
        fn attributes(&self) -> Result<(), Refusal> {
            Ok(())
        }

        fn work(&self, _: &[Option<&Fact>], _: i64, _: i64) -> Option<i64> {
            None
        }
    };
}

impl Operator for Sizes {
    fn arity(&self) -> Arity {
        Arity::giving(1, 1, 1, usize::MAX)
    }

    unchanged!();
    never_folded!();
    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, binds) = (inputs.get(0)?, inputs.bodies.binds());
        let found = x.data_type.name();
        ensure!(x.data_type == DataType::I64, "its input is {found}, it must be i64");
        let sizes = x.dims.iter().map(Dim::as_size).collect::<Option<Vec<i64>>>();
        let count = sizes.as_ref().and_then(|sizes| {
            sizes.iter().try_fold(1, |product: i64, &size| product.checked_mul(size))
        });
        let (shape, names) = (list(&x.dims), binds.len());
        ensure!(
            count.and_then(|count| usize::try_from(count).ok()) == Some(names),
            "it gives {names} sizes, its input has shape {shape}"
        );
        let elements = || {
            let dims = sizes?.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>();
            let values = binds.iter().map(|name| Dim::given(name.clone())).collect();
            Some(Elements { dims: dims?, values })
        };
        Ok(vec![Fact::new(x.data_type, x.dims.clone()).with_value(elements)])
    }

    fn text(&self) -> String {
        String::from("Sizes")
    }
}

impl Operator for NonZero {
    fn arity(&self) -> Arity {
        Arity::giving(1, 1, 1, 1)
    }

    unchanged!();
    never_folded!();
    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let axes = Dim::from(inputs.get(0)?.dims.len() as i64);
        Ok(vec![Fact::new(DataType::I64, vec![axes, own_size(inputs)?])])
    }

    fn text(&self) -> String {
        String::from("NonZero")
    }
}

impl Operator for Unique {
    fn arity(&self) -> Arity {
        Arity::giving(1, 1, 3, 1)
    }

    unchanged!();
    never_folded!();
    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let entries = inputs.get(0)?.axis(0)?.clone();
        let fact = |size: Dim| Fact::new(DataType::I64, vec![size]);
        let number = own_size(inputs)?;
        Ok(vec![fact(number.clone()), fact(entries), fact(number)])
    }

    fn text(&self) -> String {
        String::from(if self.unsorted { "Unique(unsorted)" } else { "Unique" })
    }
}

impl Operator for Series {
    fn arity(&self) -> Arity {
        Arity::giving(3, 3, 1, 1)
    }

    unchanged!();
    never_folded!();
    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let data_type = inputs.get(0)?.data_type;
        let found = data_type.name();
        ensure!(data_type != DataType::Bool, "its input is {found}, it must be f32 or integers");
        for (i, what) in ["its first number", "its limit", "its step"].iter().enumerate() {
            scalar(what, inputs.get(i)?, data_type)?;
        }
        Ok(vec![Fact::new(data_type, vec![own_size(inputs)?])])
    }

    fn text(&self) -> String {
        String::from("Series")
    }
}

impl Operator for NonMaxSuppression {
    fn arity(&self) -> Arity {
        Arity::giving(3, 5, 1, 1)
    }

    unchanged!();
    never_folded!();
    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (boxes, scores) = (inputs.f32(0)?, inputs.f32(1)?);
        boxes.rank("boxes", 3)?;
        scores.rank("scores", 3)?;
        same("the batch of scores", &scores.dims[0], &boxes.dims[0])?;
        same("the number of scores", &scores.dims[2], &boxes.dims[1])?;
        same("the last axis of boxes", &boxes.dims[2], &Dim::from(4))?;
        scalar("the number of boxes", inputs.get(2)?, DataType::I64)?;
        for (i, what) in [(3, "the overlap"), (4, "the least score")] {
            inputs.optional(i).map_or(Ok(()), |fact| scalar(what, fact, DataType::F32))?;
        }
        let dims = vec![own_size(inputs)?, Dim::from(3)];
        Ok(vec![Fact::new(DataType::I64, dims)])
    }

    fn text(&self) -> String {
        format!("NonMaxSuppression{}", if self.centered { "(centered)" } else { "" })
    }
}
