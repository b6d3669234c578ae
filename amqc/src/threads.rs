//! Threads that run models.

use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{LoadOptions, Model, Session, Workers};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Threads that run models; the default is the caller's alone.
#[derive(Clone, Debug, Default)]
pub struct Threads(Option<Arc<Pool>>);

impl Threads {
    /// So many threads, the caller's among them.
    ///
    /// # Errors
    /// None at all, or more than the system starts.
    pub fn new(count: usize) -> Result<Threads> {
        match count {
            0 => return Err(Error::usage("--threads 0: a model needs a thread to run on")),
            1 => return Ok(Threads::default()),
            _ => {}
        }
        let builder = || ThreadPoolBuilder::new().num_threads(count);
        // A thread can be one of a pool's once.
        let pool = builder().use_current_thread().build().or_else(|_| builder().build());
        let pool = pool.map_err(|error| {
            Error::usage(format!("--threads {count}: {error}")).remedy("ask for fewer")
        })?;
        Ok(Threads(Some(Arc::new(Pool(pool)))))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.count())
    }

    /// A model, whose weights these threads pack.
    ///
    /// # Errors
    /// As [`Model::with_options`].
    pub fn load(
        &self,
        file: &Validated<'_>,
        options: &LoadOptions,
    ) -> Result<Model, amq_runtime::Error> {
        match &self.0 {
            Some(pool) => Model::with_workers(file, options, &**pool),
            None => Model::with_options(file, options),
        }
    }

    /// A session of a model on these threads.
    pub fn session(&self, model: Arc<Model>) -> Session {
        match &self.0 {
            Some(pool) => Session::with_workers(model, Arc::<Pool>::clone(pool)),
            None => Session::new(model),
        }
    }
}

#[derive(Debug)]
struct Pool(ThreadPool);

impl Workers for Pool {
    fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        self.0.join(a, b);
    }
}
