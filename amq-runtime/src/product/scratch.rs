//! Memory that products work in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::budget::Budget;
use super::unpacked::Unpacked;
use crate::kernels::Order;
use crate::kernels::codes::Coefficients;
use crate::kernels::lanes::Tables;
use crate::kernels::layout::Layout;
use crate::kernels::tables::{Totals, Vectors};
use crate::quantize::Tabulate;

/// Memory for quantized activations: as large as the largest product needed. A place holds a vector
/// that a tap meets.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) order: Order,
    pub(crate) budget: Budget,
    /// Codes of one vector, `[code][word]`.
    pub(super) planes: Vec<u64>,
    /// Codes, `[place][pair][code]`.
    pub(super) words: Vec<[u32; 2]>,
    /// `[place]`
    pub(super) coefficients: Vec<Coefficients>,
    /// `[place][segment]`
    pub(super) sums: Vec<f32>,
    /// Vectors as tables, the second those of what the first leave.
    pub(super) tabulated: [Tabulated; 2],
    /// What the first tables leave, `[vector][column]`.
    pub(super) rest: Vec<f32>,
    /// Vectors as they are, `[place][column]`.
    pub(super) floats: Vec<f32>,
    /// Which places vectors have: `[vector][tap]`.
    pub(super) places: Vec<u32>,
    /// Where columns lie from the first window on.
    pub(super) offsets: Vec<usize>,
    /// Columns of a panel of windows.
    pub(super) panel: Vec<f32>,
    /// Pixels of a row on their way, `[pixel][column]`.
    pub(super) pixels: Vec<f32>,
    /// Results of a convolution's lines, `[output channel][window]`.
    pub(super) results: Vec<f32>,
    /// Which windows those are.
    pub(super) windows: Range<usize>,
    /// What times the quantization of activations, if that is wanted.
    pub(crate) meter: Option<Meter>,
    /// Memory for weights that stay in the file.
    pub(super) unpacked: Option<Box<Unpacked>>,
}

/// Times the quantization of activations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    pub(crate) now: fn() -> Duration,
    pub(crate) taken: Duration,
}

/// Memory for vectors as tables.
#[derive(Debug, Default)]
pub(super) struct Tabulated {
    /// `[place][word]`
    pub(super) tables: Vec<Tables>,
    /// `[place]`
    pub(super) scales: Vec<f32>,
    /// `[place][segment]`
    pub(super) totals: Vec<Totals>,
}

impl Tabulated {
    /// The work that makes tables of vectors x `[vector][column of a tap]`, at places from `place` on.
    pub(super) fn make<'a>(
        &'a mut self,
        layout: Layout,
        x: &'a [f32],
        place: usize,
        rest: Option<&'a mut [f32]>,
    ) -> Tabulate<'a> {
        let count = x.len() / layout.columns;
        let (words, segments) = (layout.words(), layout.segments());
        Tabulate {
            layout,
            x,
            tables: &mut self.tables[place * words..][..count * words],
            scales: &mut self.scales[place..][..count],
            totals: &mut self.totals[place * segments..][..count * segments],
            rest,
        }
    }

    /// The vectors with these places, `[vector][tap]`.
    pub(super) fn at<'a>(&'a self, places: &'a [u32]) -> Vectors<'a> {
        let Tabulated { tables, scales, totals } = self;
        Vectors { tables, scales, totals, places }
    }
}
