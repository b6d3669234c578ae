//! Tensors to NumPy's files.

use std::io::{self, Seek, Write};

use amq_format::graph::Precision;
use half::{bf16, f16};
use npyz::{AutoSerialize, WriteOptions, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::tensor::{Data, Tensor};

/// Writes a tensor as an `.npy` file.
pub fn write_npy(out: impl Write, Tensor { dims, data }: &Tensor) -> io::Result<()> {
    match data {
        Data::F32(values) => elements(out, dims, values.iter().copied()),
        Data::I64(values) => elements(out, dims, values.iter().copied()),
        Data::I32(values) => elements(out, dims, values.iter().copied()),
        Data::U8(values) => elements(out, dims, values.iter().copied()),
        Data::I8(values) => elements(out, dims, values.iter().copied()),
        Data::I16(values) => elements(out, dims, values.iter().copied()),
        Data::U16(values) => elements(out, dims, values.iter().copied()),
        Data::U32(values) => elements(out, dims, values.iter().copied()),
        Data::U64(values) => elements(out, dims, values.iter().copied()),
        Data::Bool(values) => elements(out, dims, values.iter().map(|&value| value != 0)),
    }
}

/// Writes a tensor as an `.npy` file, its floats in a type. NumPy has no bfloat16: raw elements of two bytes, as the package
/// ml_dtypes saves it.
pub fn write_npy_as(mut out: impl Write, tensor: &Tensor, precision: Precision) -> io::Result<()> {
    let (descr, bits): (_, fn(f32) -> u16) = match precision {
        Precision::F32 => return write_npy(out, tensor),
        Precision::F16 => ("<f2", |x| f16::from_f32(x).to_bits()),
        Precision::Bf16 => ("<V2", |x| bf16::from_f32(x).to_bits()),
    };
    let Data::F32(values) = &tensor.data else { return write_npy(out, tensor) };
    out.write_all(&header(descr, &tensor.dims))?;
    let bytes: Vec<u8> = values.iter().flat_map(|&x| bits(x).to_le_bytes()).collect();
    out.write_all(&bytes)
}

/// The header of an `.npy` file, with spaces to a multiple of 64 bytes.
fn header(descr: &str, dims: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = dims.iter().map(|dim| dim.to_string()).collect();
    let (sizes, comma) = (sizes.join(", "), if dims.len() == 1 { "," } else { "" });
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}{comma}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}

/// Writes tensors as an uncompressed `.npz` file. Equal tensors give equal bytes.
pub fn write_npz(out: impl Write + Seek, tensors: &[(String, Tensor)]) -> io::Result<()> {
    write_npz_as(out, tensors, |_| Precision::F32)
}

/// The same, with the floats of each name in a type.
pub fn write_npz_as(
    out: impl Write + Seek,
    tensors: &[(String, Tensor)],
    precision: impl Fn(&str) -> Precision,
) -> io::Result<()> {
    let mut archive = ZipWriter::new(out);
    for (name, tensor) in tensors {
        let mut array = Vec::new();
        write_npy_as(&mut array, tensor, precision(name))?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(array.len() >= u32::MAX as usize);
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&array)?;
    }
    archive.finish()?.flush()
}

fn elements<T: AutoSerialize>(
    out: impl Write,
    dims: &[usize],
    values: impl Iterator<Item = T>,
) -> io::Result<()> {
    let shape: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
    let options = WriteOptions::new().default_dtype().shape(&shape);
    let mut writer = options.writer(out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()
}
