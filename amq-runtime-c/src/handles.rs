//! What stands behind the numbers that C holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::status::{AMQ_ERROR_HANDLE, Failure};

/// Things by number. Nothing in here panics while a lock is held, so that a poisoned one is whole.
pub(crate) struct Handles<T> {
    kind: &'static str,
    /// In the order of their numbers.
    things: RwLock<Vec<(u64, Arc<T>)>>,
}

/// The last number given, of a model or of a session: neither passes for the other.
static LAST: AtomicU64 = AtomicU64::new(0);

impl<T> Handles<T> {
    /// No things, of a kind that errors name.
    pub(crate) const fn new(kind: &'static str) -> Handles<T> {
        Handles { kind, things: RwLock::new(Vec::new()) }
    }

    /// Keeps a thing; its number is never 0 and never another's.
    pub(crate) fn insert(&self, thing: T) -> u64 {
        let mut things = self.things.write().unwrap_or_else(PoisonError::into_inner);
        // Given while the others wait: numbers ascend.
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        things.push((number, Arc::new(thing)));
        number
    }

    /// The thing of a number. It lives while it is held, even if it is taken meanwhile.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<T>, Failure> {
        let things = self.things.read().unwrap_or_else(PoisonError::into_inner);
        self.find(&things, number).map(|at| Arc::clone(&things[at].1))
    }

    /// Gives a thing up.
    pub(crate) fn take(&self, number: u64) -> Result<Arc<T>, Failure> {
        let mut things = self.things.write().unwrap_or_else(PoisonError::into_inner);
        self.find(&things, number).map(|at| things.remove(at).1)
    }

    /// Where the thing of a number is.
    fn find(&self, things: &[(u64, Arc<T>)], number: u64) -> Result<usize, Failure> {
        let found = things.binary_search_by_key(&number, |thing| thing.0);
        found.map_err(|_| {
            let kind = self.kind;
            let text = format!("there is no {kind} {number}: it was freed, or is none of amq's");
            Failure(AMQ_ERROR_HANDLE, text)
        })
    }
}
