//! Many streams over one model that advance together.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::error::{Error, MisfitKind};
use crate::model::Model;
use crate::session::{Kept, Outputs, Session};
use crate::view::{Buffer, Data, DataMut, View, with_same_type};
use crate::workers::{Alone, Workers};
use amq_format::list;

/// A stream of a [`Batch`]. It says nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    place: usize,
    /// How many streams had the place before.
    generation: u64,
}

/// A place for a stream.
struct Place {
    generation: u64,
    is_taken: bool,
    /// Its states, each with the one size 1 along the axis of streams; none before its first step.
    states: Vec<Kept>,
}

/// Many streams over one [`Model`]: those that are due take a step in one call, whose products read the weights once for
/// all of them. Each gives the same bits as in a [`Session`] of its own.
///
/// ```no_run
/// # fn main() -> Result<(), amq_runtime::Error> {
/// # let model: std::sync::Arc<amq_runtime::Model> = unimplemented!();
/// use amq_runtime::{Batch, View};
///
/// let mut batch = Batch::new(model)?;
/// let (first, second) = (batch.add(), batch.add());
/// batch.step(&[first, second], &[("tokens", View::i64(&[1, 2], &[7, 9]))])?;
/// batch.step(&[second], &[("tokens", View::i64(&[1, 1], &[3]))])?;
/// batch.remove(first);
/// # Ok(())
/// # }
/// ```
pub struct Batch {
    session: Session,
    /// Of each state, its axis of streams.
    axes: Vec<usize>,
    places: Vec<Place>,
    /// Those that no stream has.
    free: Vec<usize>,
    /// Where a stream begins; none before the first step.
    initial: Vec<Kept>,
    /// Whose states the session holds, in this order: those of the last step. Their places have older ones.
    held: Vec<StreamId>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("session", &self.session)
            .field("streams", &self.len())
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// A batch without streams.
    ///
    /// # Errors
    /// [`Error::Input`] for a model that does not take several streams at once: its states and outputs must have one axis
    /// of the same name each, and of one name alone. Inputs without it are the same for all streams.
    pub fn new(model: Arc<Model>) -> Result<Batch, Error> {
        Batch::with_workers(model, Arc::new(Alone))
    }

    /// The same, its products shared among threads that the caller lends.
    ///
    /// # Errors
    /// As [`new`](Batch::new).
    pub fn with_workers(model: Arc<Model>, workers: Arc<dyn Workers>) -> Result<Batch, Error> {
        let axes = axes(&model)?;
        let session = Session::with_workers(model, workers);
        Ok(Batch {
            session,
            axes,
            places: Vec::new(),
            free: Vec::new(),
            initial: Vec::new(),
            held: Vec::new(),
        })
    }

