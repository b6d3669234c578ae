//! The README's first commands, as they are printed there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_first_commands_work_as_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("lstm.amq");
    let mut said = String::new();
    let commands = readme.lines().filter_map(|line| line.strip_prefix("    target/release/amqc "));
    let commands: Vec<&str> = commands.collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    // Times are not tested, and the float model is elsewhere.
    for line in &commands[..2] {
        let line = line.replace("target/lstm.amq", output.to_str().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
        let ran = command.args(line.split_whitespace()).current_dir(&root).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        said += std::str::from_utf8(&ran.stdout).unwrap();
    }
    assert!(said.contains("perplexity 50.86 ") && readme.contains("50.86 at 2 bits"), "{said}");
    for line in &commands[2..] {
        let files = line.split_whitespace().filter(|word| word.starts_with("fixtures/"));
        assert!(files.map(|file| root.join(file)).all(|file| file.exists()), "{line}");
    }
}
