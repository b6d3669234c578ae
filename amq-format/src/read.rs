//! Reading: from bytes to a file that is known to keep every rule.

use crate::digest::sha256;
use crate::error::{Error, Quoted, Rule, within};
use crate::graph::{Graph, Tensor};
use crate::header::Header;
use crate::limits::Limits;
use crate::network::Network;
use crate::section::Section;
use crate::spec::{DIGEST_BYTES, ENTRY_BYTES, GRAPH, HEADER_BYTES, PROVENANCE, TENSOR};
use crate::tensor::TensorView;
use crate::validate;
use alloc::format;
use alloc::vec::Vec;

/// A file that keeps every rule of the format: the only way to its contents.
#[derive(Clone, Debug)]
pub struct Validated<'a> {
    version: (u16, u16),
    root_digest: [u8; DIGEST_BYTES],
    sections: Vec<Section>,
    contents: Vec<&'a [u8]>,
    network: Network<'a>,
    provenance: Option<&'a str>,
}

impl<'a> Validated<'a> {
    /// Checks a whole file, within the default limits.
    pub fn new(bytes: &'a [u8]) -> Result<Validated<'a>, Error> {
        Validated::with_limits(bytes, &Limits::default())
    }

    /// Checks a whole file, within `limits`.
    ///
    /// Memory taken is bounded by the limits alone, whatever the file says.
    pub fn with_limits(bytes: &'a [u8], limits: &Limits) -> Result<Validated<'a>, Error> {
        within("file_bytes", bytes.len() as u64, limits.file_bytes)?;
        let header = Header::parse(bytes)?;
        within("sections", u64::from(header.sections), limits.sections)?;
        let root_end = header.table_end() + DIGEST_BYTES as u64;
        let checked = usize::try_from(root_end).ok().and_then(|end| bytes.get(..end));
        let Some((checked, root)) = checked.and_then(|head| head.split_last_chunk()) else {
            let detail = format!("{} sections in {} bytes", header.sections, bytes.len());
            return Err(Error::invalid(Rule::H8, detail));
        };
        let root_digest: [u8; DIGEST_BYTES] = *root;
        if sha256(checked) != root_digest {
            return Err(Error::invalid(Rule::H9, "the header or the section table is damaged"));
        }

        let mut sections = Vec::with_capacity(header.sections as usize);
        let (entries, _) = checked[HEADER_BYTES..].as_chunks::<ENTRY_BYTES>();
        for (index, entry) in entries.iter().enumerate() {
            let section = Section::parse(index, entry)?;
            if (section.kind == GRAPH) != (index == 0) {
                let detail = format!("section {index} is of kind {}", section.kind);
                return Err(Error::invalid(Rule::S1, detail));
            }
            sections.push(section);
        }
        if sections.is_empty() {
            return Err(Error::invalid(Rule::S1, "there are no sections"));
        }
        let mut end = checked.len() + DIGEST_BYTES;
        let mut contents = Vec::with_capacity(sections.len());
        for (index, section) in sections.iter().enumerate() {
            let content = section.bytes(index, bytes, end)?;
            end = section.offset as usize + content.len();
            contents.push(content);
        }
        if end != bytes.len() {
            let detail = format!("the sections end at {end}, the file at {}", bytes.len());
            return Err(Error::invalid(Rule::S6, detail));
        }

        let (graph, weights) = validate::decode(contents[0], header.minor, limits)?;
        let network = network(graph, &weights, &sections, &contents, limits)?;
        let version = (header.major, header.minor);
        let mut file =
            Validated { version, root_digest, sections, contents, network, provenance: None };
        file.check_provenance(limits)?;
        Ok(file)
    }

    fn check_provenance(&mut self, limits: &Limits) -> Result<(), Error> {
        let sections = self.sections.iter().zip(&self.contents);
        for (_, content) in sections.filter(|(section, _)| section.kind == PROVENANCE) {
            within("provenance_bytes", content.len() as u64, limits.provenance_bytes)?;
            let text = core::str::from_utf8(content)
                .map_err(|error| Error::invalid(Rule::S9, format!("the provenance: {error}")))?;
            if self.provenance.replace(text).is_some() {
                return Err(Error::invalid(Rule::S9, "there are two provenance sections"));
            }
        }
        Ok(())
    }

    /// The network that the file holds.
    pub fn network(&self) -> &Network<'a> {
        &self.network
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        self.network.graph()
    }

    /// The constant at `index` in the graph's tensors.
    ///
    /// # Panics
    ///
    /// If the graph has no such tensor.
    pub fn tensor(&self, index: usize) -> TensorView<'a> {
        self.network.tensor(index)
    }

    /// Where the file comes from, as JSON. The format checks only that it is UTF-8.
    pub fn provenance(&self) -> Option<&'a str> {
        self.provenance
    }

    /// The section table.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Kinds and contents of the ancillary sections that this version does not know, for
    /// [`write_with`](crate::write_with()) to carry along.
    pub fn unknown_sections(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let sections = self.sections.iter().zip(&self.contents);
        sections
            .filter(|(section, _)| ![GRAPH, TENSOR, PROVENANCE].contains(&section.kind))
            .map(|(section, &content)| (section.kind, content))
    }

    /// SHA-256 of the header and the table, and through the table's digests of everything else: it
    /// identifies the file.
    pub fn root_digest(&self) -> [u8; DIGEST_BYTES] {
        self.root_digest
    }

    /// Major and minor version of the file.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }
}

/// The graph with its constants, of which each has the next TENSOR section.
fn network<'a>(
    graph: Graph,
    weights: &[bool],
    sections: &[Section],
    contents: &[&'a [u8]],
    limits: &Limits,
) -> Result<Network<'a>, Error> {
    let kinds = sections.iter().enumerate();
    let mut free = kinds.filter(|(_, section)| section.kind == TENSOR).map(|(index, _)| index);
    let data = |tensor: &Tensor, name: &str| {
        let index = free.next().filter(|&index| index as u64 == u64::from(tensor.section));
        index.map(|index| contents[index]).ok_or_else(|| {
            let detail = format!("tensor {} has section {}", Quoted(name), tensor.section);
            Error::invalid(Rule::T1, detail)
        })
    };
    let network = Network::new(graph, weights, data, limits)?;
    match free.next() {
        Some(index) => Err(Error::invalid(Rule::T1, format!("section {index} is of no tensor"))),
        None => Ok(network),
    }
}
