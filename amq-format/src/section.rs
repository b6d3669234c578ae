//! The section table.

use crate::digest::sha256;
use crate::error::{Error, Rule};
use crate::spec::{
    ALIGNMENT, CRITICAL, DIGEST_BYTES, ENTRY_BYTES, GRAPH, MAJOR, MINOR, PROVENANCE, TENSOR,
};
use alloc::format;
use byteorder::{ByteOrder, LittleEndian};

/// An entry of the section table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds: [`spec::GRAPH`](crate::spec::GRAPH) and its like, or an unknown kind.
    pub kind: u32,
    /// [`spec::CRITICAL`](crate::spec::CRITICAL) or 0.
    pub flags: u32,
    /// Its first byte, from the beginning of the file.
    pub offset: u64,
    /// Its bytes, without padding.
    pub length: u64,
    /// What its offset is a multiple of.
    pub alignment: u32,
    /// SHA-256 of its bytes.
    pub digest: [u8; DIGEST_BYTES],
}

impl Section {
    pub(crate) fn parse(index: usize, bytes: &[u8; ENTRY_BYTES]) -> Result<Section, Error> {
        let (kind, flags) = (LittleEndian::read_u32(bytes), LittleEndian::read_u32(&bytes[4..]));
        let alignment = LittleEndian::read_u32(&bytes[24..]);
        let refuse =
            |rule, what: &str| Err(Error::invalid(rule, format!("section {index} has {what}")));
        let known = match kind {
            GRAPH | TENSOR => Some(CRITICAL),
            PROVENANCE => Some(0),
            _ => None,
        };
        if flags & !CRITICAL != 0 || known.is_some_and(|known| flags != known) {
            return refuse(Rule::S3, &format!("kind {kind} and flags {flags:#x}"));
        }
        if known.is_none() && flags & CRITICAL != 0 {
            let detail = format!(
                "section {index} is of kind {kind}, is critical, and is not known to version \
                 {MAJOR}.{MINOR}"
            );
            return Err(Error::unsupported(Rule::S2, detail));
        }
        if alignment as usize != ALIGNMENT {
            return refuse(Rule::S4, &format!("alignment {alignment}"));
        }
        if LittleEndian::read_u32(&bytes[28..]) != 0 {
            return refuse(Rule::H7, "reserved bytes that are not zero");
        }
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&bytes[32..]);
        Ok(Section {
            kind,
            flags,
            offset: LittleEndian::read_u64(&bytes[8..]),
            length: LittleEndian::read_u64(&bytes[16..]),
            alignment,
            digest,
        })
    }

    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        LittleEndian::write_u32(&mut bytes, self.kind);
        LittleEndian::write_u32(&mut bytes[4..], self.flags);
        LittleEndian::write_u64(&mut bytes[8..], self.offset);
        LittleEndian::write_u64(&mut bytes[16..], self.length);
        LittleEndian::write_u32(&mut bytes[24..], self.alignment);
        bytes[32..].copy_from_slice(&self.digest);
        bytes
    }

    /// Its bytes, if the file has them at the place where they must be: at the first multiple of
    /// 64 not before `end`, after zeros.
    pub(crate) fn bytes<'a>(
        &self,
        index: usize,
        file: &'a [u8],
        end: usize,
    ) -> Result<&'a [u8], Error> {
        let misplaced = || {
            let detail = format!(
                "section {index} is said to take {} bytes from {}, where {end} of {} bytes are \
                 taken",
                self.length,
                self.offset,
                file.len()
            );
            Error::invalid(Rule::S5, detail)
        };
        let start = end.checked_next_multiple_of(ALIGNMENT).ok_or_else(misplaced)?;
        if self.offset != start as u64 {
            return Err(misplaced());
        }
        let length = usize::try_from(self.length).map_err(|_| misplaced())?;
        let padding = file.get(end..start).ok_or_else(misplaced)?;
        let bytes = file.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(misplaced)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Error::invalid(Rule::S7, format!("the padding before section {index}")));
        }
        if sha256(bytes) != self.digest {
            return Err(Error::invalid(Rule::S8, format!("section {index} has another digest")));
        }
        Ok(bytes)
    }
}
