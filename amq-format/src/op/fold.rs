//! Windows put together again.

use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Operator, holds_dims, linear_work, no_slots, unchanged};
use crate::spec::MAX_WINDOW;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The sum of windows where they overlap: what a convolution's windows would have read, put back.
/// Element `k` of the window at position `p` of an axis falls on entry
/// `p stride + k dilation - pad`; what falls beside the axis is dropped.
///
/// Inputs: x f32 `[N, positions.., C * elements of a window]`. Outputs: y `[N, C, sizes..]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fold {
    /// Size of the window along each spatial axis: one to three.
    #[prost(uint64, repeated, tag = "1")]
    pub kernel: Vec<u64>,
    /// As in [`Conv`](super::Conv).
    #[prost(uint64, repeated, tag = "2")]
    pub strides: Vec<u64>,
    /// As in [`Conv`](super::Conv).
    #[prost(uint64, repeated, tag = "3")]
    pub dilations: Vec<u64>,
    /// Entries that windows may reach before the beginning of each spatial axis.
    #[prost(uint64, repeated, tag = "4")]
    pub pads: Vec<u64>,
    /// Size of each spatial axis of y.
    #[prost(message, repeated, tag = "5")]
    pub sizes: Vec<Dim>,
}

impl Operator for Fold {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        let axes = self.kernel.len();
        refuse_unless((1..=3).contains(&axes), Rule::G11, || format!("windows of {axes} axes"))?;
        for (name, sizes, least) in [
            ("kernel", &self.kernel, 1),
            ("strides", &self.strides, 1),
            ("dilations", &self.dilations, 1),
            ("pads", &self.pads, 0),
        ] {
            refuse_unless(sizes.len() == axes, Rule::G11, || format!("{} {name}", sizes.len()))?;
            let range = least..=MAX_WINDOW;
            refuse_unless(sizes.iter().all(|size| range.contains(size)), Rule::G11, || {
                format!("{name} {}", list(sizes))
            })?;
        }
        let sizes = self.sizes.len();
        refuse_unless(sizes == axes, Rule::G11, || format!("{sizes} sizes"))?;
        let negative = self.sizes.iter().filter_map(Dim::as_size).find(|&size| size < 0);
        negative.map_or(Ok(()), |size| Err((Rule::G12, format!("dimension {size}"))))
    }

    no_slots!();
    holds_dims!(5 sizes);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.f32(0)?;
        x.rank("x", self.kernel.len() + 2)?;
        let elements = self
            .kernel
            .iter()
            .try_fold(1i64, |product, &size| product.checked_mul(i64::try_from(size).ok()?));
        let elements = Dim::from(elements.ok_or_else(|| fault!("its windows are too large"))?);
        let last = &x.dims[x.dims.len() - 1];
        let channels = last.floor_div(&elements)?;
        same("the size of the last axis", last, &channels.mul(&elements)?)?;
        let mut dims = vec![x.dims[0].clone(), channels];
        dims.extend_from_slice(&self.sizes);
        ensure!(dims.len() == x.dims.len(), "its sizes are not those of its windows");
        Ok(vec![Fact::f32(dims)])
    }

    linear_work!();

    fn text(&self) -> String {
        format!(
            "Fold(kernel {:?}, strides {:?}, dilations {:?}, pads {:?}, {})",
            self.kernel,
            self.strides,
            self.dilations,
            self.pads,
            list(&self.sizes)
        )
    }
}
