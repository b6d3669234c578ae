//! Convolution and pooling: what works on windows that move along spatial axes.

use crate::activations::Activations;
use crate::dim::Dim;
use crate::error::Rule;
use crate::fact::{Fact, Facts, list, same};
use crate::fault::{Fault, Refusal, refuse_unless};
use crate::operator::{Arity, Constants, Operator, Since, Slot, holds_dims, known, no_slots};
use crate::spec::MAX_WINDOW;
use crate::value::DataType;
use crate::{ensure, fault};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// How the borders of a window are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum AutoPad {
    /// By the sizes that are given.
    Explicit = 0,
    /// So that the output has `ceil(input / stride)` positions, an odd border at the end.
    SameUpper = 1,
    /// The same, an odd border at the beginning.
    SameLower = 2,
}

impl AutoPad {
    fn since(number: i32) -> Since {
        Since::number(number, &[(2, Since::FIRST)])
    }
}

/// Convolution (cross-correlation) over one or two spatial axes.
///
/// Inputs: x `[N, C, spatial..]` f32, W constant `[M, kernel.., C/groups]`, bias constant `[M]`
/// (may be absent). Outputs: y `[N, M, spatial..]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Conv {
    /// Step of the window along each spatial axis.
    #[prost(uint64, repeated, tag = "1")]
    pub strides: Vec<u64>,
    /// Distance between the window's elements along each spatial axis.
    #[prost(uint64, repeated, tag = "2")]
    pub dilations: Vec<u64>,
    /// Zeros at the beginning of each spatial axis, then at the end of each.
    #[prost(uint64, repeated, tag = "3")]
    pub pads: Vec<u64>,
    /// Where pads come from; they are zero unless `Explicit`.
    #[prost(enumeration = "AutoPad", tag = "4")]
    pub auto_pad: i32,
    /// Groups that the channels are divided into.
    #[prost(uint64, tag = "5")]
    pub groups: u64,
    /// How x enters the product; `F32` where W is plain.
    #[prost(enumeration = "Activations", tag = "6")]
    pub activations: i32,
}

impl Conv {
    /// Its windows, one for each spatial axis, from the shape of W.
    ///
    /// # Errors
    /// The kernel's size is not a number, or the attributes are not those of one or two axes.
    pub fn windows(&self, w: &[Dim]) -> Result<Vec<Window>, Fault> {
        let size = |dim: &Dim| dim.as_size().and_then(|size| u64::try_from(size).ok());
        let kernel = w.get(1..w.len().saturating_sub(1)).unwrap_or(&[]);
        let kernel: Option<Vec<u64>> = kernel.iter().map(size).collect();
        let kernel = kernel.ok_or_else(|| fault!("the kernel's size is not known"))?;
        let attributes = self.attributes_of(&kernel);
        attributes.check().map_err(|(_, what)| Fault(what))?;
        Ok(attributes.windows())
    }

    fn attributes_of<'a>(&'a self, kernel: &'a [u64]) -> Attributes<'a> {
        Attributes {
            kernel,
            strides: &self.strides,
            dilations: &self.dilations,
            pads: &self.pads,
            auto_pad: self.auto_pad,
        }
    }
}

impl Operator for Conv {
    fn arity(&self) -> Arity {
        Arity::new(2, 3, 1)
    }

    fn since(&self) -> Since {
        Activations::since(self.activations).and(AutoPad::since(self.auto_pad))
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<AutoPad>(self.auto_pad, "auto_pad")?;
        known::<Activations>(self.activations, "activations")?;
        refuse_unless(self.groups > 0, Rule::G11, || format!("{} groups", self.groups))
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::weight(1, self.activations()), Slot::bias(2, "bias")]
    }

    fn weights(&self, node: &Constants<'_>) -> Result<(), Refusal> {
        let slots = self.slots();
        let [w, bias] = &slots[..] else { return Ok(()) };
        node.shape(w, |dims| (3..=4).contains(&dims.len()) && dims.iter().all(|&dim| dim > 0))?;
        let dims = &node.get(w)?.dims;
        node.shape(bias, |bias| bias == [dims[0]])?;
        let divides = dims[0].checked_rem(self.groups) == Some(0);
        refuse_unless(divides, Rule::G11, || format!("{} groups", self.groups))?;
        self.attributes_of(&dims[1..dims.len() - 1]).check()?;
        node.activations(self.activations(), w)
    }

    fn activations_mut(&mut self, input: usize) -> Option<&mut i32> {
        (input == 1).then_some(&mut self.activations)
    }

    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let w = inputs.f32(1)?;
        let rank = w.dims.len();
        ensure!(matches!(rank, 3 | 4), "W has {rank} axes, it must have 3 or 4");
        let x = inputs.f32(0)?;
        x.rank("x", rank)?;
        let windows = self.windows(&w.dims)?;
        let groups = i64::try_from(self.groups).map_err(|_| fault!("{} groups", self.groups))?;
        let channels = w.dims[rank - 1].mul(&Dim::from(groups))?;
        same("the number of channels of x", &x.dims[1], &channels)?;
        let divided = w.dims[0].as_size().is_none_or(|rows| rows.checked_rem(groups) == Some(0));
        ensure!(divided, "{} output channels cannot be divided into {groups} groups", w.dims[0]);
        inputs.bias(&w.dims[0])?;
        let mut dims = vec![x.dims[0].clone(), w.dims[0].clone()];
        for (window, size) in windows.iter().zip(&x.dims[2..]) {
            dims.push(window.positions(size, false)?);
        }
        Ok(vec![Fact::f32(dims)])
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        read.checked_add(given)?.checked_mul(read)
    }

    fn text(&self) -> String {
        format!(
            "Conv(strides {:?}, dilations {:?}, pads {:?}, {:?}, groups {}, {})",
            self.strides,
            self.dilations,
            self.pads,
            self.auto_pad(),
            self.groups,
            self.activations().name()
        )
    }
}

