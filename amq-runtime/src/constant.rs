//! Constants that nodes read as they are.

use alloc::sync::Arc;

use amq_format::PlainView;
use amq_format::graph::DataType;

use crate::kernels::memory::elements;
use crate::view::{Buffer, Data};

/// The elements of a constant.
#[derive(Clone)]
pub(crate) enum Constant {
    /// A copy of them.
    Copy(Arc<Buffer>),
    /// Where they lie in the file.
    InFile(Data<'static>),
}

impl Constant {
    /// A copy of a tensor's elements.
    pub(crate) fn copy(view: &PlainView<'_>) -> Constant {
        Constant::Copy(Arc::new(match view.data_type {
            DataType::F32 => Buffer::F32(view.f32s().collect()),
            DataType::I64 => Buffer::I64(view.i64s().collect()),
            DataType::I32 => Buffer::I32(view.i32s().collect()),
            DataType::U8 => Buffer::U8(view.bytes.to_vec()),
            DataType::I8 => Buffer::I8(view.bytes.iter().map(|&byte| byte as i8).collect()),
            DataType::I16 => Buffer::I16(view.i16s().collect()),
            DataType::U16 => Buffer::U16(view.u16s().collect()),
            DataType::U32 => Buffer::U32(view.u32s().collect()),
            DataType::U64 => Buffer::U64(view.u64s().collect()),
            DataType::Bool => Buffer::Bool(view.bytes.to_vec()),
        }))
    }

    /// A tensor's elements where they are, if the machine reads them as they lie there.
    pub(crate) fn in_file(view: &PlainView<'static>) -> Option<Constant> {
        let bytes = view.bytes;
        Some(Constant::InFile(match view.data_type {
            DataType::F32 => Data::F32(elements(bytes)?),
            DataType::I64 => Data::I64(elements(bytes)?),
            DataType::I32 => Data::I32(elements(bytes)?),
            DataType::U8 => Data::U8(bytes),
            DataType::I8 => Data::I8(elements(bytes)?),
            DataType::I16 => Data::I16(elements(bytes)?),
            DataType::U16 => Data::U16(elements(bytes)?),
            DataType::U32 => Data::U32(elements(bytes)?),
            DataType::U64 => Data::U64(elements(bytes)?),
            DataType::Bool => Data::Bool(bytes),
        }))
    }

    /// The elements.
    pub(crate) fn data(&self) -> Data<'_> {
        match self {
            Constant::Copy(buffer) => buffer.data(usize::MAX),
            Constant::InFile(data) => *data,
        }
    }
}
