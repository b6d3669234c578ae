//! fixtures/README.md names the files that are there.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Of a file, or of the listing of a folder.
fn digest(path: &Path) -> String {
    if path.is_file() {
        return hex(&fs::read(path).unwrap());
    }
    let mut files: Vec<(String, PathBuf)> = files(path)
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(path).unwrap().components();
            let name: Vec<_> = name.map(|part| part.as_os_str().to_str().unwrap()).collect();
            (name.join("/"), file)
        })
        .collect();
    files.sort();
    let line =
        |(name, file): &(String, PathBuf)| format!("{}  {name}\n", hex(&fs::read(file).unwrap()));
    hex(files.iter().map(line).collect::<String>().as_bytes())
}

#[test]
fn digests_are_those_of_the_table() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let page = fs::read_to_string(base.join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let digest = cells.last()?.strip_prefix('`')?.strip_suffix('`')?;
        (digest.len() == 64).then(|| (cells[0].to_owned(), digest.to_owned()))
    });
    let mut count = 0;
    for (name, stated) in rows {
        assert_eq!(digest(&base.join(&name)), stated, "{name}");
        count += 1;
    }
    assert!(count >= 18, "{count} rows");
}
