//! Sixteen 32-bit lanes: what kernels are written in, once for all instruction sets.

use super::fma::fma;

/// The NaN that results hold, whatever the cause.
pub(crate) const NAN: f32 = f32::from_bits(0x7fc0_0000);

/// One cache line: a 32-bit word for each of the sixteen rows of a block.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; 16]);

/// Tables of the eight fours of columns that a 32-bit word covers, sixteen entries each, in the order
/// 0, 2, 4, 6, 1, 3, 5, 7: those that low halves of bytes select come first. An entry is the sum of
/// the magnitudes whose sign is that of its bit.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Tables(pub(crate) [u8; 128]);

impl Tables {
    /// Tables of zeros.
    pub(crate) const ZERO: Tables = Tables([0; 128]);
}

/// Byte 0 of all rows, then byte 1 of all rows and so on. Rows 0 to 7 have even places, 8 to 15 odd ones:
/// 16-bit sums of either are in order.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
#[inline(always)]
pub(super) fn by_byte(Line(words): Line) -> Line {
    // Of each position and row below 8, its byte and that of the row 8 below.
    let mut pairs = [[0; 8]; 4];
    for (position, pairs) in pairs.iter_mut().enumerate() {
        for (row, pair) in pairs.iter_mut().enumerate() {
            let byte = |row: usize| words[row] >> (8 * position) & 0xff;
            *pair = byte(row) | byte(row + 8) << 8;
        }
    }
    Line(core::array::from_fn(|word| {
        let pairs = &pairs[word / 4][word % 4 * 2..][..2];
        pairs[0] | pairs[1] << 16
    }))
}

