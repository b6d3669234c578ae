//! Values between the entries of a tensor: resizing, sampling at points, and parts of images.

use crate::dim::Dim;
use crate::ensure;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{
    Arity, Operator, Since, check_axes, holds_dims, known, linear_work, no_slots, unchanged,
};
use crate::value::DataType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// How values between entries are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Interpolation {
    /// The nearest entry.
    Nearest = 0,
    /// On the line between two entries, along each axis.
    Linear = 1,
    /// On a cubic through four entries, along each axis.
    Cubic = 2,
}

impl Interpolation {
    fn since(number: i32) -> Since {
        Since::number(number, &[(2, Since::FIRST)])
    }
}

/// Which place x on an axis of size n belongs to place i on one of size m; scale is that of the
/// axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Placement {
    /// `(i + 0.5) / scale - 0.5`
    HalfPixel = 0,
    /// As `HalfPixel`, but 0 where m is 1.
    PytorchHalfPixel = 1,
    /// As `HalfPixel`, and `n / 2 (1 - m / (n scale))` more.
    HalfPixelSymmetric = 2,
    /// `i (n - 1) / (n scale - 1)`, and 0 where n scale is 1.
    AlignCorners = 3,
    /// `i / scale`
    Asymmetric = 4,
    /// `(i + 0.5) / scale`
    HalfPixelForNearest = 5,
    /// `(n - 1) (start + i (end - start) / (n scale - 1))`, and in their middle where n scale is 1.
    Crop = 6,
}

/// Which entry is nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Rounding {
    /// The nearest, of two the lower.
    HalfDown = 0,
    /// The nearest, of two the higher.
    HalfUp = 1,
    /// The one before.
    Floor = 2,
    /// The one behind.
    Ceil = 3,
}

/// x resized along some axes, from the last to the first.
///
/// Inputs: x f32, with `Nearest` of any type. Outputs: y.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resize {
    /// How values between entries are found.
    #[prost(enumeration = "Interpolation", tag = "1")]
    pub mode: i32,
    /// Where places belong.
    #[prost(enumeration = "Placement", tag = "2")]
    pub placement: i32,
    /// Which entry is nearest.
    #[prost(enumeration = "Rounding", tag = "3")]
    pub rounding: i32,
    /// The axes, ascending.
    #[prost(uint32, repeated, tag = "4")]
    pub axes: Vec<u32>,
    /// Their sizes in y.
    #[prost(message, repeated, tag = "5")]
    pub sizes: Vec<Dim>,
    /// Their scales; none, if they are the quotients of sizes.
    #[prost(float, repeated, tag = "6")]
    pub scales: Vec<f32>,
    /// The region of interest, with `Crop`: starts of all axes, then ends of all, in parts of an
    /// axis.
    #[prost(float, repeated, tag = "7")]
    pub region: Vec<f32>,
    /// The coefficient of the cubic.
    #[prost(float, tag = "8")]
    pub cubic: f32,
    /// Whether entries beyond the axis have no weight; else they are those at its ends.
    #[prost(bool, tag = "9")]
    pub exclude_outside: bool,
    /// Whether weights are stretched over all entries that a smaller y stands for.
    #[prost(bool, tag = "10")]
    pub antialias: bool,
    /// What stands outside of x, with `Crop`.
    #[prost(float, tag = "11")]
    pub outside: f32,
}