/// What pooling computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PoolKind {
    /// The largest element.
    Max = 0,
    /// The mean.
    Average = 1,
    /// The sum.
    Sum = 2,
}

/// Pooling over windows of one or two spatial axes.
///
/// Inputs: x `[N, C, spatial..]` f32. Outputs: y `[N, C, spatial..]`, and for `Max` the number of the
/// first largest element of each window among all of x, i64; one of the two may be absent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pool {
    /// What is computed of a window.
    #[prost(enumeration = "PoolKind", tag = "1")]
    pub kind: i32,
    /// Size of the window along each spatial axis.
    #[prost(uint64, repeated, tag = "2")]
    pub kernel: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "3")]
    pub strides: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "4")]
    pub dilations: Vec<u64>,
    /// As in [`Conv`].
    #[prost(uint64, repeated, tag = "5")]
    pub pads: Vec<u64>,
    /// As in [`Conv`].
    #[prost(enumeration = "AutoPad", tag = "6")]
    pub auto_pad: i32,
    /// Whether a last window that does not fit whole still counts.
    #[prost(bool, tag = "7")]
    pub ceil_mode: bool,
    /// Whether a mean counts the border's zeros.
    #[prost(bool, tag = "8")]
    pub count_include_pad: bool,
}

impl Pool {
    /// Its windows, one for each spatial axis.
    pub fn windows(&self) -> Vec<Window> {
        self.attributes_of().windows()
    }

    fn attributes_of(&self) -> Attributes<'_> {
        Attributes {
            kernel: &self.kernel,
            strides: &self.strides,
            dilations: &self.dilations,
            pads: &self.pads,
            auto_pad: self.auto_pad,
        }
    }
}

impl Operator for Pool {
    fn arity(&self) -> Arity {
        Arity::new(1, 1, if self.kind() == PoolKind::Max { 2 } else { 1 })
    }

    fn since(&self) -> Since {
        AutoPad::since(self.auto_pad).and(Since::number(self.kind, &[(2, Since::FIRST)]))
    }

    fn newest(&self) -> u32 {
        1
    }

    fn attributes(&self) -> Result<(), Refusal> {
        known::<PoolKind>(self.kind, "kind")?;
        self.attributes_of().check()?;
        // A border as wide as the window would give windows without an element. So may dilation, on
        // an axis shorter than it: that is known only when a call is planned.
        let narrow = self.pads.iter().enumerate().all(|(i, &pad)| {
            let axis = i % self.kernel.len();
            pad <= (self.kernel[axis] - 1) * self.dilations[axis]
        });
        refuse_unless(narrow, Rule::G11, || {
            format!("pads {} of kernel {}", list(&self.pads), list(&self.kernel))
        })
    }

    no_slots!();
    holds_dims!();

    fn rule(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
        let windows = self.windows();
        let x = inputs.f32(0)?;
        x.rank("x", windows.len() + 2)?;
        let mut dims = x.dims[..2].to_vec();
        for (window, size) in windows.iter().zip(&x.dims[2..]) {
            dims.push(window.positions(size, self.ceil_mode)?);
        }
        let mut outputs = vec![Fact::f32(dims.clone())];
        if self.kind() == PoolKind::Max {
            outputs.push(Fact::new(DataType::I64, dims));
        }
        Ok(outputs)
    }

    fn work(&self, _: &[Option<&Fact>], read: i64, given: i64) -> Option<i64> {
        read.checked_add(given)?.checked_mul(read)
    }

