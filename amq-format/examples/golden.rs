//! Writes `fixtures/golden/v1.0.amq`. A file that is there is frozen, and left alone.
#![allow(unreachable_pub, reason = "shared with tests")]

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = samples::fixtures("golden").join("v1.0.amq");
    if path.exists() {
        return Err(format!("{} is frozen", path.display()).into());
    }
    std::fs::write(path, amq_format::write(samples::golden::draft())?)?;
    Ok(())
}
