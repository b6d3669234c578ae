//! Vectors as 8-bit tables of sums of four.

use crate::kernels::lanes::{Lanes, Tables, largest_four};
use crate::kernels::layout::{Layout, WORD};
use crate::kernels::tables::Totals;
use crate::kernels::{NAN, Target, Work, fma};

/// What the largest four is divided by to give the scale, as a factor: 4 / 253.
const STEP: f32 = 4.0 / 253.0;

/// What the largest four becomes in integers: a quarter of 253, as it is a sum of quarters. With at most
/// a half lost by each of four, their magnitudes sum to at most 255.
const LARGEST: f32 = 63.25;

/// Adding 1.5 * 2^23 leaves no bits for a fraction.
const WHOLE: f32 = 12_582_912.0;

/// Makes the tables of vectors, each by itself.
pub(crate) struct Tabulate<'a> {
    pub(crate) layout: Layout,
    /// `[vector][column of a tap]`
    pub(crate) x: &'a [f32],
    /// Receives `[vector][word]`.
    pub(crate) tables: &'a mut [Tables],
    /// Receives `[vector]`: NaN where an element or a sum is not finite, 0 where all are too small.
    pub(crate) scales: &'a mut [f32],
    /// Receives `[vector][segment]`.
    pub(crate) totals: &'a mut [Totals],
    /// Receives what the integers leave, `[vector][column of a tap]`.
    pub(crate) rest: Option<&'a mut [f32]>,
}

impl Work for Tabulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Tabulate { layout, x, tables, scales, totals, mut rest } = self;
        let vectors = x.chunks_exact(layout.columns);
        let tables = tables.chunks_exact_mut(layout.words());
        let totals = totals.chunks_exact_mut(layout.segments());
        let scales = scales.iter_mut().enumerate();
        for (((x, tables), totals), (vector, scale)) in vectors.zip(tables).zip(totals).zip(scales)
        {
            let mut rest = rest.as_mut().map(|rest| &mut rest[vector * x.len()..][..x.len()]);
            let largest = f32::from_bits(lanes.largest_four(x));
            *scale = scale_of(largest);
            if *scale == 0.0 || scale.is_nan() {
                tables.fill(Tables::ZERO);
                totals.fill(Totals::default());
                if let Some(rest) = &mut rest {
                    rest.copy_from_slice(x);
                }
                continue;
            }
            let by = LARGEST / largest;
            let segments =
                x.chunks(layout.segment).zip(tables.chunks_mut(layout.segment.div_ceil(WORD)));
            for ((x, tables), totals) in segments.zip(totals) {
                *totals = tabulate(lanes, x, by, tables);
            }
            if let Some(rest) = &mut rest {
                leave(lanes, x, by, *scale, rest);
            }
        }
    }
}

/// The scale of a vector with this largest four.
#[inline(always)]
fn scale_of(largest: f32) -> f32 {
    match largest * STEP {
        _ if !largest.is_finite() => NAN,
        scale if scale < f32::MIN_POSITIVE => 0.0,
        scale => scale,
    }
}

/// Replaces a vector by its integers times their scale; with two parts, those of what they leave are added.
pub(super) fn approximate(target: Target, parts: usize, x: &mut [f32]) {
    target.vectorize(
        #[inline(always)]
        || {
            let mut rest = x.to_vec();
            x.fill(0.0);
            for _ in 0..parts {
                let largest = f32::from_bits(largest_four(&rest));
                let scale = scale_of(largest);
                if scale.is_nan() {
                    return x.fill(NAN);
                }
                if scale == 0.0 {
                    return;
                }
                let by = LARGEST / largest;
                for (x, rest) in x.iter_mut().zip(&mut rest) {
                    let integer = (*rest * by + WHOLE) - WHOLE;
                    *x += scale * integer;
                    *rest = fma(-scale, integer, *rest);
                }
            }
        },
    );
}

/// Makes the tables of a segment.
#[inline(always)]
fn tabulate<L: Lanes>(lanes: L, x: &[f32], by: f32, tables: &mut [Tables]) -> Totals {
    let (full, rest) = x.as_chunks::<WORD>();
    let (tables, tail) = tables.split_at_mut(full.len());
    let mut sums = lanes.tabulate(full, by, tables);
    if !rest.is_empty() {
        let mut last = [0.0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        let [positive, negative] = lanes.tabulate(&[last], by, tail);
        sums = [sums[0] + positive, sums[1] + negative];
    }
    let [positive, negative] = sums;
    Totals { magnitudes: positive + negative, values: positive as i32 - negative as i32 }
}

/// What integers `x * by` leave: `x - scale * integer`, rounded once.
#[inline(always)]
fn leave<L: Lanes>(lanes: L, x: &[f32], by: f32, scale: f32, rest: &mut [f32]) {
    let [by, less] = [lanes.splat(by), lanes.splat(-scale)];
    let whole = lanes.splat(WHOLE);
    let (full, tail) = x.as_chunks::<16>();
    let (to, to_tail) = rest.as_chunks_mut::<16>();
    let mut last = [0.0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let mut left = [0.0; 16];
    for (x, to) in full.iter().zip(to).chain([(&last, &mut left)]) {
        let x = lanes.load(x);
        let integer = lanes.sub(lanes.add(lanes.mul(x, by), whole), whole);
        lanes.store(lanes.fma(less, integer, x), to);
    }
    to_tail.copy_from_slice(&left[..tail.len()]);
}
