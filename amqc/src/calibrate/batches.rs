//! Samples in arrays as the calls that a model takes them in.

use std::collections::BTreeSet;
use std::ops::Range;

use super::samples::Samples;
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::tensor::Tensor;

/// Samples that are run at once, unless the model fixes how many.
pub(crate) const ITEMS: usize = 4;
/// Tokens of a text that are fed at once.
pub(crate) const PIECE: usize = 64;

/// Steps of a sequence that are run at once, from initial states, where samples follow each other in time.
pub(crate) const RUN: usize = 256;
/// Of the calls that samples fill, one in so many is kept apart, where there are [`ENOUGH`].
const APART: usize = 8;
const ENOUGH: usize = 2 * APART;

/// Which of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// What codes are fitted to.
    Fitted,
    /// What answers are compared on: those kept apart, or of few samples all.
    Compared,
}

/// Inputs of a call.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// Samples that were in no batch before.
    pub(super) new: usize,
}

/// Calls of a model with samples of arrays; of a text there are none.
pub(crate) struct Batches<'a> {
    samples: &'a Samples,
    /// Of each call the file, the samples, and how many of them are in no call before.
    calls: std::vec::IntoIter<(usize, Range<usize>, usize)>,
    /// Whether they were kept apart from those that codes are fitted to.
    pub(super) apart: bool,
    /// Whether they follow each other in time.
    pub(super) in_time: bool,
}

impl<'a> Batches<'a> {
    /// At most `most` samples or, where these follow each other in time, [runs](RUN), from all of the data. Where the
    /// model fixes how many samples it takes, the last call of a file begins before the end of the one before it, and files with fewer
    /// are left out.
    ///
    /// # Errors
    /// Inputs that fix different numbers.
    pub(crate) fn new(
        loaded: &Loaded,
        samples: &'a Samples,
        which: Which,
        most: usize,
    ) -> Result<Batches<'a>> {
        let Samples::Arrays { files, axis } = samples else {
            let calls = Vec::new().into_iter();
            return Ok(Batches { samples, calls, apart: false, in_time: false });
        };
        let mut calls = Vec::new();
        let in_time = loaded.is_time(*axis);
        let fixed = fixed(loaded, *axis)?;
        let size = fixed.unwrap_or(if in_time { RUN } else { ITEMS });
        for (file, inputs) in files.iter().enumerate() {
            let count = inputs.first().map_or(0, |(_, tensor)| tensor.dims[*axis]);
            for start in (0..count).step_by(size) {
                let end = (start + size).min(count);
                let first = if fixed.is_some() { end.checked_sub(size) } else { Some(start) };
                calls.extend(first.map(|first| (file, first..end, end - start)));
            }
        }
        let apart = calls.len() >= ENOUGH;
        if apart {
            let mut at = 0..;
            calls.retain(|_| {
                let kept_apart = at.next().is_some_and(|at| at % APART == APART - 1);
                kept_apart == (which == Which::Compared)
            });
        }
        // Data may be sorted: what is taken lies evenly in all of them.
        let most = if in_time { most } else { most.div_ceil(size) }.max(1);
        if calls.len() > most {
            calls = (0..most).map(|i| calls[i * calls.len() / most].clone()).collect();
        }
        Ok(Batches { samples, calls: calls.into_iter(), apart, in_time })
    }

    /// How many samples are in them.
    pub(super) fn new_samples(&self) -> usize {
        self.calls.as_slice().iter().map(|(.., new)| new).sum()
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let Samples::Arrays { files, axis } = self.samples else { return None };
        let (file, range, new) = self.calls.next()?;
        let part =
            |(name, tensor): &(String, Tensor)| (name.clone(), tensor.slice(*axis, range.clone()));
        Some(Batch { inputs: files[file].iter().map(part).collect(), new })
    }
}

/// How many samples the model takes in a call, if it fixes that.
pub(crate) fn fixed(loaded: &Loaded, axis: usize) -> Result<Option<usize>> {
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

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::tests::{A, Build};
    use crate::open::Opened;
    use crate::tensor::Data;

    fn loaded(build: &Build) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        Opened::read(&path).unwrap().load(amq_runtime::Isa::detect()).unwrap()
    }

    /// A file of samples whose only element is their number.
    fn numbered(count: usize) -> Samples {
        let x = Tensor {
            dims: vec![count, 1],
            data: Data::F32((0..count).map(|i| i as f32).collect()),
        };
        Samples::Arrays { files: vec![vec![("x".into(), x)]], axis: 0 }
    }

    /// The numbers of samples of each call.
    fn numbers(loaded: &Loaded, samples: &Samples, which: Which, most: usize) -> Vec<Vec<usize>> {
        let of = |batch: Batch| match &batch.inputs[0].1.data {
            Data::F32(x) => x.iter().map(|&x| x as usize).collect(),
            other => panic!("{other:?}"),
        };
        Batches::new(loaded, samples, which, most).unwrap().map(of).collect()
    }

    #[test]
    fn answers_are_compared_on_samples_that_codes_are_not_fitted_to() {
        let model = loaded(&Build::new(13).input("x", "n 1").node("Tanh", "x", "y").output("y"));
        let samples = numbered(101);
        let fitted = numbers(&model, &samples, Which::Fitted, usize::MAX).concat();
        let compared = numbers(&model, &samples, Which::Compared, usize::MAX).concat();
        assert_eq!(compared, [28, 29, 30, 31, 60, 61, 62, 63, 92, 93, 94, 95]);
        let mut all = [fitted.clone(), compared].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..101));
        // Fewer are from all over.
        let some = numbers(&model, &samples, Which::Fitted, 8);
        assert_eq!(some, [[0, 1, 2, 3], [48, 49, 50, 51]]);
        // Of few, all serve for both.
        let few = numbered(60);
        for which in [Which::Fitted, Which::Compared] {
            assert!(numbers(&model, &few, which, usize::MAX).concat().into_iter().eq(0..60));
        }
    }

    #[test]
    fn samples_in_time_are_runs_of_a_sequence() {
        let build =
            Build::new(14).input("s", "t 1").weight("w", &[1, 4, 1]).weight("r", &[1, 4, 4]);
        let build = build.ints("axes", &[1]);
        let build = build.node("Unsqueeze", "s axes", "x3");
        let build = build.input("h", "1 1 4");
        let units = [("hidden_size", A::I(4))];
        let build = build.node_with("RNN", "x3 w r _ _ h", "y next_h", &units);
        let build = build.output("y").output("next_h");
        let model = loaded(&build);
        assert!(model.is_time(0), "{:?}", model.graph().streams);
        let x =
            Tensor { dims: vec![600, 1], data: Data::F32((0..600).map(|i| i as f32).collect()) };
        let samples = Samples::Arrays { files: vec![vec![("s".into(), x)]], axis: 0 };
        let runs = numbers(&model, &samples, Which::Fitted, usize::MAX);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
        assert!(runs.concat().into_iter().eq(0..600));
    }
}
