//! One choice from each of several lists: the least loss for every number of bytes.

/// A choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) bytes: u64,
    pub(super) loss: f64,
}

/// Units that bytes are counted in at most: each choice is rounded up to them.
const UNITS: u64 = 1 << 13;

/// The least loss for every number of bytes.
pub(super) struct Frontier {
    lists: Vec<Vec<Item>>,
    unit: u64,
    /// `[list][units]`: the least loss of the lists up to this one in so many units, and the place in it.
    table: Vec<Vec<(f64, usize)>>,
}

/// Of each list the place of what is chosen; none of an empty one.
pub(super) type Places = Vec<Option<usize>>;

impl Frontier {
    pub(super) fn new(lists: &[Vec<Item>]) -> Frontier {
        let most: u64 = lists.iter().filter_map(|list| list.iter().map(|i| i.bytes).max()).sum();
        let unit = (most / UNITS).max(1);
        // Each choice may be rounded up by one.
        let units = (most / unit) as usize + lists.len() + 1;
        let mut table: Vec<Vec<(f64, usize)>> = Vec::with_capacity(lists.len());
        for list in lists {
            let before = table.last();
            let row = (0..units).map(|left| {
                let mut best = (f64::INFINITY, 0);
                if list.is_empty() {
                    best.0 = before.map_or(0.0, |row| row[left].0);
                }
                for (place, item) in list.iter().enumerate() {
                    let Some(rest) = left.checked_sub(item.bytes.div_ceil(unit) as usize) else {
                        continue;
                    };
                    let loss = item.loss + before.map_or(0.0, |row| row[rest].0);
                    if loss < best.0 {
                        best = (loss, place);
                    }
                }
                best
            });
            let row = row.collect();
            table.push(row);
        }
        Frontier { lists: lists.to_vec(), unit, table }
    }

    /// What was chosen in so many units.
    fn places(&self, mut left: usize) -> Places {
        let mut places = vec![None; self.lists.len()];
        for ((list, row), place) in self.lists.iter().zip(&self.table).zip(&mut places).rev() {
            if let Some(item) = list.get(row[left].1) {
                *place = Some(row[left].1);
                left -= item.bytes.div_ceil(self.unit) as usize;
            }
        }
        places
    }

    fn last(&self) -> &[(f64, usize)] {
        self.table.last().map(Vec::as_slice).unwrap_or_default()
    }

    /// The choice of least loss in at most so many bytes.
    pub(super) fn within(&self, bytes: u64) -> Option<Places> {
        let units = (bytes / self.unit).min(self.last().len() as u64 - 1) as usize;
        self.last()[units].0.is_finite().then(|| self.places(units))
    }

    /// The choice of fewest bytes that loses at most so much.
    pub(super) fn losing(&self, most: f64) -> Option<Places> {
        let units = self.last().iter().position(|(loss, _)| *loss <= most)?;
        Some(self.places(units))
    }

    /// The choice that loses least.
    pub(super) fn best(&self) -> Places {
        self.places(self.last().len() - 1)
    }

    /// The choice of fewest bytes.
    pub(super) fn smallest(&self) -> Places {
        let least = |list: &Vec<Item>| {
            list.iter().enumerate().min_by_key(|(_, item)| item.bytes).map(|(place, _)| place)
        };
        self.lists.iter().map(least).collect()
    }

    /// The fewest bytes.
    pub(super) fn least(&self) -> u64 {
        self.bytes(&self.smallest())
    }

    /// Bytes of a choice.
    pub(super) fn bytes(&self, places: &[Option<usize>]) -> u64 {
        let bytes = |(list, place): (&Vec<Item>, &Option<usize>)| {
            place.and_then(|place| list.get(place)).map_or(0, |item| item.bytes)
        };
        self.lists.iter().zip(places).map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every choice, tried.
    fn tried(lists: &[Vec<Item>], most: u64) -> f64 {
        let Some((list, rest)) = lists.split_first() else { return 0.0 };
        let best = |item: &Item| match most.checked_sub(item.bytes) {
            Some(left) => item.loss + tried(rest, left),
            None => f64::INFINITY,
        };
        list.iter().map(best).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_choice_is_better() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let lists: Vec<Vec<Item>> = (0..5)
            .map(|_| {
                let size = 1 + random(500);
                let scale = 1.0 + random(100) as f64;
                let item =
                    |bits: u64| Item { bytes: bits * size, loss: scale * 0.3f64.powi(bits as i32) };
                (1..=4).map(item).collect()
            })
            .collect();
        let frontier = Frontier::new(&lists);
        let loss = |places: &Places| -> f64 {
            lists.iter().zip(places).map(|(list, place)| list[place.unwrap()].loss).sum()
        };
        assert!(frontier.within(frontier.least() - 1).is_none());
        for most in (frontier.least()..frontier.bytes(&frontier.best())).step_by(97) {
            let places = frontier.within(most).unwrap();
            assert!(frontier.bytes(&places) <= most);
            assert!((loss(&places) - tried(&lists, most)).abs() < 1e-12, "{most}");
            // And the way back.
            let back = frontier.losing(loss(&places)).unwrap();
            assert!(frontier.bytes(&back) <= frontier.bytes(&places));
        }
    }

    #[test]
    fn lists_may_be_empty() {
        let lists = [vec![], vec![Item { bytes: 8, loss: 1.0 }, Item { bytes: 16, loss: 0.5 }]];
        let frontier = Frontier::new(&lists);
        assert_eq!(frontier.within(15), Some(vec![None, Some(0)]));
        assert_eq!(frontier.best(), [None, Some(1)]);
    }
}
