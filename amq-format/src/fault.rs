//! What is wrong at a node; whoever knows the node makes an error of it.

use crate::dim::DimError;
use crate::error::Rule;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// What was found at a node, and what was expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DimError> for Fault {
    fn from(error: DimError) -> Fault {
        Fault(format!("{error}"))
    }
}

impl Fault {
    /// One that says this; formatting is compiled here and not where it is called.
    #[cold]
    #[doc(hidden)]
    #[inline(never)]
    pub fn new(what: fmt::Arguments<'_>) -> Fault {
        Fault(alloc::fmt::format(what))
    }
}

/// Makes a [`Fault`] of a format string and its arguments.
#[macro_export]
#[doc(hidden)]
macro_rules! fault {
    ($($arg:tt)*) => { $crate::Fault::new(::core::format_args!($($arg)*)) };
}

/// Returns a [`Fault`] unless the condition holds.
#[macro_export]
#[doc(hidden)]
macro_rules! ensure {
    ($condition:expr, $($arg:tt)*) => {
        if !$condition {
            return Err($crate::fault!($($arg)*));
        }
    };
}

/// A rule that a node breaks, and what was found.
pub type Refusal = (Rule, String);

/// Refuses by `rule` what does not hold.
pub(crate) fn refuse_unless(
    holds: bool,
    rule: Rule,
    what: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err((rule, what())) }
}
