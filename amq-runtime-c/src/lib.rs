//! The C interface of `amq-runtime`. `include/amq.h` is its reference; tests hold both together.
//!
//! Models and sessions are numbers, never addresses, and no number is given twice: one that was freed
//! or invented is an error. What the caller does give by address (bytes, names, shapes, elements) is
//! checked for null, alignment and size; that it lies where it is said to is what C cannot show, and
//! what each `# Safety` section asks for.
//!
//! Every function runs within [`status::guard`]: an error becomes a code and a text, and so would a panic.
#![allow(non_camel_case_types, reason = "the names are those of the header")]

mod handles;
mod model;
mod session;
mod status;
mod tensor;
#[cfg(target_family = "wasm")]
mod wasm;

pub use model::{
    amq_model, amq_model_counts, amq_model_free, amq_model_input, amq_model_load, amq_model_open,
    amq_model_output, amq_port,
};
pub use session::{
    amq_session, amq_session_free, amq_session_new, amq_session_output, amq_session_reset,
    amq_session_restore, amq_session_run, amq_session_save, amq_session_step,
};
pub use status::{amq_error, amq_status};
pub use tensor::amq_tensor;
#[cfg(target_family = "wasm")]
pub use wasm::{amq_alloc, amq_release};
