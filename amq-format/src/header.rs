//! The first 64 bytes.

use crate::error::{Error, Rule};
use crate::spec::{ENTRY_BYTES, HEADER_BYTES, MAGIC, MAJOR, MINOR, REQUIRED_FEATURES};
use alloc::format;
use byteorder::{ByteOrder, LittleEndian};

pub(crate) struct Header {
    pub(crate) major: u16,
    pub(crate) minor: u16,
    pub(crate) file_bytes: u64,
    pub(crate) sections: u32,
}

impl Header {
    pub(crate) fn parse(file: &[u8]) -> Result<Header, Error> {
        let bytes: &[u8; HEADER_BYTES] = file.first_chunk().ok_or_else(|| {
            Error::invalid(Rule::H1, format!("the file has {} bytes", file.len()))
        })?;
        if bytes[..8] != MAGIC {
            return Err(Error::invalid(Rule::H2, "this is not an .amq file"));
        }
        let (major, minor) =
            (LittleEndian::read_u16(&bytes[8..]), LittleEndian::read_u16(&bytes[10..]));
        if major != MAJOR {
            let detail = format!(
                "the file is of version {major}.{minor}, this reader knows {MAJOR}.{MINOR}"
            );
            return Err(Error::unsupported(Rule::H3, detail));
        }
        let header_bytes = LittleEndian::read_u32(&bytes[12..]);
        if header_bytes as usize != HEADER_BYTES {
            return Err(Error::invalid(Rule::H4, format!("header length {header_bytes}")));
        }
        let file_bytes = LittleEndian::read_u64(&bytes[16..]);
        if file_bytes != file.len() as u64 {
            let detail = format!("{file_bytes} bytes are stated, {} are there", file.len());
            return Err(Error::invalid(Rule::H5, detail));
        }
        let unknown = LittleEndian::read_u64(&bytes[24..]) & !REQUIRED_FEATURES;
        if unknown != 0 {
            let detail = format!(
                "the file, of version {major}.{minor}, requires features {unknown:#x}, \
                 which version {MAJOR}.{MINOR} does not know"
            );
            return Err(Error::unsupported(Rule::H6, detail));
        }
        if LittleEndian::read_u32(&bytes[44..]) != 0 || LittleEndian::read_u64(&bytes[56..]) != 0 {
            return Err(Error::invalid(Rule::H7, "the header's reserved bytes are not zero"));
        }
        let table = LittleEndian::read_u64(&bytes[48..]);
        if table != HEADER_BYTES as u64 {
            return Err(Error::invalid(Rule::H8, format!("table offset {table}")));
        }
        Ok(Header { major, minor, file_bytes, sections: LittleEndian::read_u32(&bytes[40..]) })
    }

    /// The bytes of a header without features.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        LittleEndian::write_u16(&mut bytes[8..], self.major);
        LittleEndian::write_u16(&mut bytes[10..], self.minor);
        LittleEndian::write_u32(&mut bytes[12..], HEADER_BYTES as u32);
        LittleEndian::write_u64(&mut bytes[16..], self.file_bytes);
        LittleEndian::write_u32(&mut bytes[40..], self.sections);
        LittleEndian::write_u64(&mut bytes[48..], HEADER_BYTES as u64);
        bytes
    }

    /// Where the table ends and the root digest begins.
    pub(crate) fn table_end(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.sections) * ENTRY_BYTES as u64
    }
}
