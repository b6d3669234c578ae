//! Writes the files of `fixtures/hostile`.
#![allow(unreachable_pub, reason = "shared with tests")]

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let folder = samples::fixtures("hostile");
    samples::hostile::all()
        .iter()
        .try_for_each(|file| std::fs::write(folder.join(file.file_name()), &file.bytes))
}
