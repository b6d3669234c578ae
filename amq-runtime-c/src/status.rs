//! Codes, and the text of a thread's last error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use amq_runtime::Error;

/// What a call came to; `AMQ_OK` and the others in `amq.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum amq_status {
    /// Done.
    AMQ_OK = 0,
    /// A null or misaligned address, a text that is not UTF-8, a number that is out of range.
    AMQ_ERROR_ARGUMENT = 1,
    /// No such model or session: it was freed, or never was.
    AMQ_ERROR_HANDLE = 2,
    /// A file that cannot be opened or read.
    AMQ_ERROR_IO = 3,
    /// Bytes that are not a valid file.
    AMQ_ERROR_FORMAT = 4,
    /// An input that is missing, unknown, or of another type or shape.
    AMQ_ERROR_INPUT = 5,
    /// State that does not fit the call, or saved state that does not fit the model.
    AMQ_ERROR_STATE = 6,
    /// A node that cannot work on the data.
    AMQ_ERROR_NODE = 7,
    /// More memory is needed than there is, or than is allowed.
    AMQ_ERROR_MEMORY = 8,
    /// A fault of the library.
    AMQ_ERROR_INTERNAL = 9,
}

pub(crate) use amq_status::*;

/// Why a call gives no answer: the code and the text.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) amq_status, pub(crate) String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error {
            Error::Format(_) => AMQ_ERROR_FORMAT,
            Error::Input(_) => AMQ_ERROR_INPUT,
            Error::State(_) => AMQ_ERROR_STATE,
            Error::Node { .. } => AMQ_ERROR_NODE,
            Error::Memory { .. } => AMQ_ERROR_MEMORY,
            _ => AMQ_ERROR_INTERNAL,
        };
        Failure(status, error.to_string())
    }
}

/// An argument that cannot be.
pub(crate) fn bad(what: impl Into<String>) -> Failure {
    Failure(AMQ_ERROR_ARGUMENT, what.into())
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Runs the body of a function of the interface, and keeps the text of its error for this thread.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> amq_status {
    // What a panic leaves half done is a session, whose lock it poisons.
    told(catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let text = "the library has a fault: please report it";
        Err(Failure(AMQ_ERROR_INTERNAL, text.into()))
    }))
}

fn told(result: Result<(), Failure>) -> amq_status {
    let Err(Failure(status, text)) = result else { return AMQ_OK };
    let text: Vec<u8> = text.into_bytes().into_iter().filter(|&byte| byte != 0).collect();
    if let Ok(text) = CString::new(text) {
        // A thread that is ending keeps no text.
        let _ = MESSAGE.try_with(|message| message.replace(text));
    }
    status
}

/// See `amq.h`.
#[unsafe(no_mangle)]
pub extern "C" fn amq_error() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
