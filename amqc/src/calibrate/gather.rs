//! Runs a float model on calibration data and gathers what its matrices meet.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::graph::{Graph, Op, ValueId};
use amq_format::{TensorView, Validated};
use amq_runtime::{Data, Isa, Part, Probe, Product, View};
use rayon::prelude::*;

use super::clusters::clusters;
use super::moments::{Block, Moments, Sums};
use super::samples::Samples;
use super::source::Source;
use crate::error::{Error, Result};
use crate::feed::stream::{PortNames, TextReader};
use crate::open::{Loaded, Opened};
use crate::tensor::{Tensor, views};
use crate::threads::Threads;

/// Most bytes of moments.
const MOST_BYTES: usize = 640 << 20;
/// Most vectors that are taken of one product: a convolution has thousands of windows that hardly differ.
const MOST_VECTORS: usize = 4096;
/// Clusters of rows under a softmax.
const CLUSTERS: usize = 120;
/// Vectors of less weight than so many times the mean are thinned out.
const THIN: f64 = 4.0;
/// Samples of arrays that are run at once.
const ITEMS: usize = 4;
/// Tokens of a text that are fed at once.
const TOKENS: usize = 64;

/// Runs the float model in `opened`, with kernels of `isa`, on the data of `source`; `progress` is told how many samples are done,
/// of how many.
///
/// # Errors
/// Data that are not for the model, and answers of it that are not finite.
pub fn gather(
    opened: &Opened,
    source: &Source,
    isa: Isa,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Moments> {
    let threads = Threads::new(rayon::current_num_threads())?;
    let loaded = opened.load(isa)?.with_threads(threads);
    let samples = source.read(&loaded)?;
    let file = opened.validated()?;
    match &samples {
        Samples::Text { tokens, classes } => {
            let mut reader = TextReader::new(&loaded, *classes, PortNames::default())?;
            let softmax = behind(loaded.graph(), reader.output(), true);
            let mut observer = Observer::new(&file, softmax);
            let piece = reader.piece(tokens.len())?.min(TOKENS);
            for (index, piece) in tokens.chunks(piece).enumerate() {
                observer.half = index % 2;
                reader.feed_with(piece, &mut observer)?;
                progress((index * TOKENS).min(tokens.len()), tokens.len());
            }
            observer.finish(source)
        }
        Samples::Arrays { files, axis } => {
            let outputs = loaded.outputs();
            let softmax = outputs.filter_map(|port| behind(loaded.graph(), port.value, false));
            let mut observer = Observer::new(&file, softmax.min());
            let count = |inputs: &[(String, Tensor)]| {
                inputs.first().map_or(0, |(_, tensor)| tensor.dims[*axis])
            };
            let total = files.iter().map(|inputs| count(inputs)).sum();
            let mut done = 0;
            let mut session = loaded.session();
            for inputs in files {
                let size = fixed(&loaded, *axis)?.unwrap_or(ITEMS);
                for start in (0..count(inputs)).step_by(size) {
                    // Where the model fixes how many it takes, those before them again.
                    let end = (start + size).min(count(inputs));
                    let first = match fixed(&loaded, *axis)? {
                        Some(size) => match end.checked_sub(size) {
                            Some(first) => first,
                            None => break,
                        },
                        None => start,
                    };
                    let part = |(name, tensor): &(String, Tensor)| {
                        (name.clone(), tensor.slice(*axis, first..end))
                    };
                    let batch: Vec<_> = inputs.iter().map(part).collect();
                    observer.half = done / size % 2;
                    session
                        .run_with(&views(&batch), &mut observer)
                        .map_err(|error| loaded.error(error))?;
                    done += end - start;
                    progress(done, total);
                }
            }
            observer.finish(source)
        }
    }
}

/// How many samples the model takes in a call, if it fixes that.
pub(super) fn fixed(loaded: &Loaded, axis: usize) -> Result<Option<usize>> {
    let mut sizes = BTreeSet::new();
    for port in loaded.inputs() {
        sizes.extend(port.dims.get(axis).and_then(|dim| dim.as_size()));
    }
    match sizes.len() {
        0 => Ok(None),
        1 => {
            Ok(sizes.first().and_then(|&size| usize::try_from(size).ok()).filter(|&size| size > 0))
        }
        _ => {
            Err(Error::usage(format!("along axis {axis} inputs hold different numbers of samples"))
                .within(loaded.path.display())
                .remedy("--calib-axis says along which axis samples stand"))
        }
    }
}

/// The node whose product a softmax is taken of to give `output`, seen through views. `implied` where a
/// softmax follows anyway.
fn behind(graph: &Graph, output: ValueId, implied: bool) -> Option<usize> {
    let (mut value, mut softmax) = (output, implied);
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.first() != Some(&value) {
            continue;
        }
        match &node.op {
            Some(Op::Softmax(_)) => softmax = true,
            Some(Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_)) => {}
            Some(Op::Linear(_)) if softmax => return Some(index),
            _ => return None,
        }
        value = *node.inputs.first()?;
    }
    None
}

/// Keeps the moments of the vectors that it sees.
struct Observer {
    half: usize,
    blocks: Vec<Block>,
    /// Places in `blocks`, by node, matrix and first row.
    places: BTreeMap<(usize, Part, usize), usize>,
    softmax: Option<Softmax>,
    bytes: usize,
}

/// A product of which a softmax is taken.
struct Softmax {
    node: usize,
    clusters: Vec<Vec<usize>>,
    sums: Vec<Sums>,
    thinned: Vec<Thinned>,
    /// Vectors of the call that is seen.
    vectors: Vec<f32>,
}

