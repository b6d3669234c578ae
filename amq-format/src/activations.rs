//! How activations enter products.

use crate::since::Since;

/// How activations enter a product with multi-bit weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Activations {
    /// As they are: the weights are decoded.
    F32 = 0,
    /// By tables of signed sums of four, each an 8-bit integer.
    Int8 = 1,
    /// By one code.
    Codes1 = 2,
    /// By two codes.
    Codes2 = 3,
    /// By three codes.
    Codes3 = 4,
    /// By four codes.
    Codes4 = 5,
}

impl Activations {
    /// The first versions that have the one of this number.
    pub(crate) fn since(number: i32) -> Since {
        Since::number(number, &[(5, Since::FIRST)])
    }

    /// Number of codes, where activations are coded.
    pub fn codes(self) -> Option<usize> {
        match self {
            Activations::F32 | Activations::Int8 => None,
            Activations::Codes1 => Some(1),
            Activations::Codes2 => Some(2),
            Activations::Codes3 => Some(3),
            Activations::Codes4 => Some(4),
        }
    }

    /// The name that the command line uses: `f32`, `int8` or the number of codes.
    pub fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Codes1 => "1",
            Activations::Codes2 => "2",
            Activations::Codes3 => "3",
            Activations::Codes4 => "4",
        }
    }

    /// The kind that errors name: `f32`, `int8` or the number of codes, such as `2-code`.
    pub fn adjective(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Codes1 => "1-code",
            Activations::Codes2 => "2-code",
            Activations::Codes3 => "3-code",
            Activations::Codes4 => "4-code",
        }
    }
}
