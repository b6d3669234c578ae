//! The files beside a model that hold its external data.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::load::Source;
use super::proto::TensorProto;
use crate::error::{Error, Result};

/// A file of external data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalFile {
    /// Where the model says that it is.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// The files that hold external data of `source`, which was imported, each once.
///
/// # Errors
/// One cannot be read.
pub fn external_files(source: &Source) -> Result<Vec<ExternalFile>> {
    let graph = source.model.graph.as_ref();
    let nodes = graph.into_iter().flat_map(|graph| &graph.node);
    let nodes = nodes.chain(source.model.functions.iter().flat_map(|function| &function.node));
    let attributes = nodes.flat_map(|node| &node.attribute);
    let tensors = graph.into_iter().flat_map(|graph| &graph.initializer);
    let tensors = tensors.chain(attributes.filter_map(|attribute| attribute.t.as_deref()));
    let mut files = BTreeMap::new();
    for tensor in tensors {
        let Some(location) = location(tensor) else { continue };
        // Of a tensor that nothing reads the file may be missing; import refuses the others.
        let Ok(path) = resolve(&source.folder, location) else { continue };
        if files.contains_key(&path) {
            continue;
        }
        let (bytes, sha256) = digest(&path).map_err(|error| Error::io(&path, error))?;
        let location = location.to_owned();
        files.insert(path, ExternalFile { location, bytes, sha256 });
    }
    Ok(files.into_values().collect())
}

fn location(tensor: &TensorProto) -> Option<&str> {
    let is_external = tensor.data_location == TensorProto::EXTERNAL;
    let entry = tensor.external_data.iter().find(|entry| entry.key == "location");
    entry.filter(|_| is_external).map(|entry| entry.value.as_str())
}

fn digest(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let (mut bytes, mut hash) = (0, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hash.finalize().into()));
        }
        bytes += read as u64;
        hash.update(&buffer[..read]);
    }
}

/// The path of `location`, which has to be a file inside the model's folder.
pub(super) fn resolve(folder: &Path, location: &str) -> Result<PathBuf> {
    let outside = || {
        Error::bad_file(format!("external data {location:?} is not inside the model's folder"))
            .remedy("save the model again with its data in a file beside it")
    };
    let relative = Path::new(location);
    if location.is_empty() || !stays_inside(relative) {
        return Err(outside());
    }
    let path = folder.join(relative);
    let io =
        |error| Error::io(&path, error).remedy("keep the files of a model together, in one folder");
    let resolved = path.canonicalize().map_err(io)?;
    if !resolved.starts_with(folder.canonicalize().map_err(io)?) {
        return Err(outside());
    }
    if !resolved.metadata().map_err(io)?.is_file() {
        return Err(Error::bad_file(format!("external data {location:?} is not a file")));
    }
    Ok(resolved)
}

/// Whether a relative path leads at no point out of where it begins, links aside.
fn stays_inside(path: &Path) -> bool {
    let mut depth = 0u32;
    path.components().all(|component| match component {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir if depth > 0 => {
            depth -= 1;
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::Limits;
    use crate::onnx::proto::{GraphProto, ModelProto, StringStringEntryProto};

    #[test]
    fn each_file_counts_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [7; 100]).unwrap();
        let tensor = |location: &str| TensorProto {
            data_location: TensorProto::EXTERNAL,
            external_data: vec![StringStringEntryProto {
                key: "location".into(),
                value: location.into(),
            }],
            ..TensorProto::default()
        };
        let initializer = ["w.bin", "./w.bin", "missing.bin", "../w.bin"].map(tensor).to_vec();
        let graph = Some(GraphProto { initializer, ..GraphProto::default() });
        let model = ModelProto { graph, ..ModelProto::default() }.encode_to_vec();
        let source = Source::decode(model, folder.path(), &Limits::default()).unwrap();
        let sha256 = Sha256::digest([7; 100]).into();
        let file = ExternalFile { location: "w.bin".into(), bytes: 100, sha256 };
        assert_eq!(external_files(&source).unwrap(), [file]);
    }
}
