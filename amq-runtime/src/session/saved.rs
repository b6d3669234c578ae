//! State as bytes.
//!
//! Little-endian: the magic bytes, the model's root digest, the number of states as u32 (0 before
//! the first step), then of each the number of axes as u32, the sizes as u64, and the elements.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::Dim;

use crate::error::{Error, MisfitKind};
use crate::infer::{MAX_RANK, list};
use crate::model::Model;
use crate::program::Port;
use crate::shape::Sizes;
use crate::view::{Buffer, Data, DataMut};

/// A state between steps.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Buffer,
    /// Whether this is also the output of the last call that gave it.
    pub(crate) is_output: bool,
}

const MAGIC: [u8; 8] = *b"amqstat1";

pub(super) fn save(model: &Model, states: &[Kept]) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend_from_slice(&model.digest());
    bytes.extend_from_slice(&(states.len() as u32).to_le_bytes());
    for Kept { dims, elements, .. } in states {
        bytes.extend_from_slice(&(dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|&size| bytes.extend_from_slice(&(size as u64).to_le_bytes()));
        match elements.data(usize::MAX) {
            Data::F32(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::I64(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::I32(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::U8(x) | Data::Bool(x) => bytes.extend_from_slice(x),
            Data::I8(x) => x.iter().for_each(|&x| bytes.push(x as u8)),
            Data::I16(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::U16(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::U32(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
            Data::U64(x) => x.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
        }
    }
    bytes
}

pub(super) fn restore(model: &Model, bytes: &[u8]) -> Result<Vec<Kept>, Error> {
    let mut reader = Reader(bytes);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(damaged("it does not begin as saved state does"));
    }
    if reader.take(32)? != model.digest() {
        let what = String::from("the saved state is that of another model");
        return Err(Error::state(MisfitKind::OtherModel, "", what));
    }
    let count = reader.u32()? as usize;
    if count != 0 && count != model.states().len() {
        return Err(damaged(&format!("it has {count} states")));
    }
    let mut sizes = Sizes::new();
    let mut states = Vec::with_capacity(count);
    for state in &model.states()[..count] {
        let port = &model.inputs()[state.input];
        let rank = reader.u32()? as usize;
        if rank > MAX_RANK {
            return Err(damaged(&format!("state {} has {rank} axes", port.name)));
        }
        let size = |_| usize::try_from(reader.u64()?).map_err(|_| damaged("a size is too large"));
        let dims: Vec<usize> = (0..rank).map(size).collect::<Result<_, _>>()?;
        check(port, &dims, &mut sizes)?;
        states.push(Kept { elements: reader.elements(port, &dims)?, dims, is_output: false });
    }
    if reader.0.is_empty() { Ok(states) } else { Err(damaged("it is too long")) }
}

/// There is no memory for a state.
pub(super) fn no_memory(name: &str) -> Error {
    Error::state(MisfitKind::Memory, name, String::from("there is no memory for the state"))
}

fn damaged(what: &str) -> Error {
    Error::state(MisfitKind::Damaged, "", format!("the saved state is damaged: {what}"))
}

/// The shape must be one that the input can have beside the other states.
fn check(port: &Port, dims: &[usize], sizes: &mut Sizes) -> Result<(), Error> {
    let mut fits = |(&size, dim): (&usize, &Dim)| {
        let Ok(size) = i64::try_from(size) else { return false };
        match (dim.as_size(), dim.as_name()) {
            (Some(expected), _) => size == expected,
            (_, Some(name)) => {
                let first = sizes.entry(String::from(name));
                size > 0 && first.or_insert_with(|| (size, port.name.clone())).0 == size
            }
            // An expression: the next step compares with what its inputs make of it.
            _ => true,
        }
    };
    let fits = dims.len() == port.dims.len() && dims.iter().zip(&port.dims).all(&mut fits);
    let (found, expected) = (list(dims), list(&port.dims));
    let name = &port.name;
    if fits { Ok(()) } else { Err(damaged(&format!("{name} has shape {found}, not {expected}"))) }
}

/// Bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.ok_or_else(|| damaged("it is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| damaged("it is too short"))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn elements(&mut self, port: &Port, dims: &[usize]) -> Result<Buffer, Error> {
        let len = dims.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let bytes = len.and_then(|len| len.checked_mul(port.data_type.size()));
        // Taken before memory is: there are as many bytes as the elements will take.
        let bytes = self.take(bytes.ok_or_else(|| damaged("a state is too large"))?)?;
        let len = len.unwrap_or_default();
        let mut buffer = Buffer::new(port.data_type);
        if !buffer.grow(len) {
            return Err(no_memory(&port.name));
        }
        match buffer.data_mut(len) {
            DataMut::F32(x) => fill(x, bytes, f32::from_le_bytes),
            DataMut::I64(x) => fill(x, bytes, i64::from_le_bytes),
            DataMut::I32(x) => fill(x, bytes, i32::from_le_bytes),
            DataMut::U8(x) => x.copy_from_slice(bytes),
            DataMut::I8(x) => fill(x, bytes, i8::from_le_bytes),
            DataMut::I16(x) => fill(x, bytes, i16::from_le_bytes),
            DataMut::U16(x) => fill(x, bytes, u16::from_le_bytes),
            DataMut::U32(x) => fill(x, bytes, u32::from_le_bytes),
            DataMut::U64(x) => fill(x, bytes, u64::from_le_bytes),
            DataMut::Bool(x) if bytes.iter().all(|&byte| byte <= 1) => x.copy_from_slice(bytes),
            DataMut::Bool(_) => return Err(damaged("a bool is neither 0 nor 1")),
        }
        Ok(buffer)
    }
}

fn fill<T, const N: usize>(to: &mut [T], bytes: &[u8], element: fn([u8; N]) -> T) {
    for (x, &bytes) in to.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *x = element(bytes);
    }
}
