/// What a reader is willing to spend on a file. Every limit is checked before memory is taken.
///
/// The defaults admit any sensible network; a caller that knows its models lowers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Entries of the section table.
    pub sections: u64,
    /// Bytes of the graph section.
    pub graph_bytes: u64,
    /// Bytes of the graph's structures once decoded; the spare room of vectors can make them take
    /// four times as much.
    pub graph_memory: u64,
    /// Values of the graph.
    pub values: u64,
    /// Operators of the graph.
    pub nodes: u64,
    /// Bytes of a name.
    pub name_bytes: u64,
    /// Elements of a constant.
    pub elements: u64,
    /// Bytes of the provenance section.
    pub provenance_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_bytes: 1 << 36,
            sections: 1 << 16,
            graph_bytes: 1 << 24,
            graph_memory: 1 << 25,
            values: 1 << 18,
            nodes: 1 << 17,
            name_bytes: 1 << 12,
            elements: 1 << 36,
            provenance_bytes: 1 << 24,
        }
    }
}
