//! `amq.h` against the library, by the system's C compiler: layout, names, and programs that run the
//! shipped model.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use amq::{amq_model, amq_port, amq_session, amq_status, amq_tensor};
use amq_runtime::amq_format::graph::DataType;

/// What a static library of Rust needs of the system.
#[cfg(target_os = "macos")]
const SYSTEM: [&str; 0] = [];
#[cfg(not(target_os = "macos"))]
const SYSTEM: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn model() -> PathBuf {
    here("../fixtures/lstm/model.amq")
}

/// A place for what a test makes.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn checked(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// Compiles a program against the static library, and gives what it prints.
fn run(compiler: &[&str], source: &str, name: &str, arguments: &[&str]) -> String {
    let library = std::env::current_exe().unwrap().with_file_name("libamq.a");
    let program = made(name);
    let mut compile = Command::new(compiler[0]);
    compile.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(here("include"));
    compile.arg("-o").arg(&program).arg(here(source)).arg(library).args(SYSTEM);
    checked(&mut compile);
    let output = checked(Command::new(&program).arg(model()).args(arguments));
    String::from_utf8(output.stdout).unwrap()
}

/// The tokens of the shipped stream, and the line with the digest of their scores.
fn stream() -> (Vec<String>, String) {
    let text = fs::read_to_string(here("../fixtures/lstm/stream.txt")).unwrap();
    let mut lines = text.lines();
    let tokens = lines.next().unwrap().split_whitespace().map(String::from).collect();
    (tokens, lines.next().unwrap().to_owned())
}

#[test]
fn a_program_in_c_gives_the_digest() {
    let (tokens, digest) = stream();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let c = run(&["cc", "-std=c99", "-pedantic"], "examples/stream.c", "stream-c", &tokens);
    assert_eq!(c.lines().count(), tokens.len() + 1);
    assert_eq!(c.lines().last(), Some(&*digest));
    // The system may have a compiler of C alone: `targets/c` says so where it is skipped.
    if Command::new("c++").arg("--version").output().is_ok() {
        let cpp = run(&["c++", "-std=c++17"], "examples/stream.cpp", "stream-cpp", &tokens);
        assert_eq!(cpp, c);
    }
}

#[test]
fn bad_arguments_give_errors() {
    let said = run(&["cc", "-std=c99"], "tests/arguments.c", "arguments", &[]);
    let checks: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(checks > 100 && said.ends_with(" 0 failures\n"), "{said}");
}

#[test]
fn the_header_has_the_layout_of_the_library() {
    let mut source = String::from("#include <amq.h>\n");
    let mut claim = |claim: String| {
        source += &format!("typedef char claim_{}[({claim}) ? 1 : -1];\n", source.len());
    };
    macro_rules! layout {
        ($($kind:ident { $($field:ident),* })*) => {$(
            claim(format!("sizeof({}) == {}", stringify!($kind), size_of::<$kind>()));
            $(claim(format!(
                "offsetof({}, {}) == {}",
                stringify!($kind), stringify!($field), offset_of!($kind, $field)
            ));)*
        )*};
    }
    layout! {
        amq_model { id }
        amq_session { id }
        amq_port { name, data_type, rank, sizes, shape, state }
        amq_tensor { name, data_type, rank, shape, data, bytes }
    }
    claim(format!("sizeof(amq_status) == {}", size_of::<amq_status>()));
    let codes = [
        amq_status::AMQ_OK,
        amq_status::AMQ_ERROR_ARGUMENT,
        amq_status::AMQ_ERROR_HANDLE,
        amq_status::AMQ_ERROR_IO,
        amq_status::AMQ_ERROR_FORMAT,
        amq_status::AMQ_ERROR_INPUT,
        amq_status::AMQ_ERROR_STATE,
        amq_status::AMQ_ERROR_NODE,
        amq_status::AMQ_ERROR_MEMORY,
        amq_status::AMQ_ERROR_INTERNAL,
    ];
    codes.iter().for_each(|&code| claim(format!("{code:?} == {}", code as i32)));
    let types = (0..).map_while(|number| DataType::try_from(number).ok());
    let types: Vec<DataType> = types.collect();
    assert_eq!(types.len(), 10);
    for kind in types {
        claim(format!("AMQ_{} == {}", kind.name().to_uppercase(), kind as i32));
    }
    let file = made("layout.c");
    fs::write(&file, source).unwrap();
    let mut compile = Command::new("cc");
    checked(compile.arg("-fsyntax-only").arg("-I").arg(here("include")).arg(file));
}

#[test]
fn the_header_declares_what_the_library_exports() {
    let declared: BTreeSet<String> =
        names(&fs::read_to_string(here("include/amq.h")).unwrap(), "amq_status ")
            .chain(["amq_error".to_owned()])
            .collect();
    let mut exported = BTreeSet::new();
    for file in fs::read_dir(here("src")).unwrap() {
        let path = file.unwrap().path();
        // What it exports is for JavaScript, and is in WebAssembly alone.
        if path.ends_with("wasm.rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        exported.extend(names(&text, "extern \"C\" fn "));
    }
    assert!(declared.len() > 10);
    assert_eq!(declared, exported);
}

/// Names of functions that follow a word at the beginning of a line, or after `pub` and `unsafe`.
fn names<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = String> + use<'a> {
    text.lines().filter_map(move |line| {
        let line = line.trim_start_matches("pub ").trim_start_matches("unsafe ");
        Some(line.strip_prefix(word)?.split_once('(')?.0.to_owned())
    })
}
