//! Writing: the same contents always give the same bytes.

use crate::digest::sha256;
use crate::error::{Error, Rule};
use crate::graph::{Graph, Op, Tensor};
use crate::header::Header;
use crate::limits::Limits;
use crate::network::Network;
use crate::read::Validated;
use crate::section::Section;
use crate::since::Since;
use crate::spec::{ALIGNMENT, CRITICAL, DIGEST_BYTES, GRAPH, MAJOR, PROVENANCE, TENSOR};
use crate::validate;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use prost::Message;

/// What a file is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The graph. The section numbers of its tensors and the versions of its operators are set when
    /// it is written: the least that serve.
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

/// As [`write()`], with ancillary sections (kind and content) of which this version knows nothing,
/// after all others.
pub fn write_with(draft: Draft, unknown_sections: &[(u32, &[u8])]) -> Result<Vec<u8>, Error> {
    let file = encode_with(draft, unknown_sections)?;
    Validated::new(&file)?;
    Ok(file)
}

/// The bytes of the file, of which only the graph has been checked: for those who read it at once.
///
/// # Errors
///
/// The rule that the graph breaks.
pub fn encode(draft: Draft) -> Result<Vec<u8>, Error> {
    encode_with(draft, &[])
}

fn encode_with(mut draft: Draft, unknown_sections: &[(u32, &[u8])]) -> Result<Vec<u8>, Error> {
    number(&mut draft.graph, draft.data.len())?;
    // Before encoding, which would lose what protobuf cannot hold.
    validate::check(&draft.graph, &Limits::default())?;
    Ok(assemble(draft, unknown_sections, &|op| op.operator().since()))
}

impl Draft {
    /// The network that a file of this would hold, checked as a reader checks it.
    ///
    /// # Errors
    ///
    /// The rule that the draft breaks.
    pub fn network(&self) -> Result<Network<'_>, Error> {
        let mut graph = self.graph.clone();
        number(&mut graph, self.data.len())?;
        let limits = Limits::default();
        let weights = validate::check(&graph, &limits)?;
        let data = |tensor: &Tensor, _: &str| Ok(self.data[tensor.section as usize - 1].as_slice());
        Network::new(graph, &weights, data, &limits)
    }
}

/// Sets section numbers and versions, for as many constants as there are.
fn number(graph: &mut Graph, constants: usize) -> Result<(), Error> {
    if constants != graph.tensors.len() {
        let detail = format!("{} tensors and data for {constants}", graph.tensors.len());
        return Err(Error::invalid(Rule::T1, detail));
    }
    for (tensor, section) in graph.tensors.iter_mut().zip(1..) {
        tensor.section = section;
    }
    set_versions(graph, &|op| op.operator().since());
    Ok(())
}

/// Gives each operator the least version that says what its attributes say.
fn set_versions(graph: &mut Graph, since: &dyn Fn(&Op) -> Since) {
    for node in &mut graph.nodes {
        if let Some(op) = &node.op {
            node.version = since(op).version;
        }
        node.bodies.iter_mut().for_each(|body| set_versions(body, since));
    }
}

fn assemble(
    draft: Draft,
    unknown_sections: &[(u32, &[u8])],
    since: &dyn Fn(&Op) -> Since,
) -> Vec<u8> {
    let minor = validate::least_minor(&draft.graph, since);
    let mut parts = Vec::with_capacity(draft.data.len() + 2 + unknown_sections.len());
    parts.push((GRAPH, CRITICAL, draft.graph.encode_to_vec()));
    parts.extend(draft.data.into_iter().map(|data| (TENSOR, CRITICAL, data)));
    parts.extend(draft.provenance.map(|text| (PROVENANCE, 0, text.into_bytes())));
    parts.extend(unknown_sections.iter().map(|&(kind, content)| (kind, 0, content.to_vec())));
    lay_out(parts, minor)
}

/// The file of version 1.`minor` that has these sections (kind, flags, content), whatever they are.
fn lay_out(parts: Vec<(u32, u32, Vec<u8>)>, minor: u16) -> Vec<u8> {
    let mut header = Header { major: MAJOR, minor, file_bytes: 0, sections: parts.len() as u32 };
    let mut end = header.table_end() as usize + DIGEST_BYTES;
    let mut table = Vec::new();
    for (kind, flags, content) in &parts {
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + content.len();
        let section = Section {
            kind: *kind,
            flags: *flags,
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
    // Each content goes when it is copied: large ones are not all held twice.
    for (_, _, content) in parts {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(&content);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{DataType, Node, Port, Softmax, Unary};
    use alloc::vec;

    /// Two operators, the second one of which `later` stands for one of the next minor version.
    fn draft(last: Op) -> Draft {
        let port = |value| Port {
            value,
            data_type: DataType::F32 as i32,
            dims: vec![3.into()],
            ..Port::default()
        };
        let node = |value: u32, op| Node {
            inputs: vec![value],
            outputs: vec![value + 1],
            op: Some(op),
            ..Node::default()
        };
        let graph = Graph {
            values: ["", "x", "h", "y"].map(String::from).to_vec(),
            inputs: vec![port(1)],
            outputs: vec![port(3)],
            nodes: vec![node(1, Op::Unary(Unary::default())), node(2, last)],
            ..Graph::default()
        };
        Draft { graph, ..Draft::default() }
    }

    fn later(op: &Op) -> Since {
        match op {
            Op::Softmax(_) => Since { version: 2, minor: 1 },
            op => op.operator().since(),
        }
    }

    fn written(mut draft: Draft) -> Vec<u8> {
        set_versions(&mut draft.graph, &later);
        assemble(draft, &[], &later)
    }

    /// A writer of the next minor version gives this reader what it can read, wherever it can.
    #[test]
    fn the_least_version_that_serves_is_written() {
        let old = draft(Op::Unary(Unary::default()));
        let file = written(old.clone());
        assert_eq!(Validated::new(&file).unwrap().version(), (1, 0));
        assert_eq!(file, write(old).unwrap());

        let file = written(draft(Op::Softmax(Softmax::default())));
        assert_eq!(Header::parse(&file).unwrap().minor, 1);
        let error = Validated::new(&file).unwrap_err();
        assert_eq!(error.rule(), Some(Rule::G8));
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }

    /// What a reader of a minor version may not find in a file of it.
    #[test]
    fn a_file_is_not_of_a_version_before_its_operators() {
        let graph = draft(Op::Softmax(Softmax::default())).graph;
        assert_eq!(validate::least_minor(&graph, &later), 1);
        let inside = Node { bodies: vec![graph], ..Node::default() };
        let outside = Graph { nodes: vec![inside], ..Graph::default() };
        assert_eq!(validate::least_minor(&outside, &later), 1);
    }
}
