//! Convolutions: products with windows, which are laid out as columns of a matrix, some lines of the output at a time.

mod products;
mod sizes;

use std::ops::Range;

use amq_format::graph::{Activations, Conv as Op};
use amq_runtime::Isa;
use rayon::prelude::*;

use super::layer::{Gradients, Inputs, Layer, by_output, floats, optional};
use crate::error::Result;
use crate::tensor::{Data, Tensor};
use crate::tune::coded::code;
use crate::tune::product::turned;
use products::Products;
use sizes::{PIECES, Sizes};

/// A convolution over one or two axes.
pub(super) struct Conv {
    isa: Isa,
    op: Op,
    /// What entered the products in the place of x; empty where that was x.
    coded: Vec<f32>,
}

impl Conv {
    pub(super) fn new(isa: Isa, op: &Op) -> Conv {
        Conv { isa, op: op.clone(), coded: Vec::new() }
    }

    /// Codes pixels: the channels of a group at one place.
    fn code(&mut self, x: &[f32], sizes: &Sizes) -> Result<()> {
        self.coded.clear();
        let (isa, activations) = (self.isa, self.op.activations());
        let (channels, places) = (sizes.channels, sizes.input());
        if activations == Activations::F32 || x.is_empty() {
            return Ok(());
        }
        self.coded.extend_from_slice(x);
        self.coded.par_chunks_mut(channels * places).try_for_each(|planes| {
            let mut pixels = turned(planes, places);
            code(isa, activations, channels, &mut pixels)?;
            planes.copy_from_slice(&turned(&pixels, channels));
            Ok(())
        })
    }

    fn entered<'a>(&'a self, x: &'a [f32]) -> &'a [f32] {
        if self.coded.is_empty() { x } else { &self.coded }
    }
}

impl Layer for Conv {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let sizes = Sizes::new(&self.op, inputs)?;
        let dims = sizes.result(inputs);
        let mut y = vec![0.0; dims.iter().product()];
        if !y.is_empty() {
            self.code(x, &sizes)?;
            let (x, blocks) = (self.entered(x), sizes.blocks());
            let group = |group: usize| blocks.iter().map(move |lines| (group, lines.clone()));
            let products = sizes.products(blocks.len());
            let pieces: Vec<_> = (0..sizes.groups).flat_map(group).collect();
            let parts: Vec<Vec<f32>> = pieces
                .into_par_iter()
                .map(|(group, lines)| {
                    let columns = sizes.columns(x, group, &lines);
                    products.results(sizes.weights(w, group), &columns)
                })
                .collect();
            let bias = optional(inputs, 2);
            y.par_chunks_exact_mut(sizes.output()).enumerate().for_each(|(plane, y)| {
                let bias = bias.map_or(0.0, |bias| bias[plane % sizes.all_rows()]);
                for (line, y) in y.chunks_exact_mut(sizes.line()).enumerate() {
                    let (part, at) = sizes.place(plane, line);
                    let part = &parts[part][at..];
                    y.iter_mut().zip(part).for_each(|(y, product)| *y = product + bias);
                }
            });
        }
        Ok(vec![Some(Tensor { dims, data: Data::F32(y) })])
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        _: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        wanted: &[bool],
    ) -> Result<Gradients> {
        let mut found: Gradients = vec![None; inputs.len()];
        let by_y = by_output(gradients)?;
        let (x, w) = (floats(inputs, 0)?, floats(inputs, 1)?);
        let sizes = Sizes::new(&self.op, inputs)?;
        if wanted.get(2) == Some(&true) {
            let mut sum = vec![0.0; sizes.all_rows()];
            for item in by_y.chunks_exact(sizes.output().max(1) * sum.len()) {
                let planes = item.chunks_exact(sizes.output());
                sum.iter_mut().zip(planes).for_each(|(sum, y)| *sum += y.iter().sum::<f32>());
            }
            found[2] = Some(sum);
        }
        let [mut by_x, mut by_w] = [vec![0.0; x.len()], vec![0.0; w.len()]];
        let back = Back { sizes, x: self.entered(x), w, by_y, wanted };
        for piece in back.pieces() {
            let own = piece.group * sizes.rows * sizes.window()..;
            by_w[own].iter_mut().zip(&piece.by_w).for_each(|(sum, w)| *sum += w);
            let planes = piece.by_x.chunks_exact(sizes.input().max(1) * sizes.channels);
            for (item, planes) in planes.enumerate() {
                let at = sizes.plane(piece.first + item, piece.group) * sizes.input();
                by_x[at..].iter_mut().zip(planes).for_each(|(sum, x)| *sum += x);
            }
        }
        found[0] = wanted[0].then_some(by_x);
        found[1] = wanted[1].then_some(by_w);
        Ok(found)
    }
}

/// What the way back is found from.
struct Back<'a> {
    sizes: Sizes,
    x: &'a [f32],
    w: &'a [f32],
    by_y: &'a [f32],
    wanted: &'a [bool],
}

/// Of some lines and a group, what they add to the gradients.
struct Piece {
    group: usize,
    /// The batch item of the first of `by_x`.
    first: usize,
    /// `[item][channel][place]`, of the items that the lines are of; empty if it is not wanted.
    by_x: Vec<f32>,
    /// `[row][window]`; empty if it is not wanted.
    by_w: Vec<f32>,
}

impl Back<'_> {
    fn pieces(&self) -> Vec<Piece> {
        let blocks = self.sizes.blocks();
        let size = blocks.len().div_ceil((PIECES / self.sizes.groups).max(1)).max(1);
        let group = |group: usize| blocks.chunks(size).map(move |blocks| (group, blocks));
        let pieces: Vec<_> = (0..self.sizes.groups).flat_map(group).collect();
        let products = self.sizes.products(blocks.len());
        pieces.into_par_iter().map(|(group, blocks)| self.piece(&products, group, blocks)).collect()
    }

    fn piece(&self, products: &Products, group: usize, blocks: &[Range<usize>]) -> Piece {
        let Back { sizes, x, w, by_y, wanted } = *self;
        let ends = blocks.first().zip(blocks.last());
        let items = ends.map_or(0..0, |(first, last)| sizes.items(&(first.start..last.end)));
        let of_items = items.len() * sizes.channels * sizes.input();
        let mut by_x = vec![0.0; if wanted[0] { of_items } else { 0 }];
        let mut by_w = vec![0.0; if wanted[1] { sizes.rows * sizes.window() } else { 0 }];
        for lines in blocks {
            let by_y = sizes.gathered(by_y, group, lines);
            if wanted[1] {
                let columns = sizes.columns(x, group, lines);
                products.add_by_weights(&by_y, &columns, &mut by_w);
            }
            if wanted[0] {
                let by_columns = products.by_columns(sizes.weights(w, group), &by_y);
                sizes.put_back(&by_columns, lines, items.start, &mut by_x);
            }
        }
        Piece { group, first: items.start, by_x, by_w }
    }
}
