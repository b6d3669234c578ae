//! Files that are read, and how much of them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Most bytes of a text or a vocabulary.
pub(crate) const TEXT_BYTES: u64 = 1 << 30;
/// Most bytes of a recipe.
pub(crate) const RECIPE_BYTES: u64 = 1 << 20;

/// Opens a file that is read more than once or has to have an end, unlike a pipe or a device.
pub(crate) fn ordinary(path: &Path) -> Result<File> {
    let found = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !found.is_file() {
        return Err(Error::io(path, "it is not an ordinary file")
            .remedy("save it first, and name the file"));
    }
    File::open(path).map_err(|error| Error::io(path, error))
}

/// All of an ordinary file.
pub(crate) fn ordinary_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ordinary(path)?.read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    Ok(bytes)
}

/// All of a file, or of what a pipe gives, if that is no more than `most` bytes.
pub(crate) fn whole(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    match bytes.len() as u64 > most {
        true => Err(Error::bad_file(format!("it has more than {most} bytes"))
            .within(path.display())
            .remedy("give a part of it")),
        false => Ok(bytes),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_has_no_end_is_read_to_a_limit() {
        let endless = Path::new("/dev/zero");
        let error = whole(endless, 1000).unwrap_err();
        assert!(error.to_string().starts_with("/dev/zero: it has more than 1000 bytes"), "{error}");
        assert_eq!(ordinary(endless).unwrap_err().kind(), ErrorKind::Io);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, [7; 1000]).unwrap();
        assert_eq!(whole(&path, 1000).unwrap(), [7; 1000]);
        assert!(whole(&path, 999).is_err() && ordinary(&path).is_ok());
    }
}
