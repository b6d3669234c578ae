//! The numbers of the format: `docs/format.md` states them, this file alone repeats them.

/// First bytes of every file. The high bit, the line ends and the end-of-file byte reveal a
/// transfer that was not binary.
pub const MAGIC: [u8; 8] = [0x89, b'A', b'M', b'Q', 0x0d, 0x0a, 0x1a, 0x0a];

/// Major version that this crate reads and writes.
pub const MAJOR: u16 = 1;

/// Minor version that this crate writes, and the highest that it knows.
pub const MINOR: u16 = 0;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of an entry of the section table.
pub const ENTRY_BYTES: usize = 64;

/// Bytes of a SHA-256 digest.
pub const DIGEST_BYTES: usize = 32;

/// Every section begins at a multiple of this.
pub const ALIGNMENT: usize = 64;

/// Required features that this crate knows, one a bit.
pub const REQUIRED_FEATURES: u64 = 0;

/// Flag of a section that a reader must understand.
pub const CRITICAL: u32 = 1;

/// Kind of the section that holds the graph.
pub const GRAPH: u32 = 1;

/// Kind of a section that holds a constant's data.
pub const TENSOR: u32 = 2;

/// Kind of the section that tells where the file comes from.
pub const PROVENANCE: u32 = 3;

/// Most codes a multi-bit row may have.
pub const MAX_BITS: u32 = 8;

/// Most codes a multi-bit row may have where the activations are coded too.
pub const MAX_BITS_WITH_CODES: u32 = 4;

/// Most columns a multi-bit matrix may have, so that every count of them is exact in f32.
pub const MAX_COLUMNS: u64 = 1 << 24;

/// Bits in a word of a plane.
pub const WORD_BITS: u64 = 64;

/// Columns of a group are a multiple of this.
pub const GROUP_COLUMNS: u64 = 32;

/// Most axes a tensor may have.
pub const MAX_RANK: usize = 8;

/// Most bodies that stand in each other.
pub const MAX_BODIES: usize = 8;

/// Largest stride, dilation, window or border of a convolution or pooling.
pub const MAX_WINDOW: u64 = 1 << 24;

/// Largest hidden size of a recurrent layer.
pub const MAX_HIDDEN: u64 = 1 << 24;

/// Depth to which the graph's messages may be nested.
pub const MAX_NESTING: usize = 64;
