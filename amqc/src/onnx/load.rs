//! From a path to a decoded model.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use super::outline::Outline;
use super::proto::{ModelProto, check_growth};
use crate::error::{Error, Result};

/// What a model may take at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of the file. Protobuf itself ends at 2 GiB.
    pub file_bytes: u64,
    /// Bytes that nodes, attributes and names take in memory, beside their strings and numbers.
    pub message_bytes: usize,
    /// Bytes of all constants together, those in other files included.
    pub constant_bytes: u64,
    /// Bytes of what is computed of constants while a model is read, each element counted as 8; what is more is
    /// computed when the model runs. Whatever this says, it is at most 512 MiB and four times the constants' bytes.
    pub folded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: (1 << 31) - 1,
            message_bytes: 256 << 20,
            constant_bytes: 8 << 30,
            folded_bytes: u64::MAX,
        }
    }
}

/// What stands at the beginning of a file of which git keeps the contents elsewhere.
pub(super) const GIT_LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// An ONNX file that was read and decoded, but not yet understood.
///
/// Decoding takes at most the file without large raw data, eight times its numbers that are not raw,
/// and [`Limits::message_bytes`].
#[derive(Debug)]
pub struct Source {
    pub(crate) model: ModelProto,
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    /// The file, where data stay in it.
    pub(crate) file: Option<File>,
    sha256: [u8; 32],
    bytes: u64,
}

impl Source {
    /// Decodes a model; its external data, if it has any, stands in `folder`.
    ///
    /// # Errors
    /// The bytes are no ONNX model, or one that exceeds the limits.
    pub fn decode(file: Vec<u8>, folder: &Path, limits: &Limits) -> Result<Source> {
        let size = file.len() as u64;
        if size > limits.file_bytes {
            return Err(too_large(size, limits));
        }
        if file.starts_with(b"PK\x03\x04") {
            return Err(Error::bad_file("a zip archive, not an ONNX model")
                .remedy("write an ONNX file from PyTorch with torch.onnx.export"));
        }
        if file.starts_with(GIT_LFS) {
            return Err(Error::bad_file("a pointer of git-lfs, not the file that it stands for")
                .remedy("fetch the file with git lfs pull"));
        }
        let sha256 = Sha256::digest(&file).into();
        let model = decoded(file, limits)?;
        let (folder, limits) = (folder.to_owned(), limits.clone());
        Ok(Source { model, folder, limits, file: None, sha256, bytes: size })
    }

    /// SHA-256 of the file, external data not included.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Size of the file in bytes, external data not included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Messages within the limits.
fn decoded(messages: Vec<u8>, limits: &Limits) -> Result<ModelProto> {
    check_growth(&messages, limits.message_bytes)?;
    ModelProto::decode(Bytes::from(messages))
        .map_err(|error| Error::bad_file(format!("not an ONNX model: {error}")))
}

fn too_large(size: u64, limits: &Limits) -> Error {
    Error::unsupported(format!("the file has {size} bytes, more than {}", limits.file_bytes))
        .remedy("keep the weights in external data (onnx.save with save_as_external_data)")
}

/// Reads and decodes the ONNX model at `path`.
///
/// # Errors
/// The file cannot be read, is no ONNX model, or exceeds the limits.
pub fn load(path: &Path, limits: &Limits) -> Result<Source> {
    let mut file = File::open(path).map_err(|error| Error::io(path, error))?;
    let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
    let length = metadata.len();
    let within = |error: Error| error.within(path.display());
    if length > limits.file_bytes {
        return Err(within(too_large(length, limits)));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if metadata.is_file() {
        if let Some(Outline { messages, sha256 }) = Outline::read(&file, length) {
            let model = decoded(messages, limits).map_err(within)?;
            let (folder, limits) = (folder.to_owned(), limits.clone());
            return Ok(Source { model, folder, limits, file: Some(file), sha256, bytes: length });
        }
        file.rewind().map_err(|error| Error::io(path, error))?;
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows a file that grew, or whose length is not known before.
    file.take(limits.file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, error))?;
    Source::decode(bytes, folder, limits).map_err(within)
}
