//! Values: their numbers and types, and constants as a graph describes them.

use alloc::vec::Vec;

/// Number of a value: its index in [`Graph::values`](crate::graph::Graph::values).
pub type ValueId = u32;

/// The value that is not there.
pub const ABSENT: ValueId = 0;

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// IEEE 754 binary32.
    F32 = 0,
    /// Signed 64-bit integer.
    I64 = 1,
    /// Signed 32-bit integer.
    I32 = 2,
    /// Unsigned 8-bit integer.
    U8 = 3,
    /// Signed 8-bit integer.
    I8 = 4,
    /// A byte that is 0 or 1.
    Bool = 5,
    /// Signed 16-bit integer.
    I16 = 6,
    /// Unsigned 16-bit integer.
    U16 = 7,
    /// Unsigned 32-bit integer.
    U32 = 8,
    /// Unsigned 64-bit integer.
    U64 = 9,
}

impl DataType {
    /// Bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            DataType::I64 | DataType::U64 => 8,
            DataType::F32 | DataType::I32 | DataType::U32 => 4,
            DataType::I16 | DataType::U16 => 2,
            DataType::U8 | DataType::I8 | DataType::Bool => 1,
        }
    }

    /// Whether an integer is one of this type; for bool, 0 and 1 are.
    pub(crate) fn holds(self, integer: i64) -> bool {
        match self {
            DataType::F32 => false,
            DataType::I64 => true,
            DataType::I32 => i32::try_from(integer).is_ok(),
            DataType::U8 => u8::try_from(integer).is_ok(),
            DataType::I8 => i8::try_from(integer).is_ok(),
            DataType::I16 => i16::try_from(integer).is_ok(),
            DataType::U16 => u16::try_from(integer).is_ok(),
            DataType::U32 => u32::try_from(integer).is_ok(),
            DataType::U64 => u64::try_from(integer).is_ok(),
            DataType::Bool => matches!(integer, 0 | 1),
        }
    }

    /// The name that errors and listings use, such as `f32`.
    pub fn name(self) -> &'static str {
        match self {
            DataType::F32 => "f32",
            DataType::I64 => "i64",
            DataType::I32 => "i32",
            DataType::U8 => "u8",
            DataType::I8 => "i8",
            DataType::I16 => "i16",
            DataType::U16 => "u16",
            DataType::U32 => "u32",
            DataType::U64 => "u64",
            DataType::Bool => "bool",
        }
    }
}

/// Float type that an input or output has in the source model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Precision {
    /// IEEE 754 binary32, or a longer type that is computed in it.
    F32 = 0,
    /// IEEE 754 binary16.
    F16 = 1,
    /// bfloat16: the upper half of a binary32.
    Bf16 = 2,
}

/// A constant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    /// Which value it gives.
    #[prost(uint32, tag = "1")]
    pub value: ValueId,
    /// Type of its elements; `F32` where it is multi-bit.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its shape.
    #[prost(uint64, repeated, tag = "3")]
    pub dims: Vec<u64>,
    /// Index in the section table of the section that holds its data; the graph's is 0.
    #[prost(uint32, tag = "4")]
    pub section: u32,
    /// How it is coded, if it is not stored as plain elements.
    #[prost(message, optional, tag = "5")]
    pub multi_bit: Option<MultiBit>,
}

/// A matrix of which each row, or each group of columns in a row, is a sum of `bits` scaled codes:
/// `w = sum_i a_i b_i + c`, `b_i` in {-1, +1}.
///
/// The section holds the planes, each of whole `u64` words in which bit `row * columns + column` is
/// set for +1, then the coefficients in order `[row][group][plane]`, then, if `offset` is set, the
/// offsets `c` in order `[row][group]`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiBit {
    /// Codes a row: 1 to 8.
    #[prost(uint32, tag = "1")]
    pub bits: u32,
    /// Rows of the matrix; its columns are the tensor's elements divided by its rows.
    #[prost(uint64, tag = "2")]
    pub rows: u64,
    /// Columns that share coefficients, a multiple of 32; 0 stands for the whole row.
    #[prost(uint64, tag = "3")]
    pub group: u64,
    /// Type of the coefficients and offsets.
    #[prost(enumeration = "CoefficientType", tag = "4")]
    pub coefficients: i32,
    /// Whether each row or group has an offset.
    #[prost(bool, tag = "5")]
    pub offset: bool,
}

/// Type of a multi-bit tensor's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CoefficientType {
    /// IEEE 754 binary16.
    F16 = 0,
    /// IEEE 754 binary32.
    F32 = 1,
}
