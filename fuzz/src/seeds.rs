//! What is changed: small inputs that are kept in `corpus/`, and the project's own models.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::random::Random;

/// Inputs longer than this are not worth their time.
pub const LONGEST: usize = 24 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Where a target's kept inputs lie.
pub fn corpus(target: &str) -> PathBuf {
    root().join("corpus").join(target)
}

fn below(folder: &Path, ending: &str, found: &mut Vec<Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            below(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.extend(fs::read(path).ok().filter(|bytes| bytes.len() <= LONGEST));
        }
    }
}

/// ONNX's node cases, as `fixtures/generate/node.py` packs them.
#[derive(Clone, PartialEq, Message)]
struct Cases {
    #[prost(message, repeated, tag = "1")]
    cases: Vec<Case>,
}

#[derive(Clone, PartialEq, Message)]
struct Case {
    #[prost(bytes = "vec", tag = "2")]
    model: Vec<u8>,
}

fn node_cases() -> Option<Vec<Vec<u8>>> {
    let file = fs::File::open(root().join("../fixtures/node/cases.zip")).ok()?;
    let mut packed = Vec::new();
    let mut archive = zip::ZipArchive::new(file).ok()?;
    archive.by_name("cases.pb").ok()?.read_to_end(&mut packed).ok()?;
    let cases = Cases::decode(&packed[..]).ok()?.cases;
    Some(cases.into_iter().map(|case| case.model).filter(|model| model.len() <= LONGEST).collect())
}

/// What a target begins with; `fixtures` with the project's own models, otherwise what is kept alone.
pub fn seeds(target: &str, fixtures: bool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    below(&corpus(target), "", &mut found);
    let folder = root().join("../fixtures");
    match target {
        _ if !fixtures => {}
        "read_amq" => below(&folder, ".amq", &mut found),
        "run_validated" => below(&folder.join("golden"), ".amq", &mut found),
        "parse_onnx" | "convert_then_run" => {
            below(&folder, ".onnx", &mut found);
            found.extend(node_cases().unwrap_or_default());
        }
        "npz" => {
            below(&folder, ".npz", &mut found);
            below(&folder, ".npy", &mut found);
        }
        _ => {}
    }
    if found.is_empty() {
        let mut random = Random(1);
        found = (0..16).map(|_| (0..64).map(|_| random.next() as u8).collect()).collect();
    }
    found
}

/// The words of a dictionary in the form that fuzzers read.
pub fn dictionary(target: &str) -> Vec<Vec<u8>> {
    let name = match target {
        "read_amq" | "run_validated" => "amq.dict",
        "parse_onnx" | "convert_then_run" => "onnx.dict",
        "npz" => "npz.dict",
        _ => return Vec::new(),
    };
    let text = fs::read_to_string(root().join(name)).unwrap_or_default();
    let quoted = |line: &str| Some(line.split_once('"')?.1.rsplit_once('"')?.0.to_owned());
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(quoted)
        .map(|w| plain(&w))
        .collect()
}

/// What `\xNN` and `\\` stand for.
fn plain(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match rest {
            [b'x', high, low, after @ ..] => {
                bytes.extend(hex(&[*high, *low]));
                rest = after;
            }
            [other, after @ ..] => {
                bytes.push(*other);
                rest = after;
            }
            [] => {}
        }
    }
    bytes
}