/// The largest sum of the quarters of four magnitudes, as bits: those of infinity or more if any is
/// not finite. Quarters keep sums of finite numbers finite.
#[inline(always)]
pub(crate) fn largest_four(x: &[f32]) -> u32 {
    let bits = |four: [f32; 4]| {
        let [a, b, c, d] = four.map(|x| f32::from_bits(x.to_bits() & 0x7fff_ffff) * 0.25);
        (((a + b) + c) + d).to_bits() & 0x7fff_ffff
    };
    let (fours, rest) = x.as_chunks::<4>();
    let mut tail = [0.0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    let mut largest = bits(tail);
    for four in fours {
        largest = largest.max(bits(*four));
    }
    largest
}

/// Words of which twice the sum of entries fits in 16 bits with a sign.
pub(crate) const SHORT: usize = 8;

/// Operations on sixteen lanes. A value of an implementing type is proof that the CPU has the
/// instructions, so the operations are safe. All implementations give the same bits.
pub(crate) trait Lanes: Copy {
    /// Sixteen `f32`.
    type F: Copy;
    /// Sixteen `u32`.
    type U: Copy;
    /// Sixteen truth values.
    type M: Copy;
    /// Table indices made of one word of weights a row.
    type Index: Copy;
    /// Sums of table entries.
    type Sum: Copy;
    /// Twice the sums of table entries, less a number.
    type Short: Copy;

    /// Whether about ten accumulators and their operands fit in registers; else about two do.
    const MANY_REGISTERS: bool;

    /// Most steps of `add_counts` before `fold_counts`.
    const COUNT_STEPS: usize;
    /// Most steps of `look_up` before `fold_sum`.
    const SUM_STEPS: usize;
    /// Most steps of `look_up_short`, at least [`SHORT`].
    const SHORT: usize = SHORT;

    /// Rearranges a word a row to the order of bytes that `index` wants.
    fn arrange(line: Line) -> Line;

    /// Asks for a cache line that is soon needed; the address need not be valid.
    fn prefetch(self, address: *const u8);

    fn splat(self, value: f32) -> Self::F;
    fn load(self, values: &[f32; 16]) -> Self::F;
    fn store(self, a: Self::F, to: &mut [f32; 16]);
    /// Writes lane i of the four to `to[i * stride..][..4]`; panics where `to` ends before.
    fn store_across(self, a: [Self::F; 4], to: &mut [f32], stride: usize);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// Each NaN becomes the canonical one.
    fn canonical(self, a: Self::F) -> Self::F;
    /// `a >= b`
    fn at_least(self, a: Self::F, b: Self::F) -> Self::M;
    /// The truth values that are bits of an integer, lane 0 the lowest.
    fn mask(self, bits: u16) -> Self::M;
    fn bits(self, mask: Self::M) -> u16;
    /// `a + b` where the mask holds, else `a`; `a` is never -0.
    fn add_where(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    fn splat_bits(self, value: u32) -> Self::U;
    fn load_bits(self, line: &Line) -> Self::U;
    fn xor(self, a: Self::U, b: Self::U) -> Self::U;
    fn xor3(self, a: Self::U, b: Self::U, c: Self::U) -> Self::U;
    /// `first` where `sum` equals `ones`, else `ones`: the carry of an addition whose other two
    /// terms differ where `sum` and `ones` do.
    fn carry(self, sum: Self::U, ones: Self::U, first: Self::U) -> Self::U;
    /// Adds the number of bits set in each lane of `a` to counts.
    fn add_counts(self, counts: Self::U, a: Self::U) -> Self::U;
    /// Counts as integers.
    fn fold_counts(self, counts: Self::U) -> Self::U;
    fn add_integers(self, a: Self::U, b: Self::U) -> Self::U;
    /// `n - 2 a` as a float, rounded to nearest.
    fn less_twice(self, n: u32, a: Self::U) -> Self::F;
    /// `2 a - n` as a float, rounded to nearest.
    fn twice_less(self, a: Self::U, n: u32) -> Self::F;

    /// As [`largest_four`].
    #[inline(always)]
    fn largest_four(self, x: &[f32]) -> u32 {
        largest_four(x)
    }
    /// Makes the tables, as many as there are words, of the integers `x * by`, rounded half to even, whose
    /// magnitudes sum to at most 255 in any four. Gives the sums of the positive ones and of the others' magnitudes.
    fn tabulate(self, x: &[[f32; 32]], by: f32, tables: &mut [Tables]) -> [u32; 2];
    fn index(self, line: &Line) -> Self::Index;
    fn zero_sum(self) -> Self::Sum;
    /// Adds the eight entries that each row selects.
    fn look_up(self, sum: Self::Sum, index: Self::Index, tables: &Tables) -> Self::Sum;
    /// Sums as integers.
    fn fold_sum(self, sum: Self::Sum) -> Self::U;
    /// A sum of nothing, less `n`.
    fn less_short(self, n: u32) -> Self::Short;
    /// Adds twice the eight entries that each row selects.
    fn look_up_short(self, sum: Self::Short, index: Self::Index, tables: &Tables) -> Self::Short;
    /// The sum as a float, which is given once more what it was begun with.
    fn short(self, sum: Self::Short, n: u32) -> Self::F;
}

/// Plain code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

#[inline(always)]
fn map<T: Copy, R: Copy + Default>(a: [T; 16], f: impl Fn(T) -> R) -> [R; 16] {
    let mut out = [R::default(); 16];
    for (to, a) in out.iter_mut().zip(a) {
        *to = f(a);
    }
    out
}

#[inline(always)]
fn zip<T: Copy, R: Copy + Default>(a: [T; 16], b: [T; 16], f: impl Fn(T, T) -> R) -> [R; 16] {
    let mut out = [R::default(); 16];
    for (to, (a, b)) in out.iter_mut().zip(a.into_iter().zip(b)) {
        *to = f(a, b);
    }
    out
}

impl Lanes for Portable {
    type F = [f32; 16];
    type U = [u32; 16];
    type M = u16;
    type Index = [u32; 16];
    type Sum = [u32; 16];
    type Short = [u32; 16];

    const MANY_REGISTERS: bool = false;
    const COUNT_STEPS: usize = usize::MAX;
    const SUM_STEPS: usize = usize::MAX;

    #[inline(always)]
    fn arrange(line: Line) -> Line {
        line
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; 16]
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> Self::F {
        *values
    }

    #[inline(always)]
    fn store(self, a: Self::F, to: &mut [f32; 16]) {
        *to = a;
    }

    #[inline(always)]
    fn store_across(self, a: [Self::F; 4], to: &mut [f32], stride: usize) {
        for lane in 0..16 {
            to[lane * stride..][..4].copy_from_slice(&a.map(|a| a[lane]));
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        let mut sums = c;
        for (sum, (a, b)) in sums.iter_mut().zip(a.into_iter().zip(b)) {
            *sum = fma(a, b, *sum);
        }
        sums
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        map(a, |a| f32::from_bits(a.to_bits() & 0x7fff_ffff))
    }

    #[inline(always)]
    fn canonical(self, a: Self::F) -> Self::F {
        map(a, |a| if a.is_nan() { NAN } else { a })
    }

    #[inline(always)]
    fn at_least(self, a: Self::F, b: Self::F) -> Self::M {
        let mut bits = 0;
        for lane in 0..16 {
            bits |= u16::from(a[lane] >= b[lane]) << lane;
        }
        bits
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> Self::M {
        bits
    }

    #[inline(always)]
    fn bits(self, mask: Self::M) -> u16 {
        mask
    }

    #[inline(always)]
    fn add_where(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F {
        let mut sum = a;
        for lane in 0..16 {
            if mask >> lane & 1 == 1 {
                sum[lane] += b[lane];
            }
        }
        sum
    }

    #[inline(always)]
    fn splat_bits(self, value: u32) -> Self::U {
        [value; 16]
    }

    #[inline(always)]
    fn load_bits(self, line: &Line) -> Self::U {
        line.0
    }

    #[inline(always)]
    fn xor(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    fn xor3(self, a: Self::U, b: Self::U, c: Self::U) -> Self::U {
        self.xor(self.xor(a, b), c)
    }

    #[inline(always)]
    fn carry(self, sum: Self::U, ones: Self::U, first: Self::U) -> Self::U {
        let differ = self.xor(sum, ones);
        self.xor(first, zip(differ, self.xor(ones, first), |a, b| a & b))
    }

    #[inline(always)]
    fn add_counts(self, counts: Self::U, a: Self::U) -> Self::U {
        zip(counts, a, |counts, a| counts + a.count_ones())
    }

    #[inline(always)]
    fn fold_counts(self, counts: Self::U) -> Self::U {
        counts
    }

    #[inline(always)]
    fn add_integers(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u32::wrapping_add)
    }

    #[inline(always)]
    fn less_twice(self, n: u32, a: Self::U) -> Self::F {
        map(a, |a| n.wrapping_sub(2 * a) as i32 as f32)
    }

    #[inline(always)]
    fn twice_less(self, a: Self::U, n: u32) -> Self::F {
        map(a, |a| (2 * a).wrapping_sub(n) as i32 as f32)
    }

    #[inline(always)]
    fn tabulate(self, x: &[[f32; 32]], by: f32, tables: &mut [Tables]) -> [u32; 2] {
        let mut sums = [0; 2];
        for (x, tables) in x.iter().zip(tables) {
            for (four, x) in x.as_chunks::<4>().0.iter().enumerate() {
                // Adding 1.5 * 2^23 leaves no bits for a fraction.
                let integers = x.map(|x| ((x * by + 12_582_912.0) - 12_582_912.0) as i32);
                let place = four / 2 + four % 2 * 4;
                for (signs, entry) in tables.0[16 * place..][..16].iter_mut().enumerate() {
                    let selected = integers
                        .iter()
                        .enumerate()
                        .filter(|(i, q)| if signs >> i & 1 == 1 { **q > 0 } else { **q < 0 });
                    *entry = selected.map(|(_, q)| q.unsigned_abs() as u8).sum();
                }
                for q in integers {
                    sums[usize::from(q < 0)] += q.unsigned_abs();
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn index(self, line: &Line) -> Self::Index {
        line.0
    }

    #[inline(always)]
    fn zero_sum(self) -> Self::Sum {
        [0; 16]
    }

    #[inline(always)]
    fn look_up(self, sum: Self::Sum, index: Self::Index, tables: &Tables) -> Self::Sum {
        let mut sum = sum;
        let (low, high) = tables.0.split_at(64);
        for (sum, word) in sum.iter_mut().zip(index) {
            for (byte, (low, high)) in low.chunks_exact(16).zip(high.chunks_exact(16)).enumerate() {
                let pair = word >> (8 * byte);
                *sum += u32::from(low[(pair & 15) as usize]);
                *sum += u32::from(high[(pair >> 4 & 15) as usize]);
            }
        }
        sum
    }

    #[inline(always)]
    fn fold_sum(self, sum: Self::Sum) -> Self::U {
        sum
    }

    #[inline(always)]
    fn less_short(self, _: u32) -> Self::Short {
        self.zero_sum()
    }

    #[inline(always)]
    fn look_up_short(self, sum: Self::Short, index: Self::Index, tables: &Tables) -> Self::Short {
        self.look_up(sum, index, tables)
    }

    #[inline(always)]
    fn short(self, sum: Self::Short, n: u32) -> Self::F {
        self.twice_less(sum, n)
    }
}
