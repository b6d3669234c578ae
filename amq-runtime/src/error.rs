//! What can go wrong, in words that name the node, the input or the dimension.

use alloc::string::String;
use core::fmt;

pub(crate) use amq_format::{Fault, ensure, fault};

use crate::kernels::Isa;

/// Why a model cannot be loaded or run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a valid `.amq` file.
    Format(amq_format::Error),
    /// This CPU lacks the instruction set that was asked for.
    IsaUnavailable(Isa),
    /// A node cannot work on what it is given.
    Node {
        /// Name of the node.
        node: String,
        /// Its operator, such as `Gather`.
        op: &'static str,
        /// What was found and what was expected.
        what: String,
    },
    /// An input of a call is missing, unknown, or of another type or shape than the model's.
    Input(String),
    /// The state of a session does not fit the call, or saved state does not fit the model.
    State(String),
    /// A call needs more memory than the model's limit allows, or than there is.
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Format(error) => error.fmt(f),
            Error::IsaUnavailable(isa) => {
                write!(f, "this CPU does not have {isa}: choose another, such as {}", Isa::detect())
            }
            Error::Node { node, op, what } => write!(f, "node {node:?} ({op}): {}", Visible(what)),
            Error::Input(what) | Error::State(what) => Visible(what).fmt(f),
            Error::Memory { needed, limit } => write!(
                f,
                "a call with these shapes needs {needed} bytes of memory, {limit} are allowed: \
                 give smaller inputs or raise LoadOptions::max_arena_bytes"
            ),
        }
    }
}

/// Text with control characters escaped: the names in it are the file's.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_unicode()),
            false => write!(f, "{c}"),
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Format(error) => Some(error),
            _ => None,
        }
    }
}

impl From<amq_format::Error> for Error {
    fn from(error: amq_format::Error) -> Error {
        Error::Format(error)
    }
}
