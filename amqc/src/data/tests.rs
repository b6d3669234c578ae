use super::*;
use crate::error::ErrorKind;

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

fn read(bytes: &[u8]) -> Result<Array> {
    read_array(bytes, &mut { MAX_BYTES }).map_err(|bad| bad.error(Path::new("x.npy")))
}

fn tensor(dims: &[usize], data: Data) -> Tensor {
    Tensor { dims: dims.to_vec(), data }
}

fn all_types() -> Vec<(String, Tensor, DataType)> {
    vec![
        ("f".into(), tensor(&[2, 2], Data::F32(vec![1.5, -0.0, 3e38, 1e-40])), DataType::F32),
        ("i64".into(), tensor(&[3], Data::I64(vec![i64::MIN, 0, i64::MAX])), DataType::I64),
        ("i32".into(), tensor(&[], Data::I32(vec![-7])), DataType::I32),
        ("u8".into(), tensor(&[0, 3], Data::U8(vec![])), DataType::U8),
        ("i8".into(), tensor(&[1, 2], Data::I8(vec![-128, 127])), DataType::I8),
        ("bool".into(), tensor(&[2], Data::Bool(vec![0, 1])), DataType::Bool),
    ]
}

#[test]
fn what_is_written_is_read_back() {
    for (name, tensor, data_type) in all_types() {
        let mut bytes = Vec::new();
        write_npy(&mut bytes, &tensor).unwrap();
        assert_eq!(read(&bytes).unwrap().into_tensor(&name, data_type).unwrap(), tensor, "{name}");
    }
}

#[test]
fn archives_are_read_back_and_the_same_each_time() {
    let tensors: Vec<_> = all_types().into_iter().map(|(name, t, _)| (name, t)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    write_npz(file.as_file(), &tensors).unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    let mut again = io::Cursor::new(Vec::new());
    write_npz(&mut again, &tensors).unwrap();
    assert_eq!(bytes, again.into_inner());
    let read = read_npz(file.path(), |_| Ok(())).unwrap();
    let mut expected = all_types();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(read.len(), expected.len());
    for ((name, array), (expected_name, tensor, data_type)) in read.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(array.into_tensor(&name, data_type).unwrap(), tensor);
    }
}

// Written by numpy 2 as `numpy.save(f, numpy.asfortranarray([[1, 2, 3], [4, 5, 6]], dtype='>i2'))`.
#[test]
fn column_major_and_big_endian_arrays_come_out_row_major() {
    let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
    let array = read(&npy(header, &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6])).unwrap();
    assert_eq!(array.integers().unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(array.dims, [2, 3]);
}

#[test]
fn casts_are_exact_or_refused() {
    let array = |values| Array { dims: vec![1], values };
    for (values, to, expected) in [
        (Values::Int(vec![5]), DataType::I32, Some(Data::I32(vec![5]))),
        (Values::Int(vec![1 << 31]), DataType::I32, None),
        (Values::Int(vec![256]), DataType::U8, None),
        (Values::Int(vec![-1]), DataType::U8, None),
        (Values::Int(vec![255]), DataType::F32, Some(Data::F32(vec![255.0]))),
        (Values::Int(vec![(1 << 24) + 1]), DataType::F32, Some(Data::F32(vec![16777216.0]))),
        (Values::Int(vec![i64::MAX]), DataType::F32, Some(Data::F32(vec![9223372036854775808.0]))),
        (Values::F64(vec![0.5]), DataType::F32, Some(Data::F32(vec![0.5]))),
        (Values::F64(vec![0.1]), DataType::F32, Some(Data::F32(vec![0.1]))),
        (Values::F64(vec![1e300]), DataType::F32, None),
        (Values::F32(vec![1.0]), DataType::I64, None),
        (Values::Bool(vec![true]), DataType::I64, None),
        (Values::Int(vec![1]), DataType::Bool, None),
    ] {
        let shown = format!("{values:?} to {to:?}");
        match (array(values).into_tensor("x", to), expected) {
            (Ok(tensor), Some(expected)) => assert_eq!(tensor.data, expected, "{shown}"),
            (Err(error), None) => assert!(error.help().is_some(), "{shown}"),
            (other, _) => panic!("{shown}: {other:?}"),
        }
    }
}

