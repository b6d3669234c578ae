//! The codes of a matrix as bits of words, for products that count them.

use rayon::prelude::*;

use super::Tracked;

const WORD: usize = BitCodes::WORD;
const LANES: usize = BitCodes::LANES;

/// The codes of a matrix, rows in lanes: those behind the last row have coefficients of 0.
#[derive(Clone, Debug, PartialEq)]
pub struct BitCodes {
    /// Rows of the matrix.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Codes a weight.
    pub planes: usize,
    /// Words of a group's columns; of the last one there may be fewer.
    pub words_of_group: usize,
    /// `[row / LANES][plane][column / WORD]`: a bit is set for +1; none behind the last column.
    pub words: Vec<[u32; LANES]>,
    /// `[row / LANES][group][plane]`
    pub coefficients: Vec<[f32; LANES]>,
}

impl BitCodes {
    /// Columns of a word.
    pub const WORD: usize = 32;
    /// Rows whose words lie together, a lane each.
    pub const LANES: usize = 16;
}

impl Tracked {
    /// The codes as bits, unless groups have offsets or begin within words.
    pub fn bits(&self) -> Option<BitCodes> {
        let Tracked { rows, cols, group, planes, .. } = *self;
        if self.offsets.is_some() || group < cols && group % WORD != 0 || cols == 0 {
            return None;
        }
        let of_row = cols.div_ceil(WORD);
        let groups = cols.div_ceil(group);
        let blocks = rows.div_ceil(LANES);
        let mut words = vec![[0; LANES]; blocks * of_row * planes];
        let of_blocks = words.par_chunks_mut(of_row * planes);
        of_blocks.zip(self.codes.par_chunks(LANES * cols)).with_min_len(4).for_each(
            |(words, codes)| {
                for (lane, codes) in codes.chunks(cols).enumerate() {
                    for (plane, words) in words.chunks_mut(of_row).enumerate() {
                        for (word, codes) in words.iter_mut().zip(codes.chunks(WORD)) {
                            word[lane] = gathered(codes, plane);
                        }
                    }
                }
            },
        );
        let mut coefficients = vec![[0.0; LANES]; blocks * groups * planes];
        for (row, of_row) in self.coefficients.chunks(groups).enumerate() {
            let block = &mut coefficients[row / LANES * groups * planes..][..groups * planes];
            for (to, a) in block.chunks_mut(planes).zip(of_row) {
                to.iter_mut().zip(a).for_each(|(to, &a)| to[row % LANES] = a as f32);
            }
        }
        let words_of_group = group.div_ceil(WORD);
        Some(BitCodes { rows, cols, planes, words_of_group, words, coefficients })
    }
}

/// One bit of each of up to 32 codes.
fn gathered(codes: &[u8], plane: usize) -> u32 {
    let (eights, rest) = codes.as_chunks::<8>();
    let mut word = 0;
    for (at, eight) in eights.iter().enumerate() {
        let bits = u64::from_le_bytes(*eight) >> plane & 0x0101_0101_0101_0101;
        // Byte i's bit is moved to bit 56 + i; no two meet.
        let byte = bits.wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= (byte as u32) << (8 * at);
    }
    for (at, code) in rest.iter().enumerate() {
        word |= u32::from(code >> plane & 1) << (8 * eights.len() + at);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::super::tests::{coded, weights};
    use super::*;
    use crate::quant::QuantizedMatrix;

    #[test]
    fn bits_are_those_of_the_codes() {
        for (bits, group, cols) in [(1, 0, 70), (2, 32, 75), (3, 0, 64), (2, 0, 9)] {
            let rows = 21;
            let matrix = coded(&weights(rows * cols), cols, bits, group);
            let found = Tracked::new(&matrix).bits().unwrap();
            let (planes, words) = (usize::from(bits), cols.div_ceil(WORD));
            let mut decoded = vec![0.0; cols];
            for row in 0..rows {
                matrix.decode_row(row, &mut decoded);
                let (block, lane) = (row / LANES, row % LANES);
                for (col, &expected) in decoded.iter().enumerate() {
                    let word = col / WORD;
                    let group = block * matrix.groups() + word / found.words_of_group;
                    let terms = (0..planes).map(|plane| {
                        let bits = found.words[(block * planes + plane) * words + word][lane];
                        let a = found.coefficients[group * planes + plane][lane];
                        if bits >> (col % WORD) & 1 == 1 { a } else { -a }
                    });
                    assert_eq!(terms.reduce(|a, b| a + b), Some(expected), "{row} {col}");
                }
            }
            let behind = found.words[(rows / LANES + 1) * words * planes - 1];
            assert!(behind.iter().all(|word| cols % WORD == 0 || word >> (cols % WORD) == 0));
        }
    }

    #[test]
    fn groups_within_words_have_none() {
        let matrix = coded(&weights(4 * 70), 70, 2, 24);
        assert_eq!(Tracked::new(&matrix).bits(), None);
    }

    #[test]
    fn groups_with_offsets_have_none() {
        let matrix = coded(&weights(4 * 70), 70, 2, 32);
        assert!(Tracked::new(&matrix).bits().is_some());
        let shifted = QuantizedMatrix { offsets: Some(vec![0.5; 12]), ..matrix };
        assert_eq!(Tracked::new(&shifted).bits(), None);
    }
}
