//! Where the elements of a convolution's windows are.

use std::ops::Range;

use amq_format::graph::{Conv as Op, Dim, Window};

use super::products::Products;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tune::layers::axis::Axis;
use crate::tune::layers::layer::Inputs;

/// Pieces that the way back is divided into, each with sums of its own: their number depends on sizes alone, so that
/// results do not depend on the number of threads.
pub(super) const PIECES: usize = 8;

/// Elements of a matrix of windows that stay in a cache, and the least and most columns that it has: with fewer,
/// what is summed up over all columns would be read and written more than it is worked with.
const ELEMENTS: usize = 1 << 17;
const LEAST: usize = 256;
const MOST: usize = 4096;

/// Sizes of a convolution for a call; that over one axis is one over two, of which the first has size 1. The lines of
/// the output are numbered through all batch items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    items: usize,
    pub(super) groups: usize,
    /// Channels of x in a group.
    pub(super) channels: usize,
    /// Channels of y, which are rows of W, in a group.
    pub(super) rows: usize,
    axes: [Axis; 2],
}

impl Sizes {
    /// From the shapes of x and W.
    ///
    /// # Errors
    /// x has other channels than W, or windows do not fit it.
    pub(super) fn new(op: &Op, inputs: &Inputs<'_>) -> Result<Sizes> {
        let dims = |index: usize| inputs[index].map_or(&[][..], |tensor: &Tensor| &tensor.dims);
        let refused = |what: String| Error::unsupported(format!("a convolution of {what}"));
        let groups = op.groups as usize;
        let (&[items, all, ref spatial @ ..], &[rows, .., channels]) = (dims(0), dims(1)) else {
            return Err(refused("values without channels".to_owned()));
        };
        if all != channels * groups || rows % groups.max(1) != 0 {
            return Err(refused(format!("{all} channels by {groups} groups of {channels}")));
        }
        let fault = |fault| refused(format!("shape {:?}: {fault}", dims(0)));
        let of_w: Vec<Dim> = dims(1).iter().map(|&size| Dim::from(size as i64)).collect();
        let windows = op.windows(&of_w).map_err(fault)?;
        if windows.len() != spatial.len() {
            return Err(refused(format!(
                "shape {:?} with windows of shape {:?}",
                dims(0),
                dims(1)
            )));
        }
        let lead = Window { kernel: 1, stride: 1, dilation: 1, begin: 0, end: 0, ..windows[0] };
        let mut axes = [Axis { input: 1, output: 1, window: lead }; 2];
        let places = axes.iter_mut().skip(2 - windows.len());
        for (axis, (&window, &input)) in places.zip(windows.iter().zip(spatial)) {
            let output = window.positions(&Dim::from(input as i64), false).map_err(fault)?;
            let output = output.as_size().map_or(0, |size| size as usize);
            *axis = Axis { input, output, window: window.padded(input, output) };
        }
        Ok(Sizes { items, groups, channels, rows: rows / groups.max(1), axes })
    }

    /// The shape of y.
    pub(super) fn result(&self, inputs: &Inputs<'_>) -> Vec<usize> {
        let spatial = inputs[0].map_or(0, |x| x.dims.len().saturating_sub(2)).min(2);
        let sizes = self.axes[2 - spatial..].iter().map(|axis| axis.output);
        [self.items, self.all_rows()].into_iter().chain(sizes).collect()
    }

    /// Places of a channel of x.
    pub(super) fn input(&self) -> usize {
        self.axes[0].input * self.axes[1].input
    }

    /// Places of a channel of y.
    pub(super) fn output(&self) -> usize {
        self.axes[0].output * self.axes[1].output
    }

    /// Places of a line of y.
    pub(super) fn line(&self) -> usize {
        self.axes[1].output
    }

    /// Channels of y.
    pub(super) fn all_rows(&self) -> usize {
        self.groups * self.rows
    }

    /// Elements of a window.
    pub(super) fn window(&self) -> usize {
        self.axes[0].window.kernel * self.axes[1].window.kernel * self.channels
    }