/// Leaves out vectors of little weight and gives it to others: fewer vectors are added, and sums stay what
/// they are but for chance.
#[derive(Clone, Debug, Default)]
struct Thinned {
    total: f64,
    count: u32,
    owed: f64,
}

impl Thinned {
    /// The weight that a vector of this weight gets.
    fn weigh(&mut self, weight: f32) -> f32 {
        self.total += f64::from(weight);
        self.count += 1;
        let least = THIN * self.total / f64::from(self.count);
        if f64::from(weight) >= least {
            return weight;
        }
        self.owed += f64::from(weight);
        if self.owed < least {
            return 0.0;
        }
        self.owed -= least;
        least as f32
    }
}

impl Observer {
    fn new(file: &Validated<'_>, softmax: Option<usize>) -> Observer {
        let mut observer = Observer {
            half: 0,
            blocks: Vec::new(),
            places: BTreeMap::new(),
            softmax: None,
            bytes: 0,
        };
        observer.softmax = softmax.and_then(|node| {
            let graph = file.graph();
            let weights = *graph.nodes[node].inputs.get(1)?;
            let index = graph.tensors.iter().position(|tensor| tensor.value == weights)?;
            let TensorView::Plain(plain) = file.tensor(index) else { return None };
            let (cols, weights) = (*plain.dims.last()?, plain.f32s().collect::<Vec<f32>>());
            let most = MOST_BYTES / 2 / bytes(cols).max(1);
            let clusters = clusters(&weights, cols, CLUSTERS.min(most));
            observer.bytes += clusters.len() * bytes(cols);
            let sums = vec![Sums::new(cols); clusters.len()];
            let thinned = vec![Thinned::default(); clusters.len()];
            (most > 0).then_some(Softmax { node, clusters, sums, thinned, vectors: Vec::new() })
        });
        observer
    }

    /// What was seen.
    fn finish(mut self, source: &Source) -> Result<Moments> {
        if let Some(softmax) = self.softmax.take() {
            for (rows, sums) in softmax.clusters.into_iter().zip(softmax.sums) {
                let node = softmax.node;
                self.blocks.push(Block { node, part: Part::W, rows, under_softmax: true, sums });
            }
        }
        for block in &mut self.blocks {
            block.sums.settle();
        }
        let sound: Option<Vec<bool>> =
            self.blocks.par_iter().map(|block| block.sums.is_sound()).collect();
        let Some(sound) = sound else {
            return Err(Error::bad_file("the model computes numbers from it that are not finite")
                .within(source.path.display())
                .remedy("calibrate with data that the model is meant for"));
        };
        let mut sound = sound.into_iter();
        self.blocks.retain(|_| sound.next() == Some(true));
        Ok(Moments { blocks: self.blocks })
    }
}

/// Bytes of the moments of vectors.
fn bytes(columns: usize) -> usize {
    2 * 8 * columns * columns
}

impl Probe for Observer {
    fn product(&mut self, product: &Product<'_>) {
        let Product { node, matrix, first_row, columns, rows, vectors, .. } = *product;
        if let Some(softmax) = &mut self.softmax
            && softmax.node == node
        {
            softmax.vectors.extend_from_slice(vectors);
            return;
        }
        let place = match self.places.get(&(node, matrix, first_row)) {
            Some(&place) => place,
            None if self.bytes + bytes(columns) > MOST_BYTES => return,
            None => {
                self.bytes += bytes(columns);
                self.places.insert((node, matrix, first_row), self.blocks.len());
                let rows = (first_row..first_row + rows).collect();
                let sums = Sums::new(columns);
                self.blocks.push(Block { node, part: matrix, rows, under_softmax: false, sums });
                self.blocks.len() - 1
            }
        };
        let sums = &mut self.blocks[place].sums;
        let count = vectors.len() / columns.max(1);
        let every = count.div_ceil(MOST_VECTORS).max(1);
        if every == 1 {
            sums.add(self.half, vectors, std::iter::repeat(1.0));
            return;
        }
        for vector in vectors.chunks_exact(columns).step_by(every) {
            sums.add(self.half, vector, std::iter::once(1.0));
        }
    }

    /// Logits of the softmax: an error of logit `i` costs `p_i (1 - p_i)` times half its square.
    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let Some(softmax) = &mut self.softmax else { return };
        let (true, Data::F32(logits)) = (softmax.node == node && output == 0, value.data) else {
            return;
        };
        let classes: usize = softmax.clusters.iter().map(Vec::len).sum();
        let weights: Vec<Vec<f32>> = logits
            .par_chunks_exact(classes.max(1))
            .map(|logits| {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
                let sum: f32 = powers.iter().sum();
                let weight = |rows: &Vec<usize>| -> f32 {
                    let p = rows.iter().map(|&row| powers[row] / sum);
                    p.map(|p| p * (1.0 - p)).sum::<f32>() / rows.len() as f32
                };
                softmax.clusters.iter().map(weight).collect()
            })
            .collect();
        let (vectors, half) = (&softmax.vectors, self.half);
        let sums = softmax.sums.par_iter_mut().zip(&mut softmax.thinned);
        sums.enumerate().for_each(|(cluster, (sums, thinned))| {
            sums.add(half, vectors, weights.iter().map(|weights| thinned.weigh(weights[cluster])));
        });
        softmax.vectors.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_weights_keep_their_sum() {
        let mut thinned = Thinned::default();
        let weights: Vec<f32> = (0..10_000).map(|i| (1 + i * 7919 % 101) as f32).collect();
        let found: Vec<f32> = weights.iter().map(|&weight| thinned.weigh(weight)).collect();
        let sum = |weights: &[f32]| weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        assert!((sum(&found) / sum(&weights) - 1.0).abs() < 1e-3);
        assert!(found.iter().filter(|&&weight| weight > 0.0).count() < 3000);
    }
}
