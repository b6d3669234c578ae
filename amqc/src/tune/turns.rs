//! Which samples are learned when.

use crate::random::SplitMix64;

/// Pieces that a stream has at least, where a group has as many: its first states are those of no step before.
const PIECES: usize = 16;

/// Samples that are learned at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// The group that they are of.
    pub(super) group: usize,
    pub(super) places: Vec<usize>,
    /// The stream, of steps that follow each other.
    pub(super) stream: Option<usize>,
}

/// How many samples are learned at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) samples: usize,
    /// Whether the model takes no other number.
    pub(super) is_fixed: bool,
}

impl Size {
    /// Full pieces of places, and what is left of a group that fills none.
    fn cut(self, places: &[usize]) -> Vec<Vec<usize>> {
        let pieces = places.chunks_exact(self.samples);
        match pieces.len() == 0 && !places.is_empty() && !self.is_fixed {
            true => vec![places.to_vec()],
            false => pieces.map(<[usize]>::to_vec).collect(),
        }
    }
}

impl Size {
    /// All of so many samples in their order, with how many of each piece no piece before had: where no other number is
    /// taken, the last sample fills the last piece.
    pub(super) fn in_order(self, samples: usize) -> impl Iterator<Item = (Vec<usize>, usize)> {
        (0..samples).step_by(self.samples.max(1)).map(move |start| {
            let mut places: Vec<usize> = (start..samples.min(start + self.samples)).collect();
            let new = places.len();
            places.resize(if self.is_fixed { self.samples } else { new }, samples - 1);
            (places, new)
        })
    }
}

/// Samples of groups of so many in an order by chance.
pub(super) fn shuffled(groups: &[usize], size: Size, random: &mut SplitMix64) -> Vec<Piece> {
    let mut order = Vec::new();
    for (group, &samples) in groups.iter().enumerate() {
        let mut places: Vec<usize> = (0..samples).collect();
        random.shuffle(&mut places);
        let pieces = size.cut(&places).into_iter();
        order.extend(pieces.map(|places| Piece { group, places, stream: None }));
    }
    random.shuffle(&mut order);
    order
}

/// Divides groups of so many steps that follow each other into streams, about so many in all and each of some pieces at
/// least, that take turns; `offset` steps are left out at first. Gives the pieces and the group of each stream.
pub(super) fn in_turns(
    groups: &[usize],
    size: Size,
    offset: usize,
    at_once: usize,
    random: &mut SplitMix64,
) -> (Vec<Piece>, Vec<usize>) {
    let (mut streams, mut of_group): (Vec<Vec<Piece>>, _) = (Vec::new(), Vec::new());
    for (group, &steps) in groups.iter().enumerate() {
        // A group of few steps is read from its first.
        let first = if steps >= offset + size.samples { offset } else { 0 };
        let pieces = size.cut(&(first..steps).collect::<Vec<_>>());
        let parts = (at_once / groups.len()).clamp(1, (pieces.len() / PIECES).max(1));
        for part in pieces.chunks(pieces.len().div_ceil(parts).max(1)) {
            let stream = Some(streams.len());
            let piece = |places: &Vec<usize>| Piece { group, places: places.clone(), stream };
            streams.push(part.iter().map(piece).collect());
            of_group.push(group);
        }
    }
    let mut turns: Vec<_> = streams.into_iter().map(Vec::into_iter).collect();
    random.shuffle(&mut turns);
    let mut order = Vec::new();
    while turns.iter().any(|stream| stream.len() > 0) {
        order.extend(turns.iter_mut().filter_map(Iterator::next));
    }
    (order, of_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_samples_are_in_order() {
        let size = |is_fixed| Size { samples: 3, is_fixed };
        let found: Vec<_> = size(false).in_order(5).collect();
        assert_eq!(found, [(vec![0, 1, 2], 3), (vec![3, 4], 2)]);
        let found: Vec<_> = size(true).in_order(4).collect();
        assert_eq!(found, [(vec![0, 1, 2], 3), (vec![3, 3, 3], 1)]);
        assert_eq!(size(true).in_order(0).count(), 0);
    }

    #[test]
    fn streams_are_in_order_and_take_turns() {
        let size = Size { samples: 5, is_fixed: false };
        let (order, groups) = in_turns(&[400, 3, 83], size, 2, 9, &mut SplitMix64(1));
        // 79 pieces are three streams of 27, 27 and 25; 16 pieces are one.
        assert_eq!(groups, [0, 0, 0, 1, 2]);
        let places = |stream: usize| -> Vec<usize> {
            let own = order.iter().filter(|piece| piece.stream == Some(stream));
            own.flat_map(|piece| piece.places.clone()).collect()
        };
        assert!(places(0).into_iter().eq(2..137));
        assert!(places(1).into_iter().eq(137..272));
        assert!(places(2).into_iter().eq(272..397));
        assert_eq!(places(3), [0, 1, 2]);
        assert!(places(4).into_iter().eq(2..82));
        // Each has its turn before any has two.
        let mut first: Vec<_> = order[..5].iter().map(|piece| piece.stream).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4].map(Some));
        let fixed = Size { is_fixed: true, ..size };
        assert!(in_turns(&[4], fixed, 0, 9, &mut SplitMix64(1)).0.is_empty());
    }
}
