//! One error for the whole tool: what happened, where, and what to do about it.

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

/// What kind of failure this is; each kind has an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line, or a file that says what the command line says, is wrong: 2.
    Usage,
    /// The model needs something that is not supported: 3.
    Unsupported,
    /// A file is damaged, or is not what it should be: 4.
    BadFile,
    /// The operating system refused to read or write: 5.
    Io,
}

impl ErrorKind {
    /// The exit code of a process that failed this way.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Unsupported => 3,
            Self::BadFile => 4,
            Self::Io => 5,
        }
    }
}

/// A failure, told to the user in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    missing: Vec<Missing>,
}

/// Something that a model needs and that is not supported, with every place where it needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// An operator of ONNX, `input` or `initializer`.
    pub what: String,
    /// What of it is not supported.
    pub reason: String,
    /// What the user can do.
    pub help: Option<String>,
    /// Names of the nodes, inputs or initializers.
    pub places: Vec<String>,
}

impl Missing {
    /// Names of places that a text shows.
    const SHOWN: usize = 4;

    fn text(&self) -> String {
        let Missing { what, reason, help, places } = self;
        let mut text = format!("\n  {what}: {reason}\n    in ");
        let shown = places.iter().take(Self::SHOWN).map(|name| format!("{name:?}"));
        text += &shown.collect::<Vec<_>>().join(", ");
        if let Some(more) = places.len().checked_sub(Self::SHOWN + 1) {
            // Writing to a string cannot fail.
            let _ = write!(text, " and {} more", more + 1);
        }
        if let Some(help) = help {
            let _ = write!(text, "\n    = help: {help}");
        }
        text
    }
}

/// An error as data.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport<'a> {
    /// The exit code of its kind.
    pub exit_code: u8,
    /// What happened and where.
    pub message: &'a str,
    /// What the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'a str>,
    /// All that a model needs and that is not supported, as far as it was found.
    #[serde(skip_serializing_if = "<[Missing]>::is_empty")]
    pub missing: &'a [Missing],
}

/// A result of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, missing: Vec::new() }
    }

    /// The command line or the recipe is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The model needs something that is not supported.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A file is damaged, or is not what it should be.
    pub fn bad_file(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadFile, message)
    }

    /// The operating system refused; `path` is the file that was being read or written.
    pub fn io(path: impl AsRef<Path>, error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Io, format!("{}: {error}", path.as_ref().display()))
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// All of it in a line.
    pub(crate) fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}: {remedy}", self.message),
            None => self.message.clone(),
        }
    }

    /// Says where it happened: `place` (a file, a node) goes before the message.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same, as a mistake of another kind.
    #[must_use]
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Says all that a model needs and that is not supported. Where that is more than one thing the
    /// message lists it. Of `unexamined` nodes only the operator was looked at.
    #[must_use]
    pub(crate) fn missing_all(mut self, missing: Vec<Missing>, unexamined: usize) -> Self {
        let places: usize = missing.iter().map(|missing| missing.places.len()).sum();
        if places > 1 {
            self.message = match missing.len() {
                1 => "one thing is not supported:".into(),
                many => format!("{many} things are not supported:"),
            };
            self.message.extend(missing.iter().map(Missing::text));
            if unexamined > 0 {
                let _ = write!(
                    self.message,
                    "\n  nodes that follow, of which only the operator was looked at: {unexamined}"
                );
            }
            self.remedy = None;
        }
        self.missing = missing;
        self
    }

    /// All that a model needs and that is not supported, as far as it was found.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// The error as data.
    pub fn report(&self) -> ErrorReport<'_> {
        ErrorReport {
            exit_code: self.kind.exit_code(),
            message: &self.message,
            help: self.help(),
            missing: &self.missing,
        }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened and where.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can do, where something is known.
    pub fn help(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  = help: {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_what_and_what_to_do() {
        let error = Error::unsupported("GRU with clip")
            .within("model.onnx")
            .remedy("export it without clip");
        assert_eq!(
            error.to_string(),
            "model.onnx: GRU with clip\n  = help: export it without clip"
        );
        assert_eq!(error.kind().exit_code(), 3);
    }
}
