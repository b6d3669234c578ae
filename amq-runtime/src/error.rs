//! What can go wrong, in words that name the node, the input or the dimension.

use alloc::string::String;
use core::fmt;

use amq_format::Quoted;
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
    Input(Misfit),
    /// The state of a session does not fit the call, or saved state does not fit the model.
    State(Misfit),
    /// A call needs more memory than the model's limit allows, or than there is.
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

/// What does not fit: an input, a state, or what a model says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    kind: MisfitKind,
    name: String,
    what: String,
}

/// In what something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MisfitKind {
    /// The model has no input or state of that name or number.
    Unknown,
    /// It is not given.
    Missing,
    /// It is given twice, or as an input of a step, whose state the session has.
    Given,
    /// Its elements are of another type.
    Type,
    /// It has another shape, or as many elements as its shape does not have.
    Shape,
    /// An element is not one of its type.
    Value,
    /// Saved state is damaged.
    Damaged,
    /// Saved state is that of another model.
    OtherModel,
    /// There is no memory for it.
    Memory,
    /// What the model declares is not what it computes.
    Model,
}

impl Misfit {
    /// In what it does not fit.
    pub fn kind(&self) -> MisfitKind {
        self.kind
    }

    /// The input, output or state, as it was asked for; empty where it is none alone.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Visible(&self.what).fmt(f)
    }
}

impl Error {
    /// An input does not fit.
    pub(crate) fn input(kind: MisfitKind, name: &str, what: String) -> Error {
        Error::Input(Misfit { kind, name: name.into(), what })
    }

    /// A state does not fit.
    pub(crate) fn state(kind: MisfitKind, name: &str, what: String) -> Error {
        Error::State(Misfit { kind, name: name.into(), what })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Format(error) => error.fmt(f),
            Error::IsaUnavailable(isa) => {
                write!(f, "this CPU does not have {isa}: choose another, such as {}", Isa::detect())
            }
            Error::Node { node, op, what } => {
                write!(f, "node {} ({op}): {}", Quoted(node), Visible(what))
            }
            Error::Input(misfit) | Error::State(misfit) => misfit.fmt(f),
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
