//! What products work with: memory, and the threads that share the work.

use super::scratch::Scratch;
use crate::workers::Workers;

/// Memory and threads for products.
pub(crate) struct Hands<'a> {
    pub(crate) workers: &'a dyn Workers,
    /// Of the caller's thread.
    pub(crate) scratch: &'a mut Scratch,
    /// Of the other workers.
    pub(crate) helpers: &'a mut [Scratch],
}

impl Hands<'_> {
    /// Into how many parts so many multiplications are divided.
    pub(super) fn parts(&self, multiplications: usize) -> usize {
        let most = multiplications / self.workers.grain().max(1);
        most.clamp(1, self.helpers.len() + 1)
    }

    /// Does two parts of the work at once, the second with `helpers` of the helpers.
    pub(super) fn join(
        &mut self,
        helpers: usize,
        first: impl FnOnce(Hands<'_>) + Send,
        second: impl FnOnce(Hands<'_>) + Send,
    ) {
        let Hands { workers, scratch, helpers: all } = self;
        let workers = *workers;
        let (own, others) = all.split_at_mut(all.len() - helpers);
        let Some((other, others)) = others.split_first_mut() else { return };
        other.order = scratch.order;
        let mut first = Some((first, Hands { workers, scratch, helpers: own }));
        let mut second = Some((second, Hands { workers, scratch: other, helpers: others }));
        let run_first = &mut || first.take().into_iter().for_each(|(work, hands)| work(hands));
        let run_second = &mut || second.take().into_iter().for_each(|(work, hands)| work(hands));
        workers.join(run_first, run_second);
        // Nothing is left undone, whatever the workers did.
        run_first();
        run_second();
    }
}
