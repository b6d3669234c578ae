//! Constants: the bytes of their sections, and views that borrow them.

use crate::error::{Error, Quoted, Rule, within};
use crate::graph::{CoefficientType, DataType, Tensor};
use crate::limits::Limits;
use crate::spec::{GROUP_COLUMNS, MAX_BITS, MAX_COLUMNS, MAX_RANK, WORD_BITS};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use byteorder::{ByteOrder, LittleEndian};
use half::f16;

const WORD_BYTES: usize = 8;

/// Bytes of a multi-bit tensor's section, or `None` if 64 bits cannot hold the number.
///
/// `groups` is the number of column groups in a row, `coefficient_size` the bytes of a coefficient:
/// 2 or 4.
pub fn multi_bit_bytes(
    rows: u64,
    cols: u64,
    bits: u32,
    groups: u64,
    coefficient_size: u64,
    offset: bool,
) -> Option<u64> {
    // The elements of a matrix may exceed 64 bits where its bytes do not.
    let words = (u128::from(rows) * u128::from(cols)).div_ceil(u128::from(WORD_BITS));
    let words = u64::try_from(words).ok()?.checked_mul(u64::from(bits))?;
    let planes = words.checked_mul(WORD_BYTES as u64)?;
    let numbers_in_group = u64::from(bits) + u64::from(offset);
    let numbers = rows.checked_mul(groups)?.checked_mul(numbers_in_group)?;
    planes.checked_add(numbers.checked_mul(coefficient_size)?)
}

/// A constant of a validated file.
#[derive(Clone, Debug)]
pub enum TensorView<'a> {
    /// Plain elements.
    Plain(PlainView<'a>),
    /// Scaled codes.
    MultiBit(MultiBitView<'a>),
}

impl TensorView<'_> {
    /// The tensor's shape.
    pub fn dims(&self) -> &[usize] {
        match self {
            TensorView::Plain(view) => &view.dims,
            TensorView::MultiBit(view) => &view.dims,
        }
    }
}

/// A constant stored as plain elements: little-endian, the last axis fastest.
#[derive(Clone, Debug)]
pub struct PlainView<'a> {
    /// Type of the elements.
    pub data_type: DataType,
    /// The tensor's shape.
    pub dims: Vec<usize>,
    /// The elements' bytes.
    pub bytes: &'a [u8],
}

impl<'a> PlainView<'a> {
    /// The elements of an f32 tensor; of another type, none.
    pub fn f32s(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.elements(DataType::F32).chunks_exact(4).map(LittleEndian::read_f32)
    }

    /// The elements of an i64 tensor; of another type, none.
    pub fn i64s(&self) -> impl ExactSizeIterator<Item = i64> + use<'a> {
        self.elements(DataType::I64).chunks_exact(8).map(LittleEndian::read_i64)
    }

    /// The elements of an i32 tensor; of another type, none.
    pub fn i32s(&self) -> impl ExactSizeIterator<Item = i32> + use<'a> {
        self.elements(DataType::I32).chunks_exact(4).map(LittleEndian::read_i32)
    }

    /// The elements of an i16 tensor; of another type, none.
    pub fn i16s(&self) -> impl ExactSizeIterator<Item = i16> + use<'a> {
        self.elements(DataType::I16).chunks_exact(2).map(LittleEndian::read_i16)
    }

    /// The elements of a u16 tensor; of another type, none.
    pub fn u16s(&self) -> impl ExactSizeIterator<Item = u16> + use<'a> {
        self.elements(DataType::U16).chunks_exact(2).map(LittleEndian::read_u16)
    }

    /// The elements of a u32 tensor; of another type, none.
    pub fn u32s(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.elements(DataType::U32).chunks_exact(4).map(LittleEndian::read_u32)
    }

    /// The elements of a u64 tensor; of another type, none.
    pub fn u64s(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.elements(DataType::U64).chunks_exact(8).map(LittleEndian::read_u64)
    }

    fn elements(&self, data_type: DataType) -> &'a [u8] {
        if self.data_type == data_type { self.bytes } else { &[] }
    }
}

/// A constant stored as scaled codes: a matrix of `rows` by `cols`.
///
/// Its methods panic where a plane, row, word or group is out of range.
#[derive(Clone, Debug)]
pub struct MultiBitView<'a> {
    /// The tensor's shape.
    pub dims: Vec<usize>,
    /// Codes a row.
    pub bits: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Columns that share coefficients; all of them where the row is not divided.
    pub group: usize,
    /// Whether each group has an offset.
    pub has_offset: bool,
    coefficient_type: CoefficientType,
    planes: &'a [u8],
    coefficients: &'a [u8],
    offsets: &'a [u8],
}

