//! Runs a float model on calibration data and gathers what its matrices meet.

use std::collections::BTreeMap;

use amq_format::Validated;
use amq_runtime::{Data, Isa, Part, Probe, Product, View};
use rayon::prelude::*;

use super::batches::{Batch, Batches, PIECE, Which};
use super::moments::{Block, Moments, Sums};
use super::samples::Samples;
use super::softmax::{Shares, Softmax};
use super::source::Source;
use crate::error::{Error, Result};
use crate::feed::stream::{PortNames, TextReader};
use crate::loaded::Loaded;
use crate::logits::behind;
use crate::open::Opened;
use crate::tensor::views;
use crate::threads::Threads;

/// Most bytes of moments.
const MOST_BYTES: usize = 640 << 20;
/// Most vectors that are taken of one product: a convolution has thousands of windows that hardly differ.
const MOST_VECTORS: usize = 4096;
/// Tokens of a text, and samples of arrays, that tell how much the rows under a softmax count.
const WEIGHED_TOKENS: usize = 4096;
const WEIGHED_SAMPLES: usize = 32;

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
    let loaded = opened.load_with(isa, threads)?;
    let samples = source.read(&loaded)?;
    let file = opened.validated()?;
    match &samples {
        Samples::Text { tokens, classes } => {
            let mut reader = TextReader::new(&loaded, *classes, PortNames::default())?;
            let piece = reader.piece(tokens.len())?.min(PIECE);
            let mut shares = Shares::new(behind(loaded.graph(), reader.output(), true));
            for piece in tokens.chunks(piece).take(WEIGHED_TOKENS.div_ceil(piece)) {
                reader.feed_with(piece, &mut shares)?;
            }
            reader.reset();
            let mut observer = Observer::new(&file, shares);
            for (index, piece) in tokens.chunks(piece).enumerate() {
                observer.half = index % 2;
                reader.feed_with(piece, &mut observer)?;
                progress((index * PIECE).min(tokens.len()), tokens.len());
            }
            observer.finish(source)
        }
        Samples::Arrays { .. } => {
            let outputs = loaded.outputs();
            let softmax = outputs.filter_map(|port| behind(loaded.graph(), port.value, false));
            let mut shares = Shares::new(softmax.min());
            let mut session = loaded.session();
            let mut run = |batch: &Batch, probe: &mut dyn Probe| {
                let done = session.run_with(&views(&batch.inputs), probe).map(|_| ());
                done.map_err(|error| alone(&loaded, batch, source.axis, loaded.error(error)))
            };
            let batches = |most| Batches::new(&loaded, &samples, Which::Fitted, most);
            for batch in batches(WEIGHED_SAMPLES)? {
                run(&batch, &mut shares)?;
            }
            let mut observer = Observer::new(&file, shares);
            let all = batches(usize::MAX)?;
            let (total, mut done) = (all.new_samples(), 0);
            for (index, batch) in all.enumerate() {
                observer.half = index % 2;
                run(&batch, &mut observer)?;
                done += batch.new;
                progress(done, total);
            }
            observer.finish(source)
        }
    }
}

/// What to do where a model says that it takes any number of samples, but takes them one by one alone: some exporters fix
/// the batch in a shape and nowhere else.
fn alone(loaded: &Loaded, batch: &Batch, axis: usize, error: Error) -> Error {
    let samples = batch.inputs.first().and_then(|(_, tensor)| tensor.dims.get(axis));
    let name = loaded.inputs().find_map(|port| port.dims.get(axis)?.as_name());
    let one: Vec<_> =
        batch.inputs.iter().map(|(name, all)| (name.clone(), all.slice(axis, 0..1))).collect();
    match (samples, name) {
        (Some(2..), Some(name)) if loaded.run(&one).is_ok() => {
            error.remedy(format!("it takes one sample at a time: say so with --dim {name}=1"))
        }
        _ => error,
    }
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

impl Observer {
    fn new(file: &Validated<'_>, shares: Shares) -> Observer {
        let mut observer = Observer {
            half: 0,
            blocks: Vec::new(),
            places: BTreeMap::new(),
            softmax: None,
            bytes: 0,
        };
        observer.softmax = Softmax::new(file, shares, MOST_BYTES / 2);
        observer.bytes = observer.softmax.as_ref().map_or(0, Softmax::bytes);
        observer
    }

    /// What was seen.
    fn finish(mut self, source: &Source) -> Result<Moments> {
        if let Some(softmax) = self.softmax.take() {
            self.blocks.extend(softmax.blocks());
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

impl Probe for Observer {
    fn product(&mut self, product: &Product<'_>) {
        let Product { node, matrix, first_row, columns, rows, vectors, .. } = *product;
        if let Some(softmax) = &mut self.softmax
            && softmax.node == node
        {
            softmax.meet(vectors);
            return;
        }
        let place = match self.places.get(&(node, matrix, first_row)) {
            Some(&place) => place,
            None if self.bytes + Sums::bytes(columns) > MOST_BYTES => return,
            None => {
                self.bytes += Sums::bytes(columns);
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

    /// Logits of the softmax.
    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        let Some(softmax) = &mut self.softmax else { return };
        let (true, Data::F32(logits)) = (softmax.node == node && output == 0, value.data) else {
            return;
        };
        softmax.add(self.half, logits);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::data;
    use crate::onnx::tests::Build;
    use crate::tensor::{Data, Tensor};

    /// Some exporters fix the batch in a shape, and say in the inputs that it is any.
    #[test]
    fn a_model_that_takes_one_sample_is_told_how() {
        let folder = tempfile::tempdir().unwrap();
        let build = Build::new(13).input("x", "n 4").weight("w", &[4, 3]).ints("one", &[1, 4]);
        let build = build.node("Reshape", "x one", "h").node("MatMul", "h w", "y").output("y");
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let npy = folder.path().join("x.npy");
        let x = Tensor { dims: vec![3, 4], data: Data::F32(vec![0.5; 12]) };
        data::write_npy(std::fs::File::create(&npy).unwrap(), &x).unwrap();
        let source = Source { path: npy, vocabulary: None, axis: 0, most: None };
        let opened = Opened::read(&path).unwrap();
        let error = gather(&opened, &source, Isa::detect(), &|_, _| ()).unwrap_err().to_string();
        assert!(error.contains("it takes one sample at a time: say so with --dim n=1"), "{error}");
    }
}
