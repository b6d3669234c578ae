//! Files, read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::vec::Vec;

use crate::kernels::memory::prefer_large_pages;

/// Reads a file as [`std::fs::read`] does, to memory that large files fill faster: in large pages, where
/// the system has them.
///
/// # Errors
/// A file that cannot be opened or read, or that is larger than memory.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))?;
    prefer_large_pages(&mut bytes);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::env::current_exe;

    #[test]
    fn files_are_read_whole() {
        let path = current_exe().unwrap();
        assert!(super::read(&path).unwrap() == std::fs::read(&path).unwrap());
        assert!(super::read(path.join("nothing")).is_err());
    }
}
