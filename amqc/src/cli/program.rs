//! The program: its commands, what they print and how it ends.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};

use clap::builder::styling::Styles;
use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;

use super::{
    Outcome, bench, completions, convert, diff, doctor, eval, export, inspect, isa, operators, run,
    sensitivity, tune, verify,
};
use crate::error::{Error, ErrorReport, Result};

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
  2  what was said is wrong: the command line, a recipe, or names and sizes in them
  3  the model needs something that is not supported, or more memory than is allowed
  4  what a file holds is wrong: it is damaged, or its arrays, labels or words do not fit the model
  5  a file cannot be read or written
  141  whoever read the answer closed the pipe before its end
  A signal that ends the program is what its parent sees (in shells 128 and its number, such as 130
  after Ctrl-C); no output is left half written.

Environment:
  AMQ_ISA   instruction set to run models with: scalar, avx2, avx512, neon or simd128
            (default: the fastest that the CPU has)
  NO_COLOR  no colours";

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Convert),
    Doctor(doctor::Doctor),
    Tune(tune::Tune),
    Inspect(inspect::Inspect),
    Export(export::Export),
    Run(run::Run),
    Verify(verify::Verify),
    Diff(diff::Diff),
    Sensitivity(sensitivity::Sensitivity),
    Eval(eval::Eval),
    Bench(bench::Bench),
    Operators(operators::Operators),
    Completions(completions::Completions),
    Man(completions::Man),
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
        Err(error) if error.use_stderr() => {
            let _ = write!(stderr, "{}", error.render().ansi());
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
        Err(help) => {
            let text = help.render().ansi().to_string();
            let answered = answer(stdout, &text, 0);
            return answered.unwrap_or_else(|error| tell(stderr, &error));
        }
    };
    let done = execute(&cli.command, stderr).and_then(|outcome| {
        for note in &outcome.notes {
            let _ = writeln!(stderr, "note: {}", visible(note));
        }
        for warning in &outcome.warnings {
            let _ = writeln!(stderr, "warning: {}", visible(warning));
        }
        outcome.errors.iter().for_each(|error| {
            tell(stderr, error);
        });
        let worst = outcome.errors.iter().map(|error| error.kind().exit_code()).max();
        let done = worst.unwrap_or(0).max(u8::from(outcome.differs));
        answer(stdout, &visible(&outcome.text), done)
    });
    done.unwrap_or_else(|error| {
        if cli.command.json() {
            let failed = Failed { error: error.report() };
            let text = serde_json::to_string_pretty(&failed).unwrap_or_default();
            let _ = writeln!(stdout, "{}", visible(&text)).and_then(|()| stdout.flush());
        }
        tell(stderr, &error)
    })
}

/// What a shell says of a program that writes to a pipe that nobody reads and does not catch the signal.
const UNREAD: u8 = 141;

/// Writes an answer; gives the exit code, which is `done` only if all of it is written.
fn answer(stdout: &mut dyn Write, text: &str, done: u8) -> Result<u8> {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(UNREAD),
        Err(error) => Err(Error::io("standard output", error)),
    }
}

/// Tells an error, as clap shows its own; gives its exit code.
fn tell(stderr: &mut dyn Write, error: &Error) -> u8 {
    let styles = Styles::styled();
    let style = styles.get_error();
    let _ = writeln!(stderr, "{style}error:{style:#} {}", visible(&error.to_string()));
    error.kind().exit_code()
}

/// What --json asks for where a command fails.
#[derive(Serialize)]
struct Failed<'a> {
    error: ErrorReport<'a>,
}

impl Command {
    /// Whether it is to print JSON.
    fn json(&self) -> bool {
        match self {
            Command::Convert(convert) => convert.json,
            Command::Tune(tune) => tune.json,
            Command::Inspect(inspect) => inspect.json,
            Command::Doctor(doctor) => doctor.json,
            Command::Diff(diff) => diff.json,
            Command::Export(export) => export.json,
            Command::Run(_) | Command::Operators(_) => false,
            Command::Completions(_) | Command::Man(_) => false,
            Command::Verify(verify) => verify.json,
            Command::Sensitivity(sensitivity) => sensitivity.json,
            Command::Eval(eval) => eval.json,
            Command::Bench(bench) => bench.json,
        }
    }
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

fn execute(command: &Command, stderr: &mut dyn Write) -> Result<Outcome> {
    // Checked for every command: a misspelt name never goes unnoticed.
    let isa = isa::chosen()?;
    match command {
        Command::Convert(convert) => convert.execute(isa),
        Command::Tune(tune) => tune.execute(isa, stderr),
        Command::Inspect(inspect) => inspect.execute(),
        Command::Export(export) => export.execute(),
        Command::Run(run) => run.execute(isa),
        Command::Verify(verify) => verify.execute(isa),
        Command::Sensitivity(sensitivity) => sensitivity.execute(isa),
        Command::Eval(eval) => eval.execute(isa),
        Command::Bench(bench) => bench.execute(isa),
        Command::Operators(operators) => Ok(operators.execute()),
        Command::Doctor(doctor) => doctor.execute(isa),
        Command::Diff(diff) => diff.execute(),
        Command::Completions(completions) => completions.execute(Cli::command()),
        Command::Man(man) => man.execute(Cli::command()),
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
