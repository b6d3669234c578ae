//! Drafts and files that tests and the generators of fixtures share.
#![allow(dead_code, missing_docs, reason = "each user needs a part")]

mod builder;
pub mod golden;
pub mod hostile;
pub mod products;

pub use builder::*;

/// Where a fixture lies.
pub fn fixtures(folder: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder)
}
