//! The discrete Fourier transform.

use crate::dim::Dim;
use crate::ensure;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Operator, holds_dims, no_slots, unchanged};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The discrete Fourier transform of each vector along the axis before the last one, which holds the
/// real part, or the real and the imaginary one. With n points of x, cut or filled up with zeros:
/// `y_k = sum x_j e^(-2 pi i j k / n)`, for the inverse with + and divided by n.
///
/// Inputs: x f32 `[.., m, 1 or 2]`. Outputs: y `[.., points, 2]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fourier {
    /// The number of points, one dimension.
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<Dim>,
    /// Whether it is the inverse.
    #[prost(bool, tag = "2")]
    pub inverse: bool,
    /// Whether y has the first `points / 2 + 1` alone.
    #[prost(bool, tag = "3")]
    pub onesided: bool,
}

impl Operator for Fourier {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        let [points] = &self.points[..] else {
            return Err((Rule::G11, format!("{} numbers of points", self.points.len())));
        };
        refuse_unless(points.as_size().is_none_or(|points| points > 0), Rule::G12, || {
            format!("dimension {points}")
        })
    }

    no_slots!();
    holds_dims!(1 points);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.f32(0)?;
        let [.., _, parts] = &x.dims[..] else {
            return Err(crate::fault!("its input has shape {}", list(&x.dims)));
        };
        let known = parts.as_size().is_some_and(|parts| matches!(parts, 1 | 2));
        ensure!(known, "the last axis of its input has size {parts}, it must be 1 or 2");
        let mut points = self.points[0].clone();
        if self.onesided {
            points = points.floor_div(&Dim::from(2))?.add(&Dim::from(1))?;
        }
        let mut dims = x.dims[..x.dims.len() - 2].to_vec();
        dims.extend([points, Dim::from(2)]);
        Ok(vec![Fact::f32(dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        // Logarithms of sizes are small.
        read.checked_add(given)?.checked_mul(64)
    }

    fn text(&self) -> String {
        format!(
            "{}Fourier({}{})",
            if self.inverse { "Inverse" } else { "" },
            list(&self.points),
            if self.onesided { ", onesided" } else { "" }
        )
    }
}