    /// The rows of W that are a group's.
    pub(super) fn weights<'a>(&self, w: &'a [f32], group: usize) -> &'a [f32] {
        let size = self.rows * self.window();
        &w[group * size..][..size]
    }

    /// How products are made where all lines are so many matrices.
    pub(super) fn products(&self, blocks: usize) -> Products {
        let alone = self.groups * blocks >= PIECES;
        Products { window: self.window(), rows: self.rows, alone }
    }

    /// The first channel that a group has of a batch item of x, among all.
    pub(super) fn plane(&self, item: usize, group: usize) -> usize {
        (item * self.groups + group) * self.channels
    }

    /// Lines whose windows are one matrix.
    fn height(&self) -> usize {
        (ELEMENTS / self.window()).clamp(LEAST, MOST).div_ceil(self.line().max(1))
    }

    /// All lines, divided.
    pub(super) fn blocks(&self) -> Vec<Range<usize>> {
        let (all, height) = (self.items * self.axes[0].output, self.height());
        (0..all).step_by(height).map(|from| from..(from + height).min(all)).collect()
    }

    /// Where a line of a channel of y, of all batch items, begins in the products of blocks with the groups' rows: in
    /// which product and where there.
    pub(super) fn place(&self, plane: usize, line: usize) -> (usize, usize) {
        let (item, row) = (plane / self.all_rows(), plane % self.all_rows());
        let lines = self.axes[0].output;
        let (all, height) = (self.items * lines, self.height());
        let line = item * lines + line;
        let block = line / height;
        let width = height.min(all - block * height);
        let at = (row % self.rows * width + line % height) * self.line();
        (row / self.rows * all.div_ceil(height) + block, at)
    }

    /// The batch items that lines are of.
    pub(super) fn items(&self, lines: &Range<usize>) -> Range<usize> {
        let height = self.axes[0].output;
        lines.start / height..lines.end.div_ceil(height)
    }

    /// `[row][place]`: what lines of y hold of a group's channels.
    pub(super) fn gathered(&self, y: &[f32], group: usize, lines: &Range<usize>) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.rows * lines.len() * self.line());
        let height = self.axes[0].output;
        for row in group * self.rows..(group + 1) * self.rows {
            for line in lines.clone() {
                let plane = line / height * self.all_rows() + row;
                let at = (plane * height + line % height) * self.line();
                all.extend_from_slice(&y[at..][..self.line()]);
            }
        }
        all
    }

    /// `[window][place]`: the windows of lines, in the order of W's columns, of a group's channels.
    pub(super) fn columns(&self, x: &[f32], group: usize, lines: &Range<usize>) -> Vec<f32> {
        let mut columns = vec![0.0; self.window() * lines.len() * self.line()];
        let stride = self.axes[1].window.stride;
        self.runs(lines, |to, item, place, count| {
            let x = &x[self.plane(item, group) * self.input() + place..];
            let columns = &mut columns[to..to + count];
            match stride {
                1 => columns.copy_from_slice(&x[..count]),
                _ => columns.iter_mut().zip(x.iter().step_by(stride)).for_each(|(to, x)| *to = *x),
            }
        });
        columns
    }

    /// Adds the elements of windows to where they came from: `[item][channel][place]`, items from `first`.
    pub(super) fn put_back(
        &self,
        columns: &[f32],
        lines: &Range<usize>,
        first: usize,
        by_x: &mut [f32],
    ) {
        let (stride, size) = (self.axes[1].window.stride, self.channels * self.input());
        self.runs(lines, |from, item, place, count| {
            let to = by_x[(item - first) * size + place..].iter_mut();
            let columns = &columns[from..from + count];
            match stride {
                1 => to.zip(columns).for_each(|(to, x)| *to += x),
                _ => to.step_by(stride).zip(columns).for_each(|(to, x)| *to += x),
            }
        });
    }

    /// Elements of windows that lie one behind the other in a line: where the first is among columns, its batch item
    /// and its place among the group's channels of it, and how many they are.
    #[inline(always)]
    fn runs(&self, lines: &Range<usize>, mut each: impl FnMut(usize, usize, usize, usize)) {
        let [height, width] = &self.axes;
        let mut row = 0;
        for (i, j) in
            (0..height.window.kernel).flat_map(|i| (0..width.window.kernel).map(move |j| (i, j)))
        {
            let inside = width.inside(j);
            let Some(entry) = width.entry(inside.start, j).filter(|_| !inside.is_empty()) else {
                row += self.channels;
                continue;
            };
            for channel in 0..self.channels {
                for (at, line) in lines.clone().enumerate() {
                    let (item, position) = (line / height.output, line % height.output);
                    let Some(of_height) = height.entry(position, i) else { continue };
                    let to = (row * lines.len() + at) * width.output + inside.start;
                    let place = (channel * height.input + of_height) * width.input + entry;
                    each(to, item, place, inside.len());
                }
                row += 1;
            }
        }
    }
}
