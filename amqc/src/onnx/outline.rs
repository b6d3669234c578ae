//! The outline of a model's file: its messages without large raw data, which stay in the file until
//! they are decoded one by one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use prost::Message;
use sha2::{Digest, Sha256};

use super::proto::{Kept, Kind, MAX_NESTING};

/// Raw data of fewer bytes are taken along.
const LEAST: u64 = 1 << 10;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;

/// Tag of a tensor's raw data.
const RAW: u64 = 9;

/// Tag of the message that tells where they stand.
const KEPT: u64 = Kept::TAG as u64;

/// What a file holds beside large raw data.
pub(super) struct Outline {
    /// The file's messages, in which [`Kept`] stands for large raw data.
    pub(super) messages: Vec<u8>,
    /// Of the whole file.
    pub(super) sha256: [u8; 32],
}

impl Outline {
    /// Reads a file of `length` bytes from its beginning; none where it is no model or cannot be read,
    /// of which whoever reads it whole can say more.
    pub(super) fn read(file: &File, length: u64) -> Option<Outline> {
        let hashed = Hashed { file, sha256: Sha256::new() };
        let mut walk = Walk { file: BufReader::with_capacity(BUFFER, hashed), at: 0 };
        let mut messages = Vec::new();
        walk.message(length, Kind::Model, &mut messages, 0)?;
        let ended = walk.file.fill_buf().ok()?.is_empty();
        let sha256 = walk.file.into_inner().sha256.finalize().into();
        ended.then_some(Outline { messages, sha256 })
    }
}

/// A file whose digest is taken while it is read.
struct Hashed<'a> {
    file: &'a File,
    sha256: Sha256,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        Ok(count)
    }
}

struct Walk<R> {
    file: R,
    /// Bytes that were read.
    at: u64,
}

impl<R: BufRead> Walk<R> {
    /// Copies a message of so many bytes.
    fn message(&mut self, length: u64, kind: Kind, to: &mut Vec<u8>, depth: usize) -> Option<()> {
        if depth > MAX_NESTING {
            return None;
        }
        let end = self.at.checked_add(length)?;
        while self.at < end {
            let key = self.varint()?;
            let (tag, is_tensor) = (key >> 3, kind == Kind::Tensor);
            // What others write there says nothing of this file.
            let mut unknown = Vec::new();
            let to = if is_tensor && tag == KEPT { &mut unknown } else { &mut *to };
            match key & 7 {
                0 => {
                    put(key, to);
                    put(self.varint()?, to);
                }
                1 => {
                    put(key, to);
                    self.copy(8, to)?;
                }
                5 => {
                    put(key, to);
                    self.copy(4, to)?;
                }
                2 => {
                    let length = self.varint()?;
                    if self.at.checked_add(length)? > end {
                        return None;
                    }
                    if is_tensor && tag == RAW && length >= LEAST {
                        let kept = Kept { offset: self.at, length }.encode_to_vec();
                        self.skip(length)?;
                        put(KEPT << 3 | 2, to);
                        put(kept.len() as u64, to);
                        to.extend(kept);
                        continue;
                    }
                    put(key, to);
                    match kind.field(tag) {
                        Some((inner, _)) if inner != Kind::Leaf => {
                            let mut message = Vec::new();
                            self.message(length, inner, &mut message, depth + 1)?;
                            put(message.len() as u64, to);
                            to.append(&mut message);
                        }
                        _ => {
                            put(length, to);
                            self.copy(length, to)?;
                        }
                    }
                }
                _ => return None,
            }
        }
        (self.at == end).then_some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.file.fill_buf().ok()?.first()?;
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn copy(&mut self, length: u64, to: &mut Vec<u8>) -> Option<()> {
        let read = self.file.by_ref().take(length).read_to_end(to).ok()?;
        self.at += length;
        (read as u64 == length).then_some(())
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        let read = io::copy(&mut self.file.by_ref().take(length), &mut io::sink()).ok()?;
        self.at += length;
        (read == length).then_some(())
    }
}

/// Writes a varint.
fn put(value: u64, to: &mut Vec<u8>) {
    prost::encoding::encode_varint(value, to);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::onnx::load::{Limits, load};
    use crate::onnx::proto::{ModelProto, TensorProto};
    use crate::onnx::tests::{Build, f32s};

    fn outline(file: &[u8]) -> Option<Outline> {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(file).unwrap();
        Outline::read(&on_disk.reopen().unwrap(), file.len() as u64)
    }

    fn raw(name: &str, bytes: Vec<u8>) -> TensorProto {
        let dims = vec![bytes.len() as i64 / 4];
        let raw_data = Some(bytes.into());
        TensorProto { name: name.into(), dims, data_type: 1, raw_data, ..TensorProto::default() }
    }

    #[test]
    fn large_raw_data_stay_in_the_file() {
        let weights: Vec<u8> = (0..4096u32).map(|i| (i % 251) as u8).collect();
        let build = Build::new(13).input("x", "1024").initializer(raw("w", weights.clone()));
        let build = build.initializer(f32s("v", &[2], &[1.0, 2.0]));
        let file = build.model.encode_to_vec();
        let found = outline(&file).unwrap();
        assert_eq!(found.sha256, <[u8; 32]>::from(Sha256::digest(&file)));
        let mut model = ModelProto::decode(found.messages.as_slice()).unwrap();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        let Kept { offset, length } = tensor.kept.take().unwrap();
        let stands = &file[offset as usize..][..length as usize];
        assert_eq!((tensor.raw_data.clone(), stands), (None, weights.as_slice()));
        tensor.raw_data = Some(weights.into());
        assert_eq!(model, build.model);
    }

    #[test]
    fn what_a_file_says_of_places_is_not_believed() {
        let kept = Some(Kept { offset: 0, length: 8 });
        let tensor = TensorProto { kept, ..raw("w", vec![0; 8]) };
        let file = Build::new(13).initializer(tensor).model.encode_to_vec();
        let model = ModelProto::decode(outline(&file).unwrap().messages.as_slice()).unwrap();
        assert_eq!(model.graph.unwrap().initializer, [raw("w", vec![0; 8])]);
    }

    #[test]
    fn a_damaged_file_has_no_outline() {
        let build = Build::new(13).input("x", "4").initializer(raw("w", vec![7; 2048]));
        let build = build.node("Add", "x w", "y").output("y");
        let file = build.model.encode_to_vec();
        for end in 1..file.len() {
            assert!(outline(&file[..end]).is_none_or(|found| found.messages.len() < end + 16));
        }
        assert!(outline(b"PK\x03\x04 no model").is_none());
        // A tensor that ends behind its graph.
        assert!(outline(&[0x3a, 2, 0x2a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }

    /// From a file and from memory, the same model.
    #[test]
    fn constants_come_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let values: Vec<f32> = (0..600).map(|i| i as f32 - 300.5).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let build = Build::new(13).input("x", "600").initializer(raw("w", bytes));
        let build = build.node("Add", "x w", "y").output("y");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let source = load(&path, &Limits::default()).unwrap();
        assert!(source.model.graph.as_ref().unwrap().initializer[0].kept.is_some());
        let found = crate::onnx::import(&source, &Default::default()).unwrap();
        let expected = crate::onnx::import(&build.source().unwrap(), &Default::default()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(source.sha256(), build.source().unwrap().sha256());
    }
}