#[test]
fn what_f32_holds_only_rounded_is_told() {
    let finer = |values| Array { dims: vec![1], values }.finer_than_f32();
    assert_eq!(finer(Values::Int(vec![(1 << 24) + 1])), Some("integer"));
    assert_eq!(finer(Values::Int(vec![1 << 24])), None);
    assert_eq!(finer(Values::F64(vec![0.1])), Some("float64"));
    assert_eq!(finer(Values::F64(vec![0.5])), None);
    let large = Array { dims: vec![1], values: Values::F64(vec![1e39]) };
    let error = large.into_tensor("x", DataType::F32).unwrap_err().to_string();
    assert!(error.starts_with("x: 1e39 is too large for float32\n"), "{error}");
}

#[test]
fn hostile_arrays_are_bad_files() {
    let plain =
        |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let deep = format!("{{'descr': {}'<f4'", "(".repeat(9000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("magic", b"PK\x03\x04 and so on".to_vec()),
        ("no header", b"\x93NUMPY\x01\x00".to_vec()),
        ("header longer than file", b"\x93NUMPY\x01\x00\xff\x00{".to_vec()),
        ("huge header", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec()),
        ("truncated", npy(&plain("(4,)"), &[0; 15])),
        ("too long", npy(&plain("(4,)"), &[0; 17])),
        ("huge", npy(&plain("(4000000000,)"), &[0; 16])),
        ("huge but permitted", npy(&plain("(4000000,)"), &[0; 16])),
        ("overflow", npy(&plain("(4294967296, 4294967296, 4)"), &[])),
        ("overflow hidden by zero", npy(&plain("(0, 4294967296, 4294967296, 4)"), &[])),
        ("huge number", npy(&plain("(99999999999999999999999,)"), &[])),
        ("hexadecimal", npy(&plain("(0xFFFFFFFFFF, 0xFFFFFFFFFF)"), &[])),
        ("negative", npy(&plain("(-1,)"), &[0; 4])),
        ("nested", npy(&deep, &[])),
        (
            "record",
            npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[0; 4]),
        ),
        ("pickle", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &[0; 4])),
        ("complex", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 8])),
        ("half", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 2])),
        ("bool of 2", npy("{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }", &[2])),
        (
            "u8 beyond i64",
            npy("{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }", &[255; 8]),
        ),
        ("no shape", npy("{'descr': '<f4', 'fortran_order': False}", &[])),
        ("not a dict", npy("17", &[])),
        ("not text", npy("{'\u{fffd}", &[])),
    ];
    for (what, bytes) in cases {
        match read(&bytes) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::BadFile, "{what}: {error}"),
            Ok(array) => panic!("{what}: {array:?}"),
        }
    }
}

