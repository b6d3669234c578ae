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

/// A float in a message, to millionths: to write all digits of any would take 4 kB of a module that is downloaded.
pub(crate) struct Rounded(pub(crate) f32);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = f64::from(self.0);
        if x.is_nan() {
            return f.write_str("NaN");
        }
        if x < 0.0 {
            f.write_str("-")?;
        }
        match x.abs() {
            f64::INFINITY => f.write_str("infinity"),
            1e13.. => f.write_str("more than 10000000000000"),
            x => {
                let millionths = (x * 1e6 + 0.5) as u64;
                write!(f, "{}", millionths / 1_000_000)?;
                let (mut part, mut digits) = (millionths % 1_000_000, 6);
                if part == 0 {
                    return Ok(());
                }
                while part % 10 == 0 {
                    (part, digits) = (part / 10, digits - 1);
                }
                write!(f, ".{part:0digits$}")
            }
        }
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn floats_are_written_to_millionths() {
        for (x, written) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-0.25, "-0.25"),
            (0.000_003, "0.000003"),
            (0.1, "0.1"),
            (-12.000_5, "-12.0005"),
            (0.999_999_9, "1"),
            (9_999_999_827_968.0, "9999999827968"),
            (1e14, "more than 10000000000000"),
            (f32::NEG_INFINITY, "-infinity"),
            (f32::NAN, "NaN"),
        ] {
            assert_eq!(Rounded(x).to_string(), written);
        }
    }
}
