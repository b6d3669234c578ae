//! What docs/security.md says in numbers is what the sources say.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use amqc::onnx;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of a table under a heading, cell by cell; marks of code are left out.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().replace('`', "");
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect()).collect()
}

/// A number as people write it: `64 GiB`, `65 536`, `2^36`, `2 GiB - 1`.
fn number(text: &str) -> u64 {
    if let Some((number, less)) = text.split_once(" - ") {
        return self::number(number) - self::number(less);
    }
    if let Some((base, power)) = text.split_once('^') {
        return base.parse::<u64>().unwrap().pow(power.parse().unwrap());
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let scale = match unit {
        "" | "bytes" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("{other:?} in {text:?}"),
    };
    digits.parse::<u64>().unwrap() * scale
}

/// A constant as it stands in a source: a number, or one number shifted by another.
fn constant(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let line = text.lines().find(|line| line.contains(&format!("const {name}:"))).unwrap();
    let value = line.split_once(" = ").unwrap().1.trim_end_matches(';').replace('_', "");
    match value.split_once(" << ") {
        Some((one, by)) => one.parse::<u64>().unwrap() << by.parse::<u64>().unwrap(),
        None => value.parse().unwrap(),
    }
}

#[test]
fn limits_on_files_are_the_readers() {
    let limits = amq_format::Limits::default();
    let expected = [
        ("file_bytes", limits.file_bytes),
        ("sections", limits.sections),
        ("graph_bytes", limits.graph_bytes),
        ("graph_memory", limits.graph_memory),
        ("values", limits.values),
        ("nodes", limits.nodes),
        ("name_bytes", limits.name_bytes),
        ("elements", limits.elements),
        ("provenance_bytes", limits.provenance_bytes),
    ];
    let rows = table("Limits on reading .amq");
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), number(&row[1]))).collect();
    assert_eq!(found, expected);
    // The sum that the page states for them.
    let sum =
        4 * limits.graph_memory + limits.graph_bytes + 128 * limits.values + 512 * limits.sections;
    assert_eq!(sum, 208 << 20);
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    assert!(page.contains("which is 208 MiB at the default limits"));
}

#[test]
fn limits_on_onnx_are_the_readers() {
    let limits = onnx::Limits::default();
    let builder = "amqc/src/onnx/builder.rs";
    let fold = "amqc/src/passes/fold.rs";
    let rows = table("Limits on reading ONNX");
    let said = |name: &str| rows.iter().find(|row| row[0] == name).unwrap()[1].clone();
    for (name, expected) in [
        ("file_bytes", limits.file_bytes),
        ("message_bytes", limits.message_bytes as u64),
        ("constant_bytes", limits.constant_bytes),
        ("dimensions", constant(builder, "MAX_DIMS")),
        ("one dimension", constant(builder, "MAX_DIM")),
    ] {
        assert_eq!(number(&said(name)), expected, "{name}");
    }
    let folding = said("folding");
    assert_eq!(folding, "512 MiB + 4 × constants");
    assert_eq!(constant(fold, "MAX_BYTES"), 512 << 20);
    let row = rows.iter().find(|row| row[0] == "folding").unwrap();
    assert!(row[2].contains("2^33 products") && constant(fold, "MAX_WORK") == 1 << 33);
}

#[test]
fn limits_on_other_files_are_the_readers() {
    let rows = table("Limits on reading other files");
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), number(&row[1]))).collect();
    let expected = [
        ("arrays", constant("amqc/src/data.rs", "MAX_BYTES")),
        ("header of an array", constant("amqc/src/data.rs", "MAX_HEADER")),
        ("text, vocabulary", constant("amqc/src/input.rs", "TEXT_BYTES")),
        ("recipe", constant("amqc/src/input.rs", "RECIPE_BYTES")),
    ];
    assert_eq!(found, expected);
}

/// Lines of code of each file that are unsafe, in all crates, as the page counts them; what forbids them is no such line.
#[test]
fn unsafe_code_is_where_the_page_says() {
    let mut found = BTreeMap::new();
    for folder in ["amq-format", "amq-runtime", "amq-runtime-c", "amqc", "amq-python"] {
        count(&root().join(folder).join("src"), &mut found);
    }
    let rows = table("Unsafe code");
    let said = rows.iter().map(|row| (row[0].clone(), row[1].parse().unwrap()));
    assert_eq!(found, said.collect::<BTreeMap<String, usize>>());
}

fn count(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = |line: &&str| !line.trim_start().starts_with("//");
            let words = |line: &str| {
                let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.filter(|&word| word == "unsafe").count()
            };
            let count = text.lines().filter(code).map(words).sum();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if count > 0 {
                found.insert(name.replace('\\', "/"), count);
            }
        }
    }
}