#[test]
fn damaged_archives_are_errors() {
    let mut good = io::Cursor::new(Vec::new());
    let tensors = [("x".to_owned(), tensor(&[4], Data::F32(vec![1.0; 4])))];
    write_npz(&mut good, &tensors).unwrap();
    let good = good.into_inner();
    let file = tempfile::NamedTempFile::new().unwrap();
    for length in 0..good.len() {
        std::fs::write(file.path(), &good[..length]).unwrap();
        assert_eq!(
            read_npz(file.path(), |_| Ok(())).unwrap_err().kind(),
            ErrorKind::BadFile,
            "{length}"
        );
    }
    for at in 0..good.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            std::fs::write(file.path(), &bad).unwrap();
            // Some bytes (times, modes) mean nothing to us; the array's are covered by a checksum.
            if let Err(error) = read_npz(file.path(), |_| Ok(())) {
                assert_eq!(error.kind(), ErrorKind::BadFile, "{at}: {error}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    assert_eq!(read_npy(Path::new("/no/such.npy")).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(read_npz(Path::new("/no/such.npz"), |_| Ok(())).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn archives_are_bounded_and_only_what_is_wanted_is_decoded() {
    let tensor = tensor(&[1000], Data::I8(vec![1; 1000]));
    let file = tempfile::NamedTempFile::new().unwrap();
    write_npz(
        file.reopen().unwrap(),
        &[("x".into(), tensor.clone()), ("y".into(), tensor.clone())],
    )
    .unwrap();
    let refused = read_npz(file.path(), |name| match name {
        "x" => Ok(()),
        _ => Err(Error::usage(format!("no {name}"))),
    });
    assert_eq!(refused.unwrap_err().message(), "no y");
    let (mut left, mut bytes) = (1500, Vec::new());
    write_npy(&mut bytes, &tensor).unwrap();
    assert!(read_array(&bytes[..], &mut left).is_ok());
    let Err(bad) = read_array(&bytes[..], &mut left) else { panic!("more than is left") };
    assert!(bad.error(Path::new("x.npy")).message().contains("more than 4 GiB"));
}

/// The bytes are those of `numpy.save(f, numpy.array([[1, -2, 0.1]], numpy.float16))`, from numpy 2.
#[test]
fn short_floats_are_written_as_numpy_does() {
    let tensor = tensor(&[1, 3], Data::F32(vec![1.0, -2.0, 0.099_975_586]));
    let mut bytes = Vec::new();
    write_npy_as(&mut bytes, &tensor, Precision::F16).unwrap();
    let text = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 3), }";
    assert_eq!(bytes, npy(&format!("{text:117}\n"), &[0x00, 0x3c, 0x00, 0xc0, 0x66, 0x2e]));
    bytes.clear();
    let tensor = Tensor { dims: vec![3], ..tensor };
    write_npy_as(&mut bytes, &tensor, Precision::Bf16).unwrap();
    let again = read(&bytes).unwrap().into_tensor("x", DataType::F32).unwrap();
    assert_eq!(again.data, Data::F32(vec![1.0, -2.0, 0.100_097_656]));
}

#[test]
fn what_a_short_type_cannot_hold_is_refused() {
    let x = |value| tensor(&[1], Data::F32(vec![value]));
    let kept = |value, precision| rounded(x(value), "x", precision).map(|t| t.data);
    assert_eq!(kept(0.1, Precision::F16).unwrap(), Data::F32(vec![0.099_975_586]));
    assert_eq!(kept(f32::INFINITY, Precision::F16).unwrap(), Data::F32(vec![f32::INFINITY]));
    assert!(kept(7e4, Precision::F16).unwrap_err().message().contains("too large for float16"));
    assert_eq!(kept(7e4, Precision::Bf16).unwrap(), Data::F32(vec![70_144.0]));
}

/// Written by numpy 2 as `numpy.array([1, -2, 65504], dtype=t)` with t '<f2', '>f2' and, of ml_dtypes,
/// bfloat16, whose last element is 65536.
#[test]
fn short_floats_are_read() {
    let floats = |descr: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (3,), }}\n");
        read(&npy(&header, data)).unwrap().into_tensor("x", DataType::F32).unwrap().data
    };
    let expected = Data::F32(vec![1.0, -2.0, 65504.0]);
    assert_eq!(floats("<f2", &[0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b]), expected);
    assert_eq!(floats(">f2", &[0x3c, 0x00, 0xc0, 0x00, 0x7b, 0xff]), expected);
    let expected = Data::F32(vec![1.0, -2.0, 65536.0]);
    assert_eq!(floats("<V2", &[0x80, 0x3f, 0x00, 0xc0, 0x80, 0x47]), expected);
}