impl<'a> MultiBitView<'a> {
    /// The planes as words, `[plane][row][word]`, where each row begins with a word; a word is
    /// little-endian.
    pub fn aligned(&self) -> Option<&'a [[u8; 8]]> {
        let (words, _) = self.planes.as_chunks();
        self.cols.is_multiple_of(WORD_BITS as usize).then_some(words)
    }

    /// Words of 64 columns that hold a row.
    pub fn words_per_row(&self) -> usize {
        self.cols.div_ceil(WORD_BITS as usize)
    }

    /// Column groups in a row.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.group)
    }

    /// Type of the coefficients and offsets in the file.
    pub fn coefficient_type(&self) -> CoefficientType {
        self.coefficient_type
    }

    /// 64 columns of a row of a plane: bit i is column `64 word + i`, set for +1, and clear beyond
    /// the last column.
    pub fn word(&self, plane: usize, row: usize, word: usize) -> u64 {
        assert!(word < self.words_per_row(), "no such word");
        self.signs(plane, row, word * WORD_BITS as usize)
    }

    /// The 64 columns from `col` on of a row of a plane, clear beyond the last.
    fn signs(&self, plane: usize, row: usize, col: usize) -> u64 {
        assert!(plane < self.bits && row < self.rows && col < self.cols, "no such columns");
        let words = self.planes.len() / self.bits / WORD_BYTES;
        // A plane may have more bits than a machine of 32 bits can count.
        let at = row as u64 * self.cols as u64 + col as u64;
        let (index, shift) = (plane * words + (at / WORD_BITS) as usize, at % WORD_BITS);
        let read = |index: usize| LittleEndian::read_u64(&self.planes[index * WORD_BYTES..]);
        let left = (self.cols - col) as u64;
        let low = read(index) >> shift;
        let signs = if shift + left.min(WORD_BITS) > WORD_BITS {
            low | read(index + 1) << (WORD_BITS - shift)
        } else {
            low
        };
        if left < WORD_BITS { signs & !(u64::MAX << left) } else { signs }
    }

    /// The coefficient of a plane in a row's group.
    pub fn coefficient(&self, row: usize, group: usize, plane: usize) -> f32 {
        assert!(row < self.rows && group < self.groups() && plane < self.bits, "no such group");
        let index = (row * self.groups() + group) * self.bits + plane;
        number(self.coefficient_type, self.coefficients, index)
    }

    /// The offset of a row's group; 0 where the tensor has none.
    pub fn offset(&self, row: usize, group: usize) -> f32 {
        assert!(row < self.rows && group < self.groups(), "no such group");
        if self.has_offset {
            number(self.coefficient_type, self.offsets, row * self.groups() + group)
        } else {
            0.0
        }
    }

    /// Writes the row's weights, `((a_0 b_0 + a_1 b_1) + ..) + c` in f32, to `out`, which has
    /// [`cols`](Self::cols) elements.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "a row has as many elements as the matrix has columns");
        for (group, out) in out.chunks_mut(self.group).enumerate() {
            let first = group * self.group;
            for plane in 0..self.bits {
                let a = self.coefficient(row, group, plane);
                for (word, out) in out.chunks_mut(WORD_BITS as usize).enumerate() {
                    let signs = self.signs(plane, row, first + word * WORD_BITS as usize);
                    for (bit, w) in out.iter_mut().enumerate() {
                        let term = if signs >> bit & 1 == 1 { a } else { -a };
                        *w = if plane == 0 { term } else { *w + term };
                    }
                }
            }
            if self.has_offset {
                let c = self.offset(row, group);
                out.iter_mut().for_each(|w| *w += c);
            }
        }
    }
}

fn number(data_type: CoefficientType, bytes: &[u8], index: usize) -> f32 {
    match data_type {
        CoefficientType::F16 => {
            f16::from_bits(LittleEndian::read_u16(&bytes[2 * index..])).to_f32()
        }
        CoefficientType::F32 => LittleEndian::read_f32(&bytes[4 * index..]),
    }
}

/// Bytes that a coefficient takes.
pub(crate) fn coefficient_size(data_type: CoefficientType) -> usize {
    match data_type {
        CoefficientType::F16 => 2,
        CoefficientType::F32 => 4,
    }
}