    /// The model that it calls.
    pub fn model(&self) -> &Arc<Model> {
        self.session.model()
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a stream, which begins with the initial state.
    pub fn add(&mut self) -> StreamId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, is_taken: false, states: Vec::new() });
            self.places.len() - 1
        });
        let taken = &mut self.places[place];
        taken.is_taken = true;
        StreamId { place, generation: taken.generation }
    }

    /// Removes a stream; false if it is not there.
    pub fn remove(&mut self, stream: StreamId) -> bool {
        if !self.has(stream) {
            return false;
        }
        let place = &mut self.places[stream.place];
        place.generation += 1;
        place.is_taken = false;
        place.states.clear();
        self.free.push(stream.place);
        true
    }

    /// Whether a stream is there.
    pub fn has(&self, stream: StreamId) -> bool {
        let place = self.places.get(stream.place);
        place.is_some_and(|place| place.is_taken && place.generation == stream.generation)
    }

    /// Lets the streams that are due take a step. Inputs, which are those that are no states, have as many entries along the
    /// axis of streams, in the order of `due`, and so have the outputs.
    ///
    /// A number of streams that is not among the last few plans the call anew.
    ///
    /// # Errors
    /// [`Error::State`] for a stream that is not there, or is due twice, and for states that have other shapes; else as
    /// [`Session::step`]. After an error all states are what they were before.
    pub fn step(
        &mut self,
        due: &[StreamId],
        inputs: &[(&str, View<'_>)],
    ) -> Result<Outputs<'_>, Error> {
        self.check(due)?;
        // Streams that are due together again and again keep their states where they are.
        if due != self.held {
            self.scatter();
            self.gather(due, inputs)?;
        }
        let Batch { session, held, .. } = self;
        session.step(inputs)?;
        if due != held {
            held.extend_from_slice(due);
        }
        session.outputs().ok_or_else(|| {
            Error::state(MisfitKind::Missing, "", String::from("the step gave no outputs"))
        })
    }

    fn check(&self, due: &[StreamId]) -> Result<(), Error> {
        if due.is_empty() {
            return Err(Error::input(MisfitKind::Missing, "", String::from("no stream is due")));
        }
        let mut sorted = due.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::state(MisfitKind::Given, "", String::from("a stream is due twice")));
        }
        match due.iter().all(|&stream| self.has(stream)) {
            true => Ok(()),
            false => {
                let what = String::from("a stream that is due is not there");
                Err(Error::state(MisfitKind::Unknown, "", what))
            }
        }
    }

    /// Brings the states that the session holds to the places of their streams, if these are still there.
    fn scatter(&mut self) {
        let held = core::mem::take(&mut self.held);
        let Batch { session, axes, places, .. } = self;
        for (index, (all, &axis)) in session.kept().iter().zip(&*axes).enumerate() {
            let along = Along::new(&all.dims, axis);
            for (at, stream) in held.iter().enumerate() {
                let place = &mut places[stream.place];
                if place.generation == stream.generation {
                    let own = &mut place.states[index].elements;
                    let len = own.len();
                    along.take(at, all.elements.data(usize::MAX), own.data_mut(len));
                }
            }
        }
    }

    /// Brings the states of the streams that are due into the session.
    fn gather(&mut self, due: &[StreamId], inputs: &[(&str, View<'_>)]) -> Result<(), Error> {
        let Batch { session, axes, places, initial, .. } = self;
        if axes.is_empty() {
            return Ok(());
        }
        if initial.is_empty() {
            // All streams begin alike: the first of those that are due tells how.
            for (all, &axis) in session.begin(inputs)?.iter().zip(&*axes) {
                initial.push(first(all, axis)?);
            }
        }
        for stream in due {
            let states = &mut places[stream.place].states;
            if states.is_empty() {
                states.clone_from(initial);
            }
        }
        let all = session.kept_mut();
        for (index, &axis) in axes.iter().enumerate() {
            let one = &initial[index];
            let mut dims = one.dims.clone();
            dims[axis] = due.len();
            let len = dims.iter().product();
            if all.len() == index {
                let elements = Buffer::new(one.elements.data_type());
                all.push(Kept { dims: Vec::new(), elements, is_output: false });
            }
            let Kept { dims: own, elements, .. } = &mut all[index];
            *own = dims;
            if !elements.resize(len) {
                return Err(no_memory());
            }
            let along = Along::new(own, axis);
            for (at, stream) in due.iter().enumerate() {
                let state = &places[stream.place].states[index];
                along.put(at, state.elements.data(usize::MAX), elements.data_mut(len));
            }
        }
        Ok(())
    }
}

/// A tensor's entries along an axis.
struct Along {
    outer: usize,
    count: usize,
    inner: usize,
}

impl Along {
    fn new(dims: &[usize], axis: usize) -> Along {
        Along {
            outer: dims[..axis].iter().product(),
            count: dims[axis],
            inner: dims[axis + 1..].iter().product(),
        }
    }

    /// Copies an entry out.
    fn take(&self, at: usize, all: Data<'_>, one: DataMut<'_>) {
        let Along { outer, count, inner } = *self;
        with_same_type!(all, one, |all, one| {
            for i in 0..outer {
                let from = (i * count + at) * inner;
                one[i * inner..][..inner].copy_from_slice(&all[from..from + inner]);
            }
        }, else ());
    }

    /// Copies an entry in.
    fn put(&self, at: usize, one: Data<'_>, all: DataMut<'_>) {
        let Along { outer, count, inner } = *self;
        with_same_type!(one, all, |one, all| {
            for i in 0..outer {
                let to = (i * count + at) * inner;
                all[to..to + inner].copy_from_slice(&one[i * inner..][..inner]);
            }
        }, else ());
    }
}

/// The first entry along an axis, by itself.
fn first(all: &Kept, axis: usize) -> Result<Kept, Error> {
    let mut dims = all.dims.clone();
    dims[axis] = 1;
    let len = dims.iter().product();
    let mut elements = Buffer::new(all.elements.data_type());
    if !elements.grow(len) {
        return Err(no_memory());
    }
    Along::new(&all.dims, axis).take(0, all.elements.data(usize::MAX), elements.data_mut(len));
    Ok(Kept { dims, elements, is_output: false })
}

fn no_memory() -> Error {
    let what = String::from("there is no memory for the states of streams");
    Error::state(MisfitKind::Memory, "", what)
}

/// The axis of streams of each state.
fn axes(model: &Model) -> Result<Vec<usize>, Error> {
    let states = model.states().iter().map(|state| &model.inputs()[state.input]);
    let ports = || states.clone().chain(model.outputs());
    let names = model.inputs().iter().flat_map(|port| &port.dims).filter_map(|dim| dim.as_name());
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    // The axis of a port, if the name stands alone there and nowhere else in its shape.
    let axis = |dims: &[amq_format::graph::Dim], name: &str| {
        let mut places = (0..dims.len()).filter(|&axis| dims[axis].as_name() == Some(name));
        places.next().filter(|_| places.next().is_none())
    };
    names.retain(|name| ports().all(|port| axis(&port.dims, name).is_some()));
    match names.as_slice() {
        [name] => Ok(states.map(|port| axis(&port.dims, name).unwrap_or_default()).collect()),
        found => Err(Error::input(
            MisfitKind::Model,
            "",
            format!(
                "the model does not tell which axis is that of streams: its states and outputs have {} in common; one name \
             must stand in all of them",
                if found.is_empty() { String::from("no name") } else { list(found) }
            ),
        )),
    }
}
