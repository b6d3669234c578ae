//! How activations enter products.

use crate::since::Since;

/// How activations enter a product with multi-bit weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Activations {
    /// As they are: the weights are decoded.
    F32 = 0,
    /// By integers, of which any four have magnitudes that sum to at most 255.
    Int8 = 1,
    /// By one code.
    Codes1 = 2,
    /// By two codes.
    Codes2 = 3,
    /// By three codes.
    Codes3 = 4,
    /// By four codes.
    Codes4 = 5,
    /// By a constant and one code.
    Offset1 = 6,
    /// By a constant and two codes.
    Offset2 = 7,
    /// By a constant and three codes.
    Offset3 = 8,
    /// By a constant and four codes.
    Offset4 = 9,
    /// By two times integers as those of `Int8`: of the vector, and of what the first leave.
    Int16 = 10,
}

impl Activations {
    /// The first versions that have the one of this number.
    pub(crate) fn since(number: i32) -> Since {
        Since::number(number, &[(10, Since::FIRST)])
    }

    /// Number of codes, where activations are coded.
    pub fn codes(self) -> Option<usize> {
        match self {
            Activations::F32 | Activations::Int8 | Activations::Int16 => None,
            Activations::Codes1 | Activations::Offset1 => Some(1),
            Activations::Codes2 | Activations::Offset2 => Some(2),
            Activations::Codes3 | Activations::Offset3 => Some(3),
            Activations::Codes4 | Activations::Offset4 => Some(4),
        }
    }

    /// Whether a constant stands beside the codes, which suits activations of one sign.
    pub fn has_offset(self) -> bool {
        matches!(
            self,
            Activations::Offset1
                | Activations::Offset2
                | Activations::Offset3
                | Activations::Offset4
        )
    }

    /// The name that reports use: `f32`, `int8`, `int16` or the number of codes, after an `o` where a constant
    /// stands beside them.
    pub fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Int16 => "int16",
            Activations::Codes1 => "1",
            Activations::Codes2 => "2",
            Activations::Codes3 => "3",
            Activations::Codes4 => "4",
            Activations::Offset1 => "o1",
            Activations::Offset2 => "o2",
            Activations::Offset3 => "o3",
            Activations::Offset4 => "o4",
        }
    }

    /// The kind that errors name: `f32`, `int8`, `int16` or the number of codes, such as `2-code`.
    pub fn adjective(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Int16 => "int16",
            Activations::Codes1 => "1-code",
            Activations::Codes2 => "2-code",
            Activations::Codes3 => "3-code",
            Activations::Codes4 => "4-code",
            Activations::Offset1 => "1-code with offset",
            Activations::Offset2 => "2-code with offset",
            Activations::Offset3 => "3-code with offset",
            Activations::Offset4 => "4-code with offset",
        }
    }
}
