//! Samples in arrays: what is learned, and what students are judged by.

use amq_format::graph::ValueId;

use crate::ir::Module;
use crate::tensor::Tensor;

/// Of samples that are learned, one in so many is kept to choose by.
const KEPT: usize = 8;

/// Samples that lie along an axis of arrays.
#[derive(Clone, Debug)]
pub struct Group {
    /// By the names of inputs.
    pub inputs: Vec<(String, Tensor)>,
    /// The class of each sample.
    pub labels: Option<Vec<i64>>,
}

/// Samples to learn from, and to choose by.
#[derive(Clone, Debug)]
pub struct Arrays {
    /// What is learned; the arrays of a group have the same number of samples.
    pub learned: Vec<Group>,
    /// What students are judged by: if nothing is given, each eighth sample of those that would be learned.
    pub valid: Vec<Group>,
    /// The axis along which samples lie.
    pub axis: usize,
}

impl Group {
    /// How many samples lie along the axis.
    pub fn samples(&self, axis: usize) -> usize {
        self.inputs.first().and_then(|(_, tensor)| tensor.dims.get(axis).copied()).unwrap_or(0)
    }

    /// What a network that is trained is given, beside its states.
    pub(super) fn of_module(&self, module: &Module) -> Vec<(ValueId, Tensor)> {
        let given = module.graph.inputs.iter().filter_map(|port| {
            let (_, tensor) =
                self.inputs.iter().find(|(name, _)| name == module.name(port.value))?;
            Some((port.value, tensor.clone()))
        });
        given.collect()
    }

    pub(super) fn select(&self, axis: usize, places: &[usize]) -> Group {
        let part = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.select(axis, places));
        let labels = |all: &Vec<i64>| places.iter().map(|&at| all[at]).collect();
        Group {
            inputs: self.inputs.iter().map(part).collect(),
            labels: self.labels.as_ref().map(labels),
        }
    }
}

impl Arrays {
    /// Moves each eighth sample to those to choose by, if there are none yet.
    pub(super) fn keep(&mut self) {
        let mut before = 0;
        self.part(|_, samples| {
            let is_kept = |at: &usize| (before + at) % KEPT == KEPT - 1;
            let kept = (0..samples).filter(is_kept).collect();
            before += samples;
            kept
        });
    }

    /// The same of steps that follow each other, of which so many are a piece: of eight sequences or more each eighth, else
    /// the last eighth of each, or its last piece.
    pub(super) fn keep_ends(&mut self, piece: usize) {
        let groups = self.learned.len();
        self.part(|index, samples| {
            let pieces = samples / piece;
            let kept = match (groups, pieces) {
                (KEPT.., _) if index % KEPT == KEPT - 1 => samples,
                (KEPT.., _) | (_, 0 | 1) => 0,
                _ => pieces.div_ceil(KEPT) * piece,
            };
            (samples - kept..samples).collect()
        });
    }

    /// Moves of each group the places that are chosen by its number and its samples to what students are judged by, if
    /// nothing is there yet.
    fn part(&mut self, mut choose: impl FnMut(usize, usize) -> Vec<usize>) {
        if !self.valid.is_empty() {
            return;
        }
        for (index, group) in self.learned.iter_mut().enumerate() {
            let samples = group.samples(self.axis);
            let kept = choose(index, samples);
            if !kept.is_empty() {
                let rest: Vec<usize> =
                    (0..samples).filter(|at| kept.binary_search(at).is_err()).collect();
                self.valid.push(group.select(self.axis, &kept));
                *group = group.select(self.axis, &rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn group(first: i64, count: usize) -> Group {
        let data = Data::I64((first..first + count as i64).collect());
        let tensor = Tensor { dims: vec![count], data };
        Group { inputs: vec![("x".to_owned(), tensor)], labels: None }
    }

    fn samples(groups: &[Group]) -> Vec<Vec<i64>> {
        groups.iter().map(|group| group.inputs[0].1.data.integers().unwrap()).collect()
    }

    #[test]
    fn each_eighth_sample_is_kept() {
        let mut alone =
            Arrays { learned: vec![group(0, 7), group(100, 6)], valid: Vec::new(), axis: 0 };
        alone.keep();
        assert_eq!(samples(&alone.valid), [[100]]);
        assert_eq!(samples(&alone.learned)[1], [101, 102, 103, 104, 105]);
    }

    /// Of steps that follow each other the last are kept, so that those that are learned do so too.
    #[test]
    fn ends_of_sequences_are_kept() {
        let kept = |sizes: &[(i64, usize)], piece| {
            let learned = sizes.iter().map(|&(first, count)| group(first, count)).collect();
            let mut arrays = Arrays { learned, valid: Vec::new(), axis: 0 };
            arrays.keep_ends(piece);
            (samples(&arrays.valid), samples(&arrays.learned))
        };
        let (valid, learned) = kept(&[(0, 37), (100, 5)], 2);
        assert_eq!(valid, [vec![31, 32, 33, 34, 35, 36], vec![103, 104]]);
        assert_eq!((learned[0].len(), learned[1].len()), (31, 3));
        let many: Vec<(i64, usize)> = (0..9).map(|first| (10 * first, 5)).collect();
        assert_eq!(kept(&many, 2).0, [[70, 71, 72, 73, 74]]);
        assert!(kept(&[(0, 3)], 2).0.is_empty());
    }
}
