//! Threads that a caller lends to calls.

/// Threads that a caller lends to calls. Results do not depend on them: what is divided are rows and
/// vectors of products, each of which is computed as it would be alone.
///
/// A pool of threads is lent in a few lines; with rayon:
///
/// ```ignore
/// struct Pool(rayon::ThreadPool);
///
/// impl amq_runtime::Workers for Pool {
///     fn count(&self) -> usize {
///         self.0.current_num_threads()
///     }
///
///     fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
///         self.0.join(a, b);
///     }
/// }
/// ```
pub trait Workers: Send + Sync {
    /// How many parts can run at once; at least 1. It stays the same.
    fn count(&self) -> usize;

    /// Runs both, at once if there is a thread for that, and returns when both have ended. Either
    /// may call this again.
    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send));

    /// Multiplications that are worth a part of their own: some ten times what
    /// [`join`](Workers::join) takes.
    fn grain(&self) -> usize {
        1 << 19
    }
}

/// The caller's thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alone;

impl Workers for Alone {
    fn count(&self) -> usize {
        1
    }

    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        a();
        b();
    }
}

/// Threads that are started for each part and end with it: simple, and enough where products take
/// milliseconds. For short steps, lend a pool.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub struct Threads(core::num::NonZeroUsize);

#[cfg(feature = "std")]
impl Threads {
    /// So many threads, the caller's among them.
    pub fn new(count: core::num::NonZeroUsize) -> Threads {
        Threads(count)
    }
}

#[cfg(feature = "std")]
impl Workers for Threads {
    fn count(&self) -> usize {
        self.0.get()
    }

    fn join(&self, mut a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        let started = std::thread::scope(|scope| {
            let started = std::thread::Builder::new().spawn_scoped(scope, &mut a).is_ok();
            b();
            started
        });
        // Where the system starts no thread, the caller's does both.
        if !started {
            a();
        }
    }

    fn grain(&self) -> usize {
        1 << 22
    }
}
