//! Converts the shipped language model at 2 bits, then reads a text with it and with the float model.
//!
//! Prints each command as one would type it, and what it says.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let at = |name: &str| fixtures.join(name).into_os_string();
    let output = std::env::temp_dir().join("amq-demo.amq").into_os_string();
    let eval = |model: OsString| {
        let text = ["--text".into(), at("text/heldout.txt")];
        let vocabulary = ["--vocab".into(), at("lstm/vocab.txt")];
        ["eval".into(), model].into_iter().chain(text).chain(vocabulary).collect::<Vec<_>>()
    };
    let convert = vec!["convert".into(), at("lstm/model.onnx"), "-b".into(), "2".into()];
    let convert = convert.into_iter().chain(["-o".into(), output.clone()]).collect();
    for args in [convert, eval(at("lstm/model.onnx")), eval(output)] {
        let code = run(args);
        if code != 0 {
            return ExitCode::from(code);
        }
    }
    ExitCode::SUCCESS
}

fn run(args: Vec<OsString>) -> u8 {
    let command = std::iter::once(OsString::from("amqc")).chain(args);
    let command: Vec<_> = command.collect();
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let (mut stdout, mut stderr) = (anstream::stdout(), anstream::stderr());
    if writeln!(stdout, "$ {}", words.join(" ")).is_err() {
        return 5;
    }
    amqc::cli::main(command, &mut stdout, &mut stderr)
}
