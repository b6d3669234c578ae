//! Quantization of a matrix for the vectors that it meets.

use std::sync::atomic::{AtomicUsize, Ordering};

use amq_format::graph::CoefficientType;
use rayon::prelude::*;

use super::feedback::{BATCH, STARTS};
use super::matrix::QuantizedMatrix;
use super::norm::{Norm, Order};
use super::row::Row;
use super::{Method, Options};

/// Shares of the diagonal's mean that may be added to a second moment. The one is taken that does best
/// on vectors that were not fitted to.
const DAMPINGS: [f64; 4] = [0.003, 0.02, 0.1, 0.4];
/// How many moments and how many rows of each try the dampings.
const TRIED_MOMENTS: usize = 4;
const TRIED_ROWS: usize = 12;

/// The vectors that some rows of a matrix meet.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The rows.
    pub rows: Vec<usize>,
    /// Second moments of the vectors, `[column][column]`: of one half, of the other, and of all. Those
    /// of halves may be left out: then they are no guide.
    pub all: Vec<f64>,
    /// See `all`.
    pub halves: Option<[Vec<f64>; 2]>,
}

/// Quantizes a row-major matrix so that products with the vectors that it meets stay near, row by row on
/// rayon's threads, without offsets. Rows that are in no moment, or in one that says nothing, are quantized as
/// [`Method::Best`] does; a matrix that has no other rows gets its offsets too.
///
/// The result depends on the arguments alone, not on threads; `progress` is told how many rows are done.
///
/// # Panics
///
/// If `weights` does not have `rows * cols` elements, a moment not `cols * cols`, or a row is none of the
/// matrix.
pub fn quantize_for(
    weights: &[f32],
    rows: usize,
    cols: usize,
    options: &Options,
    moments: &[Moment],
    progress: &(dyn Fn(usize) + Sync),
) -> QuantizedMatrix {
    assert_eq!(Some(weights.len()), rows.checked_mul(cols), "elements of a {rows}x{cols} matrix");
    let says = |moment: &Moment| Norm::scale(&moment.all, cols).is_some();
    if !moments.iter().any(says) {
        let options = Options { method: Method::Best, ..*options };
        return super::quantize(weights, rows, cols, &options, progress);
    }
    let row = |row: usize| &weights[row * cols..][..cols];
    let search = search(&row, cols, options, moments);
    let mut plain = vec![true; rows];
    let mut norms = Vec::new();
    let mut batches: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
    for moment in moments {
        assert_eq!(moment.all.len(), cols * cols, "elements of a moment");
        let Some(norm) = Norm::new(&moment.all, cols, search.damping, search.order) else {
            continue;
        };
        // A row goes with the first moment that says something of it.
        let of_moment: Vec<usize> =
            moment.rows.iter().copied().filter(|&row| std::mem::take(&mut plain[row])).collect();
        let batch = |rows: &[usize]| (Some(norms.len()), rows.to_vec());
        batches.extend(of_moment.chunks(BATCH).map(batch));
        norms.push(norm);
    }
    let plain: Vec<usize> = (0..rows).filter(|&row| plain[row]).collect();
    batches.extend(plain.chunks(BATCH).map(|rows| (None, rows.to_vec())));
    let attempt = |coefficient_type| {
        let done = AtomicUsize::new(0);
        let fitted: Option<Vec<Vec<Row<'_>>>> = batches
            .par_iter()
            .map(|(norm, rows)| {
                let norm = norm.map(|norm| (&norms[norm], search.starts));
                let weights: Vec<&[f32]> = rows.iter().map(|&index| row(index)).collect();
                let fitted = fit(&weights, options, coefficient_type, norm);
                progress(done.fetch_add(rows.len(), Ordering::Relaxed) + rows.len());
                fitted
            })
            .collect();
        let groups = cols.div_ceil(options.group(cols).max(1)).max(1);
        let places = batches.iter().flat_map(|(_, rows)| rows);
        let places = places.flat_map(|place| std::iter::repeat_n(place, groups));
        let mut fitted: Vec<_> = places.zip(fitted?.into_iter().flatten()).collect();
        fitted.sort_by_key(|(place, _)| **place);
        let fitted: Vec<Row<'_>> = fitted.into_iter().map(|(_, row)| row).collect();
        Some(QuantizedMatrix::pack(&fitted, [rows, cols], options, coefficient_type))
    };
    attempt(CoefficientType::F16)
        .or_else(|| attempt(CoefficientType::F32))
        .expect("f32 coefficients fit every row of f32 weights")
}