/// Checks that `bytes` are the tensor's and gives a view of them.
pub(crate) fn view<'a>(
    tensor: &Tensor,
    name: &str,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<TensorView<'a>, Error> {
    let refuse =
        |rule, what: String| Error::invalid(rule, format!("tensor {} {what}", Quoted(name)));
    let data_type = DataType::try_from(tensor.data_type)
        .map_err(|_| refuse(Rule::T2, format!("has elements of type {}", tensor.data_type)))?;
    let too_large = || refuse(Rule::T3, String::from("is too large or has too many axes"));
    if tensor.dims.len() > MAX_RANK {
        return Err(too_large());
    }
    // Axes without entries count as 1, so that no product of the others can overflow later.
    let bound = tensor.dims.iter().try_fold(1u64, |all, &dim| all.checked_mul(dim.max(1)));
    let bound = bound.and_then(|n| n.checked_mul(8)).ok_or_else(too_large)? / 8;
    within("elements", bound, limits.elements)?;
    let mut dims = Vec::with_capacity(tensor.dims.len());
    for &dim in &tensor.dims {
        dims.push(usize::try_from(dim).map_err(|_| too_large())?);
    }
    let elements = if tensor.dims.contains(&0) { 0 } else { bound };
    let exact = |expected: u64| {
        if bytes.len() as u64 == expected {
            Ok(())
        } else {
            Err(refuse(
                Rule::T4,
                format!("takes {expected} bytes, its section has {}", bytes.len()),
            ))
        }
    };

    let Some(coding) = &tensor.multi_bit else {
        exact(elements * data_type.size() as u64)?;
        if data_type == DataType::Bool && bytes.iter().any(|&byte| byte > 1) {
            return Err(refuse(Rule::T5, String::from("has a bool that is neither 0 nor 1")));
        }
        return Ok(TensorView::Plain(PlainView { data_type, dims, bytes }));
    };

    if data_type != DataType::F32 || coding.bits == 0 || coding.bits > MAX_BITS {
        let found = format!("is multi-bit, of type {} and {} bits", data_type.name(), coding.bits);
        return Err(refuse(Rule::T6, found));
    }
    let coefficient_type = CoefficientType::try_from(coding.coefficients).map_err(|_| {
        refuse(Rule::T2, format!("has coefficients of type {}", coding.coefficients))
    })?;
    let cols = match elements.checked_rem(coding.rows) {
        Some(0) => elements / coding.rows,
        _ => 0,
    };
    if cols == 0 || cols > MAX_COLUMNS {
        let found = format!("has {} rows for {elements} elements", coding.rows);
        return Err(refuse(Rule::T7, found));
    }
    if coding.group != 0 && (coding.group % GROUP_COLUMNS != 0 || coding.group >= cols) {
        let found = format!("has groups of {} in {cols} columns", coding.group);
        return Err(refuse(Rule::T8, found));
    }
    let group = if coding.group == 0 { cols } else { coding.group };
    let groups = cols.div_ceil(group);
    let size = coefficient_size(coefficient_type);
    exact(
        multi_bit_bytes(coding.rows, cols, coding.bits, groups, size as u64, coding.offset)
            .ok_or_else(too_large)?,
    )?;

    // The section holds all that follows, so no size below can overflow.
    let (bits, rows, cols) = (coding.bits as usize, coding.rows as usize, cols as usize);
    let words = elements.div_ceil(WORD_BITS) as usize;
    let (planes, numbers) = bytes.split_at(bits * words * WORD_BYTES);
    let (coefficients, offsets) = numbers.split_at(rows * groups as usize * bits * size);
    let tail = elements % WORD_BITS;
    if tail != 0 {
        let beyond = u64::MAX << tail;
        for (plane, words) in planes.chunks_exact(words * WORD_BYTES).enumerate() {
            let last = LittleEndian::read_u64(&words[words.len() - WORD_BYTES..]);
            if last & beyond != 0 {
                let found = format!("has bits beyond its last element in plane {plane}");
                return Err(refuse(Rule::T9, found));
            }
        }
    }
    if !(0..numbers.len() / size).all(|i| number(coefficient_type, numbers, i).is_finite()) {
        return Err(refuse(Rule::T10, String::from("has a coefficient that is not finite")));
    }
    Ok(TensorView::MultiBit(MultiBitView {
        dims,
        bits,
        rows,
        cols,
        group: group as usize,
        has_offset: coding.offset,
        coefficient_type,
        planes,
        coefficients,
        offsets,
    }))
}

/// Checks that a weight stored as plain elements is finite.
pub(crate) fn check_finite(view: &TensorView<'_>, name: &str) -> Result<(), Error> {
    match view {
        TensorView::Plain(plain) if !plain.f32s().all(f32::is_finite) => {
            let detail = format!("the weight {} has an element that is not finite", Quoted(name));
            Err(Error::invalid(Rule::T11, detail))
        }
        _ => Ok(()),
    }
}
