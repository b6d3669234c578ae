//! The slots that values lie in while they are needed.

use alloc::vec::Vec;

use amq_format::graph::DataType;

/// Type and number of elements of a slot.
pub(crate) type Slot = (DataType, usize);

/// Bytes that slots take.
pub(crate) fn bytes(slots: &[Slot]) -> u64 {
    slots.iter().fold(0, |sum, &(data_type, len)| {
        sum.saturating_add((len as u64).saturating_mul(data_type.size() as u64))
    })
}

/// Slots, and which of them hold nothing that is needed.
pub(crate) struct Arena<'a> {
    pub(crate) slots: &'a mut Vec<Slot>,
    pub(crate) free: Vec<usize>,
}

impl Arena<'_> {
    /// The smallest free slot that suffices, else the largest, which grows, else a new one.
    pub(crate) fn allocate(&mut self, data_type: DataType, len: usize) -> usize {
        let fit = |&(_, &slot): &(usize, &usize)| {
            let size = self.slots[slot].1;
            if size >= len { (0, size) } else { (1, usize::MAX - size) }
        };
        let same_type =
            self.free.iter().enumerate().filter(|(_, s)| self.slots[**s].0 == data_type);
        match same_type.min_by_key(fit).map(|(at, _)| at) {
            Some(at) => {
                let slot = self.free.swap_remove(at);
                self.slots[slot].1 = self.slots[slot].1.max(len);
                slot
            }
            None => {
                self.slots.push((data_type, len));
                self.slots.len() - 1
            }
        }
    }
}
