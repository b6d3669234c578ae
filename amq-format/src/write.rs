//! Writing: the same contents always give the same bytes.

use crate::digest::sha256;
use crate::error::{Error, Rule};
use crate::graph::Graph;
use crate::header::Header;
use crate::limits::Limits;
use crate::read::Validated;
use crate::section::Section;
use crate::spec::{ALIGNMENT, CRITICAL, DIGEST_BYTES, GRAPH, MAJOR, MINOR, PROVENANCE, TENSOR};
use crate::validate;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use prost::Message;

/// What a file is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The graph. The section numbers of its tensors are set when it is written.
    pub graph: Graph,
    /// The bytes of each of the graph's tensors, in order, as in the file.
    pub data: Vec<Vec<u8>>,
    /// Where the file comes from, as JSON.
    pub provenance: Option<String>,
}

/// The bytes of the file, which a reader has checked.
///
/// # Errors
///
/// The rule that the draft breaks.
pub fn write(draft: Draft) -> Result<Vec<u8>, Error> {
    write_with(draft, &[])
}

/// As [`write`], with ancillary sections (kind and content) of which this version knows nothing,
/// after all others.
pub fn write_with(mut draft: Draft, unknown_sections: &[(u32, &[u8])]) -> Result<Vec<u8>, Error> {
    if draft.data.len() != draft.graph.tensors.len() {
        let detail =
            format!("{} tensors and data for {}", draft.graph.tensors.len(), draft.data.len());
        return Err(Error::invalid(Rule::T1, detail));
    }
    for (tensor, section) in draft.graph.tensors.iter_mut().zip(1..) {
        tensor.section = section;
    }
    // Before encoding, which would lose what protobuf cannot hold.
    validate::check(&draft.graph, &Limits::default())?;
    let graph = draft.graph.encode_to_vec();
    let mut parts = Vec::with_capacity(draft.data.len() + 2 + unknown_sections.len());
    parts.push((GRAPH, CRITICAL, graph.as_slice()));
    parts.extend(draft.data.iter().map(|data| (TENSOR, CRITICAL, data.as_slice())));
    parts.extend(draft.provenance.iter().map(|text| (PROVENANCE, 0, text.as_bytes())));
    parts.extend(unknown_sections.iter().map(|&(kind, content)| (kind, 0, content)));
    let file = lay_out(&parts);
    Validated::new(&file)?;
    Ok(file)
}

/// The file that has these sections (kind, flags, content), whatever they are.
fn lay_out(parts: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut header =
        Header { major: MAJOR, minor: MINOR, file_bytes: 0, sections: parts.len() as u32 };
    let mut end = header.table_end() as usize + DIGEST_BYTES;
    let mut table = Vec::new();
    for &(kind, flags, content) in parts {
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + content.len();
        let section = Section {
            kind,
            flags,
            offset: offset as u64,
            length: content.len() as u64,
            alignment: ALIGNMENT as u32,
            digest: sha256(content),
        };
        table.extend_from_slice(&section.encode());
    }
    header.file_bytes = end as u64;

    let mut file = Vec::with_capacity(end);
    file.extend_from_slice(&header.encode());
    file.append(&mut table);
    let root = sha256(&file);
    file.extend_from_slice(&root);
    for &(_, _, content) in parts {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(content);
    }
    file
}
