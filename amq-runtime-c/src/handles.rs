//! What stands behind the numbers that C holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::status::{AMQ_ERROR_HANDLE, Failure};

/// Things by number. Nothing in here panics while a lock is held, so that a poisoned one is whole.
pub(crate) struct Handles<T> {
    kind: &'static str,
    things: RwLock<BTreeMap<u64, Arc<T>>>,
}

/// The last number given, of a model or of a session: neither passes for the other.
static LAST: AtomicU64 = AtomicU64::new(0);

impl<T> Handles<T> {
    /// No things, of a kind that errors name.
    pub(crate) const fn new(kind: &'static str) -> Handles<T> {
        Handles { kind, things: RwLock::new(BTreeMap::new()) }
    }

    /// Keeps a thing; its number is never 0 and never another's.
    pub(crate) fn insert(&self, thing: T) -> u64 {
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let mut things = self.things.write().unwrap_or_else(PoisonError::into_inner);
        things.insert(number, Arc::new(thing));
        number
    }

    /// The thing of a number. It lives while it is held, even if it is taken meanwhile.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<T>, Failure> {
        let things = self.things.read().unwrap_or_else(PoisonError::into_inner);
        things.get(&number).map(Arc::clone).ok_or_else(|| self.missing(number))
    }

    /// Gives a thing up.
    pub(crate) fn take(&self, number: u64) -> Result<Arc<T>, Failure> {
        let mut things = self.things.write().unwrap_or_else(PoisonError::into_inner);
        things.remove(&number).ok_or_else(|| self.missing(number))
    }

    fn missing(&self, number: u64) -> Failure {
        let kind = self.kind;
        let text = format!("there is no {kind} {number}: it was freed, or is none of amq's");
        Failure(AMQ_ERROR_HANDLE, text)
    }
}
