//! Gather: entries of a tensor or of a multi-bit table, chosen by indices.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use amq_format::graph::{ABSENT, Gather, Node};
use amq_format::{MultiBitView, TensorView};

use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes};
use crate::error::{Fault, ensure};
use crate::product::Coded;
use crate::view::{Data, with_same_type};
use crate::weights::Constants;

/// A multi-bit matrix whose rows are decoded when they are looked up.
pub(crate) enum Table {
    Loaded(Loaded),
    InFile(MultiBitView<'static>),
}

/// A table, laid out anew.
pub(crate) struct Loaded {
    rows: usize,
    cols: usize,
    bits: usize,
    group: usize,
    /// `[row][plane][word]`: what one lookup reads lies together.
    planes: Vec<u64>,
    /// `[row][group][plane]`
    coefficients: Vec<f32>,
    /// `[row][group]`
    offsets: Option<Vec<f32>>,
}

impl Table {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2] {
        match self {
            Table::Loaded(table) => [table.rows, table.cols],
            Table::InFile(view) => [view.rows, view.cols],
        }
    }
}

impl Loaded {
    pub(super) fn new(view: &MultiBitView<'_>) -> Loaded {
        let MultiBitView { rows, cols, bits, group, .. } = *view;
        let words = view.words_per_row();
        let mut planes = Vec::with_capacity(rows * bits * words);
        for row in 0..rows {
            for plane in 0..bits {
                planes.extend((0..words).map(|word| view.word(plane, row, word)));
            }
        }
        let mut scales = Coded::default();
        scales.bring_scales(view, 0..rows);
        let Coded { coefficients, offsets, .. } = scales;
        let offsets = view.has_offset.then_some(offsets);
        Loaded { rows, cols, bits, group, planes, coefficients, offsets }
    }

    /// Writes a row's weights, `((a_0 b_0 + a_1 b_1) + ..) + c`.
    #[inline(always)]
    fn decode(&self, row: usize, out: &mut [f32]) {
        let Loaded { cols, bits, group, .. } = *self;
        let (words, groups) = (cols.div_ceil(64), cols.div_ceil(group));
        let planes = &self.planes[row * bits * words..(row + 1) * bits * words];
        for (part, out) in out.chunks_mut(group).enumerate() {
            let at = row * groups + part;
            for (plane, &a) in self.coefficients[at * bits..(at + 1) * bits].iter().enumerate() {
                // A group begins at the first or the middle bit of a word.
                let (first, shift) = (plane * words + part * group / 64, part * group % 64);
                for (i, out) in out.chunks_mut(64).enumerate() {
                    let next = planes.get(first + i + 1).copied().unwrap_or(0);
                    let word = planes[first + i] >> shift | next << 1 << (63 - shift);
                    for (bit, out) in out.iter_mut().enumerate() {
                        // A clear bit is a code of -1, which turns the sign.
                        let sign = (!(word >> bit) as u32 & 1) << 31;
                        let term = f32::from_bits(a.to_bits() ^ sign);
                        *out = if plane == 0 { term } else { *out + term };
                    }
                }
            }
            if let Some(offsets) = &self.offsets {
                out.iter_mut().for_each(|out| *out += offsets[at]);
            }
        }
    }
}

impl Compute for Gather {
    type Kept = Option<Arc<Table>>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        let table = node.inputs.first().copied().unwrap_or(ABSENT);
        let Some(TensorView::MultiBit(view)) = constants.view(table) else { return Ok(None) };
        Ok(Some(Arc::new(match constants.in_file(table) {
            Some(TensorView::MultiBit(view)) => Table::InFile(view),
            _ => Table::Loaded(Loaded::new(&view)),
        })))
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, axis) = (shapes.input(0)?, self.axis as usize);
        if let Some(table) = kept {
            return Ok(Computation::Kernel(Box::new(Lookup(Arc::clone(table)))));
        }
        Ok(Computation::Kernel(Box::new(Entries {
            outer: x.dims[..axis].iter().product(),
            size: x.dims[axis],
            inner: x.dims[axis + 1..].iter().product(),
        })))
    }
}

/// Entry number `at` of the indices, counted from the beginning of an axis of `size` entries.
#[inline(always)]
pub(super) fn entry(indices: Data<'_>, at: usize, size: usize) -> Result<usize, Fault> {
    let index = match indices {
        Data::I64(indices) => indices[at],
        Data::I32(indices) => i64::from(indices[at]),
        _ => return Err(mismatch()),
    };
    let size = size as i64;
    let from_start = if index < 0 { index.wrapping_add(size) } else { index };
    ensure!(
        (0..size).contains(&from_start),
        "index {index} (number {at}) is out of range for {size} entries"
    );
    Ok(from_start as usize)
}

#[derive(Clone, Copy)]
struct Entries {
    outer: usize,
    size: usize,
    inner: usize,
}

impl Kernel for Entries {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let indices = call.inputs.data(1)?;
        let inner = self.inner;
        with_same_type!(call.inputs.data(0)?, call.outputs.data()?, |x, y| {
            self.each(indices, &mut |from, to| {
                y[to..to + inner].copy_from_slice(&x[from..from + inner]);
            })
        }, else Err(mismatch()))
    }
}

impl Entries {
    /// Calls with where each entry is and where it goes, for all types of elements.
    fn each(&self, indices: Data<'_>, copy: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
        let (Entries { outer, size, inner }, count) = (*self, indices.len());
        for i in 0..outer {
            for k in 0..count {
                copy((i * size + entry(indices, k, size)?) * inner, (i * count + k) * inner);
            }
        }
        Ok(())
    }
}

struct Lookup(Arc<Table>);

impl Kernel for Lookup {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let table = &*self.0;
        let indices = call.inputs.data(1)?;
        let [rows, cols] = table.shape();
        for (k, row) in call.outputs.f32()?.chunks_exact_mut(cols).enumerate() {
            let index = entry(indices, k, rows)?;
            match table {
                Table::Loaded(table) => call.target.vectorize(
                    #[inline(always)]
                    || table.decode(index, row),
                ),
                Table::InFile(view) => view.decode_row(index, row),
            }
        }
        Ok(())
    }
}
