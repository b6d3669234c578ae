//! Reading ONNX: from a file to the operator vocabulary.

mod attrs;
mod bodies;
mod builder;
mod compose;
mod external;
mod graph;
mod import;
mod inline;
mod kept;
mod known;
mod load;
mod missing;
mod notes;
mod ops;
mod outline;
mod packed;
pub(crate) mod proto;
mod registry;
mod sizes;
mod structure;
mod tensor;
#[cfg(test)]
pub(crate) mod tests;

pub use external::{ExternalFile, external_files};
pub use import::import;
pub use load::{Limits, Source, load};
pub(crate) use ops::layout::OPEN_SQUEEZE;
pub use registry::markdown;
