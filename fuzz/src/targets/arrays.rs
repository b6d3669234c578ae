//! NumPy's files.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use amq_format::graph::DataType;
use amqc::data::{read_npy, read_npz, write_npz};

use super::fate;

/// A file for what has to be one, in memory where there is such a place.
pub(super) fn file(name: &str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let memory = tempfile::tempdir_in("/dev/shm");
        memory.or_else(|_| tempfile::tempdir()).expect("a folder for temporary files")
    });
    folder.path().join(name)
}

/// Reads bytes as an archive of arrays and as one array. What was read is written and read again, to the same numbers.
pub fn npz(bytes: &[u8]) -> u64 {
    let path = file("a.npz");
    fs::write(&path, bytes).expect("a file");
    let one = match read_npy(&path) {
        Ok(array) => hash_of(&array.dims),
        Err(error) => fate(error.message()),
    };
    let many = match read_npz(&path, |_| Ok(())) {
        Ok(arrays) => {
            let tensors: Vec<_> = (arrays.into_iter())
                .filter_map(|(name, array)| {
                    Some((name.clone(), array.into_tensor(&name, DataType::F32).ok()?))
                })
                .collect();
            let again = file("b.npz");
            let written = fs::File::create(&again).map(|to| write_npz(to, &tensors));
            if written.is_ok_and(|written| written.is_ok()) {
                let read = read_npz(&again, |_| Ok(())).expect("what was written is read");
                assert_eq!(read.len(), tensors.len());
            }
            tensors.len() as u64
        }
        Err(error) => fate(error.message()),
    };
    one ^ many.rotate_left(17)
}

fn hash_of(dims: &[usize]) -> u64 {
    dims.len() as u64
}
