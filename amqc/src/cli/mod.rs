//! The command line: one file a command.
//!
//! Commands are functions from arguments to what is to be printed; only [`main`] prints.

mod bench;
mod convert;
mod eval;
mod inspect;
mod isa;
mod output;
mod run;
mod settings;
mod verify;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;

use crate::error::{Error, Result};

/// Compiles float ONNX networks to small binary-coded .amq models, and inspects, runs and measures
/// them.
#[derive(Debug, Parser)]
#[command(name = "amqc", version, max_term_width = 100, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  a comparison failed
  2  the command line or the recipe is wrong
  3  the model needs something that is not supported
  4  a file is damaged, or not what it should be
  5  a file cannot be read or written

Environment:
  AMQ_ISA   instruction set to run models with: scalar, avx2 or avx512
            (default: the fastest that the CPU has)
  NO_COLOR  no colours";

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    Run(run::Run),
    Verify(verify::Verify),
    Eval(eval::Eval),
    Bench(bench::Bench),
}

/// What a command has to say.
#[derive(Debug, Default)]
struct Outcome {
    /// For standard output.
    text: String,
    /// For standard error.
    warnings: Vec<String>,
    /// Whether a comparison failed.
    differs: bool,
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

/// Runs the command that `args` (the program's name first) asks for; gives the exit code.
///
/// Help and errors have ANSI styles: the streams of anstream drop them where they are not wanted.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version are no errors: clap knows the stream and the code of each.
        Err(error) => {
            let stream: &mut dyn Write = if error.use_stderr() { stderr } else { stdout };
            let _ = write!(stream, "{}", error.render().ansi()).and_then(|()| stream.flush());
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let done = execute(&cli.command).and_then(|outcome| {
        for warning in &outcome.warnings {
            let _ = writeln!(stderr, "warning: {}", visible(warning));
        }
        match stdout.write_all(visible(&outcome.text).as_bytes()).and_then(|()| stdout.flush()) {
            // Whoever reads has enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::io("standard output", error))
            }
            _ => Ok(u8::from(outcome.differs)),
        }
    });
    done.unwrap_or_else(|error| {
        // As clap shows its own.
        let styles = Styles::styled();
        let style = styles.get_error();
        let _ = writeln!(stderr, "{style}error:{style:#} {}", visible(&error.to_string()));
        error.kind().exit_code()
    })
}

/// Text for a terminal: control characters, which names in a file may hold, are escaped. What it
/// makes of JSON is JSON that says the same.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && c != '\n' && c != '\t' {
            true => visible.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            false => visible.push(c),
        }
    }
    visible
}

fn execute(command: &Command) -> Result<Outcome> {
    // Checked for every command: a misspelt name never goes unnoticed.
    let isa = isa::chosen()?;
    match command {
        Command::Convert(convert) => convert.execute(),
        Command::Inspect(inspect) => inspect.execute(),
        Command::Run(run) => run.execute(isa),
        Command::Verify(verify) => verify.execute(isa),
        Command::Eval(eval) => eval.execute(isa),
        Command::Bench(bench) => bench.execute(isa),
    }
}

/// The arguments of `run`, `eval` and `bench` that say how models are run.
#[derive(Debug, Args)]
struct Running {
    /// Threads that share the work; results are the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

/// Parses `KEY=VALUE`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
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

/// `docs/cli.md`: the help of every command.
pub fn reference() -> String {
    let mut text = String::from(
        "# The command line\n\nGenerated from the program's own help; a test keeps it current.\n",
    );
    let mut program = Cli::command().term_width(100);
    program.build();
    let _ = write!(text, "\n```text\n{}\n```\n", trimmed(&mut program));
    for command in program.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", trimmed(command));
    }
    text
}

fn trimmed(command: &mut clap::Command) -> String {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        let made = reference();
        if found != made && std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, made).unwrap();
            return;
        }
        assert!(found == made, "docs/cli.md is stale: run this test with UPDATE_DOCS=1");
    }
}