impl Operator for Resize {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, 1)
    }

    fn since(&self) -> Since {
        Interpolation::since(self.mode)
            .and(Since::number(self.placement, &[(6, Since::FIRST)]))
            .and(Since::number(self.rounding, &[(3, Since::FIRST)]))
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<Interpolation>(self.mode, "mode")?;
        let placement = known::<Placement>(self.placement, "placement")?;
        known::<Rounding>(self.rounding, "rounding")?;
        check_axes(&self.axes)?;
        let ascending = self.axes.is_sorted_by(|a, b| a < b);
        refuse_unless(ascending, Rule::G11, || format!("axes {}", list(&self.axes)))?;
        let (axes, sizes, scales) = (self.axes.len(), self.sizes.len(), self.scales.len());
        refuse_unless(sizes == axes && (scales == axes || scales == 0), Rule::G11, || {
            format!("{sizes} sizes and {scales} scales of {axes} axes")
        })?;
        let negative = self.sizes.iter().filter_map(Dim::as_size).find(|&size| size < 0);
        negative.map_or(Ok(()), |size| Err((Rule::G12, format!("dimension {size}"))))?;
        let positive = self.scales.iter().all(|&scale| scale > 0.0 && scale.is_finite());
        refuse_unless(positive, Rule::G11, || "a scale is not positive".into())?;
        let crop = if placement == Placement::Crop { 2 * axes } else { 0 };
        let region = self.region.len() == crop && self.region.iter().all(|x| x.is_finite());
        refuse_unless(region, Rule::G11, || "the region is not two numbers for each axis".into())?;
        // Protobuf would lose the sign of a zero.
        let parameter = |x: f32| !x.is_nan() && (x != 0.0 || x.is_sign_positive());
        refuse_unless(
            parameter(self.cubic) && self.cubic.is_finite() && parameter(self.outside),
            Rule::G11,
            || "cubic or outside is no number, or -0".into(),
        )
    }

    no_slots!();
    holds_dims!(5 sizes);

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let x = inputs.get(0)?;
        let found = x.data_type.name();
        let takes = x.data_type == DataType::F32 || self.mode() == Interpolation::Nearest;
        ensure!(takes, "its input is {found}, it must be f32");
        let whole = x.data_type == DataType::F32 || self.placement() != Placement::Crop;
        ensure!(whole, "its input is {found}, it must be f32");
        let mut dims = x.dims.clone();
        for (&axis, size) in self.axes.iter().zip(&self.sizes) {
            let from = x.axis(axis as usize)?;
            let empty = from.as_size() == Some(0) && size.as_size() != Some(0);
            ensure!(!empty, "axis {axis} of {} is empty", list(&x.dims));
            dims[axis as usize] = size.clone();
        }
        Ok(vec![Fact::new(x.data_type, dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        // Four entries an axis, of images mostly.
        read.checked_add(given)?.checked_mul(16)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "Resize{:?}({:?}, axes {:?}, {}",
            self.mode(),
            self.placement(),
            self.axes,
            list(&self.sizes)
        );
        for (holds, word) in [
            (!self.scales.is_empty(), format!(", scales {:?}", self.scales)),
            (self.mode() == Interpolation::Nearest, format!(", {:?}", self.rounding())),
            (self.mode() == Interpolation::Cubic, format!(", cubic {}", self.cubic)),
            (!self.region.is_empty(), format!(", {:?} else {}", self.region, self.outside)),
            (self.exclude_outside, String::from(", exclude_outside")),
            (self.antialias, String::from(", antialias")),
        ] {
            if holds {
                text.push_str(&word);
            }
        }
        text.push(')');
        text
    }
}

/// What stands beyond the ends of x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SamplePadding {
    /// Zero.
    Zeros = 0,
    /// The entry at the end.
    Border = 1,
    /// x mirrored: at its corners with align_corners, else half an entry beyond its ends.
    Reflection = 2,
}

/// Values of x at points. A point has a coordinate for each spatial axis of x, the last axis first;
/// -1 and 1 stand for its ends: with align_corners the first and the last entry, else half an entry
/// beyond them.
///
/// Inputs: x f32 `[N, C, spatial..]` of two or three spatial axes, grid f32 `[N, points..,
/// coordinates]`. Outputs: y `[N, C, points..]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GridSample {
    /// How values between entries are found; a cubic has the coefficient -0.75.
    #[prost(enumeration = "Interpolation", tag = "1")]
    pub mode: i32,
    /// What stands beyond the ends of x.
    #[prost(enumeration = "SamplePadding", tag = "2")]
    pub padding: i32,
    /// Whether -1 and 1 are the first and the last entry.
    #[prost(bool, tag = "3")]
    pub align_corners: bool,
}

impl Operator for GridSample {
    fn arity(&self) -> Arity {
        Arity::new(2, 2, 1)
    }