/// Fits rows, in a norm and from its starts if they have one, to the groups of each in turn; `None` if coefficients
/// need a wider type.
fn fit<'a>(
    rows: &[&'a [f32]],
    options: &Options,
    coefficient_type: CoefficientType,
    norm: Option<(&Norm, &[f64])>,
) -> Option<Vec<Row<'a>>> {
    let cols = rows.first()?.len();
    let group = options.group(cols);
    let groups = rows.iter().flat_map(|row| options.groups(row));
    let fit = |weights: &'a [f32]| Row::fit(weights, options, coefficient_type);
    let mut fitted: Vec<Row<'a>> = groups.map(fit).collect::<Option<_>>()?;
    if let Some((norm, starts)) = norm {
        Row::refit(&mut fitted, group, norm, starts)?;
    }
    Some(fitted)
}

/// How codes are searched for.
#[derive(Clone, Copy, Debug)]
struct Search {
    damping: f64,
    order: Order,
    starts: &'static [f64],
}

/// The search whose codes, fitted to one half of the vectors, do best on the other.
fn search<'a>(
    row: &(dyn Fn(usize) -> &'a [f32] + Sync),
    cols: usize,
    options: &Options,
    moments: &[Moment],
) -> Search {
    let every = moments.len().div_ceil(TRIED_MOMENTS).max(1);
    let tried: Vec<&Moment> = moments.iter().step_by(every).collect();
    let error = |search: Search| -> f64 {
        let of_moment = |moment: &Moment| -> f64 {
            let Some(halves) = &moment.halves else { return 0.0 };
            let every = moment.rows.len().div_ceil(TRIED_ROWS).max(1);
            let rows: Vec<&[f32]> =
                moment.rows.iter().step_by(every).map(|&index| row(index)).collect();
            let of_half = |half: usize| -> f64 {
                let Search { damping, order, starts } = search;
                let Some(norm) = Norm::new(&halves[half], cols, damping, order) else { return 0.0 };
                let norm = Some((&norm, starts));
                let Some(groups) = fit(&rows, options, CoefficientType::F32, norm) else {
                    return 0.0;
                };
                let errors: Vec<f64> = groups.iter().flat_map(Row::errors).collect();
                let rows = errors.chunks_exact(cols.max(1));
                rows.map(|errors| energy(&halves[1 - half], errors)).sum()
            };
            of_half(0) + of_half(1)
        };
        tried.par_iter().map(|moment| of_moment(moment)).collect::<Vec<f64>>().iter().sum()
    };
    let mut best = Search { damping: DAMPINGS[1], order: Order::Given, starts: STARTS };
    let mut least = f64::INFINITY;
    let mut attempt = |search: Search, best: &mut Search| {
        let error = error(search);
        if error < least && error > 0.0 {
            (least, *best) = (error, search);
        }
    };
    for damping in DAMPINGS {
        attempt(Search { damping, ..best }, &mut best);
    }
    // Groups are of columns that stand together.
    if options.group(cols) == cols {
        attempt(Search { order: Order::Heaviest, ..best }, &mut best);
    }
    attempt(Search { starts: &STARTS[..1], ..best }, &mut best);
    best
}

/// `e^T H e`
fn energy(h: &[f64], e: &[f64]) -> f64 {
    let dot = |row: &[f64]| -> f64 { row.iter().zip(e).map(|(h, e)| h * e).sum() };
    h.chunks_exact(e.len().max(1)).zip(e).map(|(row, e)| e * dot(row)).sum()
}
