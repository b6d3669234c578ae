//! The command line: one file a command, the program around them, and here what they share.
//!
//! Commands are functions from arguments to what is to be printed; only [`main`] prints.

mod bench;
mod budget;
mod calibration;
mod completions;
mod convert;
mod diff;
mod doctor;
mod eval;
mod export;
mod inspect;
mod interface;
mod isa;
mod meta;
mod operators;
mod output;
mod program;
mod progress;
mod run;
mod sensitivity;
mod settings;
mod tune;
mod verify;

use std::path::PathBuf;

use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::open::Opened;
use crate::threads::Threads;

pub use program::{main, reference};

/// What a command has to say.
#[derive(Debug, Default)]
struct Outcome {
    /// For standard output.
    text: String,
    /// For standard error: what may be wrong.
    warnings: Vec<String>,
    /// For standard error: what is good to know.
    notes: Vec<String>,
    /// Whether a comparison failed.
    differs: bool,
    /// What of several things failed.
    errors: Vec<Error>,
}

impl Outcome {
    fn text(text: String) -> Outcome {
        Outcome { text, ..Outcome::default() }
    }

    /// The value as JSON, or what `text` makes of it.
    fn of<T: Serialize>(json: bool, value: &T, text: impl FnOnce(&T) -> String) -> Result<Outcome> {
        if !json {
            return Ok(Outcome::text(text(value)));
        }
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::io("standard output", error))?;
        text.push('\n');
        Ok(Outcome::text(text))
    }
}

/// The arguments of `run`, `verify`, `eval` and `bench` that say how models are run.
#[derive(Debug, Args)]
struct Running {
    /// Threads that share the work; results are the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Most memory that a call may take for its values: bytes, or 500MB, 2GiB [default: 1GiB]
    #[arg(long, value_name = "S", value_parser = budget::size)]
    max_memory: Option<u64>,
}

impl Running {
    /// Makes what was opened ready to run.
    fn load(&self, opened: &Opened, isa: Isa, threads: &Threads) -> Result<Loaded> {
        opened.load_within(isa, threads.clone(), self.max_memory)
    }

    /// The threads that are asked for.
    fn threads(&self) -> Result<Threads> {
        Threads::new(self.threads)
    }
}

/// The argument of commands that compute with all processors.
#[derive(Debug, Args)]
struct Work {
    /// Threads that share the work; results are the same [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Work {
    /// Lets the work be shared by so many.
    fn begin(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        if threads == 0 {
            return Err(Error::usage("--threads 0: the work needs a thread"));
        }
        // Where the threads have begun already, it may be as many.
        let begun = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        match begun {
            Err(error) if rayon::current_num_threads() != threads => {
                Err(Error::usage(format!("--threads {threads}: {error}")).remedy("ask for fewer"))
            }
            _ => Ok(()),
        }
    }
}

/// Parses `KEY=VALUE`. In the key, `\=` is a = of its own.
fn key_value(text: &str) -> Result<(String, String), String> {
    let bytes = text.as_bytes();
    let divides = |&at: &usize| bytes[at] == b'=' && (at == 0 || bytes[at - 1] != b'\\');
    match (0..bytes.len()).find(divides).map(|at| (&text[..at], &text[at + 1..])) {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.replace("\\=", "="), value.to_owned()))
        }
        _ => Err("expected two parts with = between them".into()),
    }
}

/// Parses `NAME=PATH`.
fn name_path(text: &str) -> Result<(String, PathBuf), String> {
    key_value(text).map(|(name, path)| (name, path.into()))
}

/// The name and the size that `--dim` takes.
fn size(text: &str) -> Result<(String, i64), String> {
    let (name, size) = key_value(text)?;
    match size.parse() {
        Ok(size @ 1..) => Ok((name, size)),
        _ => Err(format!("{size:?} is not a size: expected a whole number from 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_an_equals_sign() {
        let pair = |text| key_value(text).map(|(key, value)| [key, value].join(" "));
        assert_eq!(pair("a=b").unwrap(), "a b");
        assert_eq!(pair("a=b=c").unwrap(), "a b=c");
        assert_eq!(pair("a\\=b=c=d").unwrap(), "a=b c=d");
        for wrong in ["", "a", "=b", "a=", "a\\=b"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }
}