    fn since(&self) -> Since {
        Interpolation::since(self.mode).and(Since::number(self.padding, &[(2, Since::FIRST)]))
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<Interpolation>(self.mode, "mode")?;
        known::<SamplePadding>(self.padding, "padding").map(drop)
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, grid) = (inputs.f32(0)?, inputs.f32(1)?);
        let rank = x.dims.len();
        ensure!(matches!(rank, 4 | 5), "x has {rank} axes, it must have 4 or 5");
        grid.rank("the grid", rank)?;
        same("the number of grids", &grid.dims[0], &x.dims[0])?;
        let coordinates = Dim::from(rank as i64 - 2);
        same("the number of coordinates", &grid.dims[rank - 1], &coordinates)?;
        let mut dims = x.dims[..2].to_vec();
        dims.extend_from_slice(&grid.dims[1..rank - 1]);
        Ok(vec![Fact::f32(dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        read.checked_add(given)?.checked_mul(64)
    }

    fn text(&self) -> String {
        format!(
            "GridSample{:?}({:?}{})",
            self.mode(),
            self.padding(),
            if self.align_corners { ", align_corners" } else { "" }
        )
    }
}

/// Regions of images, each divided into bins of which the mean or the largest of some linear
/// samples is taken.
///
/// Inputs: x f32 `[N, C, H, W]`, regions f32 `[R, 4]` (left, top, right, bottom), the image of each
/// region i64 or i32 `[R]`. Outputs: y `[R, C, height, width]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RoiAlign {
    /// Whether the largest sample is taken, each before its four parts are added.
    #[prost(bool, tag = "1")]
    pub max: bool,
    /// Height of y.
    #[prost(uint64, tag = "2")]
    pub height: u64,
    /// Width of y.
    #[prost(uint64, tag = "3")]
    pub width: u64,
    /// Samples along each side of a bin; 0 stands for as many as it has entries.
    #[prost(uint64, tag = "4")]
    pub samples: u64,
    /// Entries of x in a unit of the regions.
    #[prost(float, tag = "5")]
    pub scale: f32,
    /// Whether coordinates are those of corners, half an entry before those of middles, and a
    /// region may be smaller than an entry.
    #[prost(bool, tag = "6")]
    pub half_pixel: bool,
}

impl Operator for RoiAlign {
    fn arity(&self) -> Arity {
        Arity::new(3, 3, 1)
    }

    unchanged!();

    fn attributes(&self) -> Result<(), Refusal> {
        for (name, size) in
            [("height", self.height), ("width", self.width), ("samples", self.samples)]
        {
            refuse_unless(size <= crate::spec::MAX_WINDOW, Rule::G11, || format!("{name} {size}"))?;
        }
        let scale = self.scale > 0.0 && self.scale.is_finite();
        refuse_unless(scale, Rule::G11, || "the scale is not positive".into())
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let (x, regions, images) = (inputs.f32(0)?, inputs.f32(1)?, inputs.get(2)?);
        x.rank("x", 4)?;
        regions.rank("the tensor of regions", 2)?;
        same("the numbers of a region", &regions.dims[1], &Dim::from(4))?;
        images.rank("the tensor of images", 1)?;
        let found = images.data_type.name();
        let integers = matches!(images.data_type, DataType::I32 | DataType::I64);
        ensure!(integers, "the regions' images are {found}, they must be i32 or i64");
        same("the number of the regions' images", &images.dims[0], &regions.dims[0])?;
        let (height, width) = (self.height as i64, self.width as i64);
        let dims =
            vec![regions.dims[0].clone(), x.dims[1].clone(), Dim::from(height), Dim::from(width)];
        Ok(vec![Fact::f32(dims)])
    }

    linear_work!();

    fn text(&self) -> String {
        format!(
            "RoiAlign({}, {} x {}, samples {}, scale {}{})",
            if self.max { "max" } else { "mean" },
            self.height,
            self.width,
            self.samples,
            self.scale,
            if self.half_pixel { ", half_pixel" } else { "" }
        )
    }
}
