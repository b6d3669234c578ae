//! Memory that products work in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::in_file::Unpacked;
use crate::error::{Fault, ensure, fault};
use crate::kernels::Order;
use crate::kernels::codes::Coefficients;
use crate::kernels::lanes::Tables;
use crate::kernels::layout::Layout;
use crate::kernels::tables::{Totals, Vectors};
use crate::quantize::Tabulate;
use crate::view::Buffer;

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

/// What a call may take: bytes of memory, and iterations of loops.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What it may take.
    pub(crate) limit: u64,
    /// What it takes.
    pub(crate) held: u64,
    /// Bytes that a vector lacks which could not grow.
    pub(crate) lacking: u64,
    /// Iterations that are left to the call.
    pub(crate) iterations: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: u64::MAX, held: 0, lacking: 0, iterations: u64::MAX }
    }
}

impl Budget {
    /// Takes bytes, if they are there.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Fault> {
        let held = self.held.saturating_add(bytes);
        let limit = self.limit;
        ensure!(
            bytes == 0 || held <= limit,
            "it needs {held} bytes of memory, {limit} are allowed"
        );
        self.held = held;
        Ok(())
    }

    /// Takes an iteration, if one is left.
    pub(crate) fn iterate(&mut self) -> Result<(), Fault> {
        let left = self.iterations.checked_sub(1);
        self.iterations = left.ok_or_else(|| {
            fault!("the call has no iterations left: end it sooner or raise LoadOptions::max_iterations")
        })?;
        Ok(())
    }

    /// Makes a slot at least `len` long, if there is memory for that.
    pub(crate) fn slot(&mut self, slot: &mut Buffer, len: usize) -> Result<(), Fault> {
        let more = len.saturating_sub(slot.len()) as u64;
        self.take(more.saturating_mul(slot.data_type().size() as u64))?;
        ensure!(slot.grow(len), "there is no memory for {len} elements");
        Ok(())
    }

    /// Makes room for at least `len` elements in all, if there is memory for that.
    pub(super) fn reserve<T>(&mut self, vec: &mut Vec<T>, len: usize) {
        let more = len.saturating_sub(vec.capacity());
        let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
        let held = self.held.saturating_add(bytes);
        let missing = len.saturating_sub(vec.len());
        if more > 0 && held > self.limit || vec.try_reserve_exact(missing).is_err() {
            self.lacking = self.lacking.saturating_add(bytes);
        } else {
            self.held = held;
        }
    }

    /// Makes a vector at least `len` long, if there is memory for that.
    pub(crate) fn grow<T: Clone>(&mut self, vec: &mut Vec<T>, len: usize, value: T) {
        let more = len.saturating_sub(vec.len());
        let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
        let held = self.held.saturating_add(bytes);
        if more > 0 && held > self.limit || vec.try_reserve_exact(more).is_err() {
            self.lacking = self.lacking.saturating_add(bytes);
        } else if more > 0 {
            self.held = held;
            vec.resize(len, value);
        }
    }
}
