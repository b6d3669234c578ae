//! Memory for rows that stay in the file.

use super::pack::Packed;
use super::source::Coded;

/// Memory that rows are brought to from the file, and packed in.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(super) coded: Coded,
    pub(super) packed: Packed,
}

#[cfg(test)]
impl Unpacked {
    pub(super) fn capacities(&self) -> Vec<usize> {
        let Coded { planes, coefficients, offsets } = &self.coded;
        let mut all = self.packed.capacities();
        all.extend([planes.capacity(), coefficients.capacity(), offsets.capacity()]);
        all
    }
}
