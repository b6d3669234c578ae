//! Sessions: calls, and the state between them.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use amq_runtime::{Session, View};

use crate::handles::Handles;
use crate::model::{Loaded, MODELS, amq_model};
use crate::status::{AMQ_ERROR_INTERNAL, AMQ_ERROR_STATE, Failure, amq_status, bad, guard};
use crate::tensor::{amq_tensor, give, slice};

/// A session, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct amq_session {
    /// 0 is none.
    pub id: u64,
}

/// A session with the texts of its model.
struct Stream {
    loaded: Arc<Loaded>,
    session: Session,
    /// Empty; its memory is that of the inputs of each call.
    inputs: Vec<(&'static str, View<'static>)>,
}

static SESSIONS: Handles<Mutex<Stream>> = Handles::new("session");

/// One call at a time: another thread waits.
fn lock(stream: &Mutex<Stream>) -> Result<MutexGuard<'_, Stream>, Failure> {
    stream.lock().map_err(|_| {
        let text = "the library failed in an earlier call of this session: free it".into();
        Failure(AMQ_ERROR_INTERNAL, text)
    })
}

/// The memory of a vector without elements, for elements of another lifetime: collecting it in place
/// takes no other.
fn emptied<'a>(mut inputs: Vec<(&str, View<'_>)>) -> Vec<(&'a str, View<'a>)> {
    inputs.clear();
    inputs.into_iter().map(|_| ("", View::bool(&[], &[]))).collect()
}

/// # Safety
/// `tensors` is null, or `count` tensors lie there, and what their addresses say.
unsafe fn call(
    session: amq_session,
    tensors: *const amq_tensor,
    count: usize,
    stepping: bool,
) -> Result<(), Failure> {
    let stream = SESSIONS.get(session.id)?;
    let mut stream = lock(&stream)?;
    let Stream { session, inputs: kept, .. } = &mut *stream;
    // SAFETY: as the caller promises; what is read of them is read in this call alone.
    let tensors = unsafe { slice(tensors, count, "the address of the inputs")? };
    let mut inputs = emptied(std::mem::take(kept));
    let gathered = tensors.iter().try_for_each(|tensor| {
        // SAFETY: as the caller promises.
        inputs.push(unsafe { tensor.view()? });
        Ok(())
    });
    let result = gathered.and_then(|()| match stepping {
        true => Ok(session.step(&inputs).map(drop)?),
        false => Ok(session.run(&inputs).map(drop)?),
    });
    *kept = emptied(inputs);
    result
}

/// See `amq.h`.
///
/// # Safety
/// `session` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_new(
    model: amq_model,
    session: *mut amq_session,
) -> amq_status {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { give(session, amq_session { id: 0 }, "the address of the session")? };
        let loaded = MODELS.get(model.id)?;
        let inputs = Vec::with_capacity(loaded.inputs.len());
        let stream = Stream { session: Session::new(Arc::clone(&loaded.model)), loaded, inputs };
        let new = amq_session { id: SESSIONS.insert(Mutex::new(stream)) };
        // SAFETY: as the caller promises.
        unsafe { give(session, new, "the address of the session") }
    })
}

/// See `amq.h`.
#[unsafe(no_mangle)]
pub extern "C" fn amq_session_free(session: amq_session) -> amq_status {
    guard(|| SESSIONS.take(session.id).map(drop))
}

/// See `amq.h`.
///
/// # Safety
/// `inputs` is null, or `count` tensors lie there; in each, `name` is null or a text that ends with a
/// zero byte, `shape` is null or has `rank` sizes, `data` is null or has `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_run(
    session: amq_session,
    inputs: *const amq_tensor,
    count: usize,
) -> amq_status {
    // SAFETY: as the caller promises.
    guard(|| unsafe { call(session, inputs, count, false) })
}

/// See `amq.h`.
///
/// # Safety
/// As [`amq_session_run`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_step(
    session: amq_session,
    inputs: *const amq_tensor,
    count: usize,
) -> amq_status {
    // SAFETY: as the caller promises.
    guard(|| unsafe { call(session, inputs, count, true) })
}

/// See `amq.h`.
///
/// # Safety
/// `output` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_output(
    session: amq_session,
    index: usize,
    output: *mut amq_tensor,
) -> amq_status {
    guard(|| {
        let stream = SESSIONS.get(session.id)?;
        let stream = lock(&stream)?;
        let Some(outputs) = stream.session.outputs() else {
            let text = "there are no outputs: the session ran nothing yet, or failed at it";
            return Err(Failure(AMQ_ERROR_STATE, text.into()));
        };
        let names = &stream.loaded.outputs;
        let Some((named, (_, view))) = names.get(index).zip(outputs.iter().nth(index)) else {
            let count = names.len();
            return Err(bad(format!("there is no output {index}: the model has {count}")));
        };
        // SAFETY: as the caller promises.
        unsafe { give(output, amq_tensor::of(&named.name, view), "the address of the output") }
    })
}

/// See `amq.h`.
#[unsafe(no_mangle)]
pub extern "C" fn amq_session_reset(session: amq_session) -> amq_status {
    guard(|| {
        lock(&*SESSIONS.get(session.id)?)?.session.reset();
        Ok(())
    })
}

/// See `amq.h`.
///
/// # Safety
/// `buffer` is null, or `*size` bytes may be written there; `size` is null, or may be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_save(
    session: amq_session,
    buffer: *mut c_void,
    size: *mut usize,
) -> amq_status {
    guard(|| {
        let saved = lock(&*SESSIONS.get(session.id)?)?.session.save();
        // SAFETY: as the caller promises.
        let room = unsafe { slice(size.cast_const(), 1, "the address of the size")? }[0];
        // SAFETY: as the caller promises.
        unsafe { give(size, saved.len(), "the address of the size")? };
        if buffer.is_null() {
            return Ok(());
        }
        if room < saved.len() {
            let needed = saved.len();
            return Err(bad(format!("the state has {needed} bytes, there is room for {room}")));
        }
        // SAFETY: as the caller promises, `room` bytes may be written, and no more are. Bytes of our own
        // memory, just allocated, do not overlap them.
        unsafe { std::ptr::copy_nonoverlapping(saved.as_ptr(), buffer.cast::<u8>(), saved.len()) };
        Ok(())
    })
}

/// See `amq.h`.
///
/// # Safety
/// `bytes` is null, or `size` bytes lie there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_session_restore(
    session: amq_session,
    bytes: *const c_void,
    size: usize,
) -> amq_status {
    guard(|| {
        let stream = SESSIONS.get(session.id)?;
        // SAFETY: as the caller promises; the bytes are read in this call alone.
        let bytes = unsafe { slice(bytes.cast::<u8>(), size, "the address of the bytes")? };
        Ok(lock(&stream)?.session.restore(bytes)?)
    })
}