    fn text(&self) -> String {
        format!(
            "{:?}Pool(kernel {:?}, strides {:?}, dilations {:?}, pads {:?}, {:?}{}{})",
            self.kind(),
            self.kernel,
            self.strides,
            self.dilations,
            self.pads,
            self.auto_pad(),
            if self.ceil_mode { ", ceil_mode" } else { "" },
            if self.count_include_pad { ", count_include_pad" } else { "" }
        )
    }
}

/// A window along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Elements in it.
    pub kernel: usize,
    /// Distance from one position to the next.
    pub stride: usize,
    /// Distance between its elements.
    pub dilation: usize,
    /// Border before the first entry.
    pub begin: usize,
    /// Border after the last entry.
    pub end: usize,
    /// Where the borders come from.
    pub auto_pad: AutoPad,
}

impl Window {
    /// Entries from its first element to its last, both included.
    pub fn extent(&self) -> i64 {
        (self.kernel as i64 - 1) * self.dilation as i64 + 1
    }

    /// The window with the borders that `auto_pad` asks for on an axis of size `input`, where it has
    /// so many positions.
    pub fn padded(self, input: usize, positions: usize) -> Window {
        if self.auto_pad == AutoPad::Explicit {
            return self;
        }
        let reach = positions.saturating_sub(1) as i64 * self.stride as i64 + self.extent();
        let total = (reach - input as i64).max(0) as usize;
        let (less, more) = (total / 2, total - total / 2);
        let upper = self.auto_pad == AutoPad::SameUpper;
        let (begin, end) = if upper { (less, more) } else { (more, less) };
        Window { begin, end, ..self }
    }

    /// Number of positions on an axis of size `input`. With `ceil` a last one that does not fit
    /// whole counts, if it starts before the border at the end.
    ///
    /// # Errors
    /// The window does not fit the axis.
    pub fn positions(&self, input: &Dim, ceil: bool) -> Result<Dim, Fault> {
        let stride = Dim::from(self.stride as i64);
        if self.auto_pad != AutoPad::Explicit {
            return Ok(input.ceil_div(&stride)?);
        }
        let (begin, end) = (self.begin as i64, self.end as i64);
        let room = input.add(&Dim::from(begin + end - self.extent()))?;
        if let Some(room) = room.as_size() {
            let extent = self.extent();
            ensure!(
                room >= 0,
                "a window of {extent} does not fit {input} with pads {begin}, {end}"
            );
        }
        let one = Dim::from(1);
        let whole = room.floor_div(&stride)?.add(&one)?;
        if !ceil {
            return Ok(whole);
        }
        let started = input.add(&Dim::from(begin - 1))?.floor_div(&stride)?.add(&one)?;
        Ok(room.ceil_div(&stride)?.add(&one)?.smaller(&started)?)
    }
}

/// The attributes that windows are made of.
struct Attributes<'a> {
    kernel: &'a [u64],
    strides: &'a [u64],
    dilations: &'a [u64],
    pads: &'a [u64],
    auto_pad: i32,
}

impl Attributes<'_> {
    fn check(&self) -> Result<(), Refusal> {
        let axes = self.kernel.len();
        let auto_pad: AutoPad = known(self.auto_pad, "auto_pad")?;
        refuse_unless((1..=2).contains(&axes), Rule::G11, || format!("windows of {axes} axes"))?;
        let most_pad = if auto_pad == AutoPad::Explicit { MAX_WINDOW } else { 0 };
        for (name, sizes, count, range) in [
            ("kernel", self.kernel, axes, 1..=MAX_WINDOW),
            ("strides", self.strides, axes, 1..=MAX_WINDOW),
            ("dilations", self.dilations, axes, 1..=MAX_WINDOW),
            ("pads", self.pads, 2 * axes, 0..=most_pad),
        ] {
            refuse_unless(sizes.len() == count, Rule::G11, || format!("{} {name}", sizes.len()))?;
            refuse_unless(sizes.iter().all(|size| range.contains(size)), Rule::G11, || {
                format!("{name} {}", list(sizes))
            })?;
        }
        Ok(())
    }

    /// One window for each spatial axis. The attributes are right, so that sizes fit any integer.
    fn windows(&self) -> Vec<Window> {
        let axes = self.kernel.len();
        let window = |i: usize| Window {
            kernel: self.kernel[i] as usize,
            stride: self.strides[i] as usize,
            dilation: self.dilations[i] as usize,
            begin: self.pads[i] as usize,
            end: self.pads[i + axes] as usize,
            auto_pad: AutoPad::try_from(self.auto_pad).unwrap_or(AutoPad::Explicit),
        };
        (0..axes).map(window).collect()
    }
}
