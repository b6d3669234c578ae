//! Lanes of AVX2 with FMA: two registers.

use core::arch::x86_64::*;

use crate::kernels::lanes::{Lanes, Line, Tables, by_byte};
use crate::kernels::together::Floats;

/// Proof that the CPU has AVX2, FMA and POPCNT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU must have AVX2, FMA and POPCNT.
    #[inline(always)]
    pub(super) unsafe fn new() -> Avx2 {
        Avx2(())
    }

    // Halves of operations. Functions, not closures, so that they are always inlined.

    #[inline(always)]
    fn canonical_half(self, a: __m256) -> __m256 {
        intrinsic!(_mm256_blendv_ps(
            a,
            _mm256_set1_ps(crate::kernels::NAN),
            _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)
        ))
    }

    #[inline(always)]
    fn mask_half(self, bits: u16, lane: __m256i) -> __m256 {
        intrinsic!({
            let bits = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits)), lane);
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, lane))
        })
    }

    /// The sum of four 64-bit integers, modulo 2^32.
    #[inline(always)]
    fn sum_quarters(self, a: __m256i) -> u32 {
        intrinsic!({
            let sums = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            (_mm_cvtsi128_si32(sums) as u32).wrapping_add(_mm_extract_epi32::<2>(sums) as u32)
        })
    }

    /// Two tables: of the four that is dword `first` of both halves of `q`, integers modulo 256, and
    /// of the next. `least` has, in the same dwords, the entries that select nothing positive.
    #[inline(always)]
    fn two_tables(self, q: __m256i, least: __m256i, first: i8) -> __m256i {
        intrinsic!({
            let by_half =
                _mm256_setr_m128i(_mm_set1_epi8(4 * first), _mm_set1_epi8(4 * (first + 1)));
            let mut entries = _mm256_shuffle_epi8(least, by_half);
            for bit in 0..4u8 {
                // An index with its highest bit set selects 0.
                let [low, high] = match bit {
                    0 => [0x0080_0080_0080_0080; 2],
                    1 => [0x0000_8080_0000_8080; 2],
                    2 => [0x0000_0000_8080_8080; 2],
                    _ => [0x8080_8080_8080_8080u64 as i64, 0],
                };
                let without = _mm256_setr_epi64x(low, high, low, high);
                let at = _mm256_add_epi8(by_half, _mm256_set1_epi8(bit as i8));
                let terms = _mm256_shuffle_epi8(q, _mm256_or_si256(at, without));
                entries = _mm256_add_epi8(entries, terms);
            }
            entries
        })
    }

    #[inline(always)]
    fn add_counts_half(self, counts: __m256i, a: __m256i) -> __m256i {
        intrinsic!({
            let low = _mm256_set1_epi8(15);
            let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
            ));
            let even = _mm256_shuffle_epi8(table, _mm256_and_si256(a, low));
            let odd = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32::<4>(a), low));
            _mm256_add_epi8(counts, _mm256_add_epi8(even, odd))
        })
    }

    #[inline(always)]
    fn fold_counts_half(self, counts: __m256i) -> __m256i {
        intrinsic!(_mm256_madd_epi16(
            _mm256_maddubs_epi16(counts, _mm256_set1_epi8(1)),
            _mm256_set1_epi16(1)
        ))
    }

    #[inline(always)]
    fn difference_half(self, a: __m256i, b: __m256i) -> __m256 {
        intrinsic!(_mm256_cvtepi32_ps(_mm256_sub_epi32(a, b)))
    }

    /// Eight 32-bit sums of the halves of sixteen 16-bit sums.
    #[inline(always)]
    fn fold_sum_half(self, sum: __m256i) -> __m256i {
        intrinsic!(_mm256_add_epi32(
            _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sum)),
            _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(sum))
        ))
    }
}

impl Lanes for Avx2 {
    type F = [__m256; 2];
    type U = [__m256i; 2];
    type M = [__m256; 2];
    /// Low halves of bytes 0 and 1, of bytes 2 and 3, then high halves.
    type Index = [__m256i; 4];
    /// 16-bit sums of entry pairs `first + 256 last`, of rows 0 to 7 and 8 to 15, and of the last
    /// rows' entries alone. The halves of a register hold different columns of the same rows.
    type Sum = [__m256i; 2];
    type Short = Self::Sum;

    const MANY_REGISTERS: bool = false;
    const COUNT_STEPS: usize = 31;
    const SUM_STEPS: usize = 64;

    /// Each half of a register then needs one table.
    #[inline(always)]
    fn arrange(line: Line) -> Line {
        by_byte(line)
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a prefetch reads nothing that a program can see and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        intrinsic!([_mm256_set1_ps(value); 2])
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> Self::F {
        let (low, high) = values.split_at(8);
        // SAFETY: `self` proves the features; each half is the 32 bytes read.
        unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
    }

    #[inline(always)]
    fn store(self, a: Self::F, to: &mut [f32; 16]) {
        let (low, high) = to.split_at_mut(8);
        // SAFETY: `self` proves the features; each half is the 32 bytes written.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), a[0]);
            _mm256_storeu_ps(high.as_mut_ptr(), a[1]);
        }
    }

    #[inline(always)]
    fn store_across(self, a: [Self::F; 4], to: &mut [f32], stride: usize) {
        let to = to[..stride.saturating_mul(15).saturating_add(4)].as_mut_ptr();
        for half in 0..2 {
            // Of each quarter, rows and columns are exchanged: quarter k of number j is of lane
            // 8 half + 4 k + j.
            let across = intrinsic!({
                let [a, b, c, d] = [a[0][half], a[1][half], a[2][half], a[3][half]];
                let low = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
                let high = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
                [
                    _mm256_shuffle_ps::<0x44>(low[0], low[1]),
                    _mm256_shuffle_ps::<0xee>(low[0], low[1]),
                    _mm256_shuffle_ps::<0x44>(high[0], high[1]),
                    _mm256_shuffle_ps::<0xee>(high[0], high[1]),
                ]
            });
            for (j, across) in across.into_iter().enumerate() {
                let lane = 8 * half + j;
                // SAFETY: `self` proves the features; lane i is written to `i * stride` and the next
                // three, of which the last is `15 * stride + 3`, within the slice.
                unsafe {
                    _mm_storeu_ps(to.add(lane * stride), _mm256_castps256_ps128(across));
                    _mm_storeu_ps(to.add((lane + 4) * stride), _mm256_extractf128_ps::<1>(across));
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        intrinsic!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        intrinsic!({
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        })
    }

    #[inline(always)]
    fn canonical(self, a: Self::F) -> Self::F {
        [self.canonical_half(a[0]), self.canonical_half(a[1])]
    }

    #[inline(always)]
    fn at_least(self, a: Self::F, b: Self::F) -> Self::M {
        intrinsic!([
            _mm256_cmp_ps::<_CMP_GE_OQ>(a[0], b[0]),
            _mm256_cmp_ps::<_CMP_GE_OQ>(a[1], b[1])
        ])
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> Self::M {
        let low = intrinsic!(_mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128));
        let high = intrinsic!(_mm256_slli_epi32::<8>(low));
        [self.mask_half(bits, low), self.mask_half(bits, high)]
    }

    #[inline(always)]
    fn bits(self, mask: Self::M) -> u16 {
        intrinsic!((_mm256_movemask_ps(mask[0]) | (_mm256_movemask_ps(mask[1]) << 8)) as u16)
    }

    #[inline(always)]
    fn add_where(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F {
        // Adding +0 changes no number but -0, which `a` is not.
        intrinsic!([
            _mm256_add_ps(a[0], _mm256_and_ps(mask[0], b[0])),
            _mm256_add_ps(a[1], _mm256_and_ps(mask[1], b[1]))
        ])
    }

    #[inline(always)]
    fn splat_bits(self, value: u32) -> Self::U {
        intrinsic!([_mm256_set1_epi32(value as i32); 2])
    }

    #[inline(always)]
    fn load_bits(self, line: &Line) -> Self::U {
        let (low, high) = line.0.split_at(8);
        // SAFETY: `self` proves the features; each half is the 32 bytes read, and a line is
        // aligned to 64 bytes.
        unsafe { [_mm256_load_si256(low.as_ptr().cast()), _mm256_load_si256(high.as_ptr().cast())] }
    }

    #[inline(always)]
    fn xor(self, a: Self::U, b: Self::U) -> Self::U {
        intrinsic!([_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])])
    }

    #[inline(always)]
    fn xor3(self, a: Self::U, b: Self::U, c: Self::U) -> Self::U {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn carry(self, sum: Self::U, ones: Self::U, first: Self::U) -> Self::U {
        let differ = self.xor(sum, ones);
        let other = self.xor(ones, first);
        let change = intrinsic!([
            _mm256_and_si256(differ[0], other[0]),
            _mm256_and_si256(differ[1], other[1])
        ]);
        self.xor(first, change)
    }

    /// Counts are kept a byte each: at most 8 a step, so they hold [`super::super::lanes`]'s
    /// `COUNT_STEPS`.
    #[inline(always)]
    fn add_counts(self, counts: Self::U, a: Self::U) -> Self::U {
        [self.add_counts_half(counts[0], a[0]), self.add_counts_half(counts[1], a[1])]
    }

    #[inline(always)]
    fn fold_counts(self, counts: Self::U) -> Self::U {
        [self.fold_counts_half(counts[0]), self.fold_counts_half(counts[1])]
    }

    #[inline(always)]
    fn add_integers(self, a: Self::U, b: Self::U) -> Self::U {
        intrinsic!([_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])])
    }

    #[inline(always)]
    fn less_twice(self, n: u32, a: Self::U) -> Self::F {
        let n = intrinsic!(_mm256_set1_epi32(n as i32));
        let [low, high] = self.add_integers(a, a);
        [self.difference_half(n, low), self.difference_half(n, high)]
    }

    #[inline(always)]
    fn twice_less(self, a: Self::U, n: u32) -> Self::F {
        let n = intrinsic!(_mm256_set1_epi32(n as i32));
        let [low, high] = self.add_integers(a, a);
        [self.difference_half(low, n), self.difference_half(high, n)]
    }

    #[inline(always)]
    fn tabulate(self, x: &[[f32; 32]], by: f32, tables: &mut [Tables]) -> [u32; 2] {
        let mut sums = intrinsic!([_mm256_setzero_si256(); 2]);
        for (x, tables) in x.iter().zip(tables) {
            let mut integers = intrinsic!([_mm256_setzero_si256(); 4]);
            for (integers, x) in integers.iter_mut().zip(x.as_chunks::<8>().0) {
                // SAFETY: `self` proves the features; the chunk is the 32 bytes read.
                let x = unsafe { _mm256_loadu_ps(x.as_ptr()) };
                *integers = intrinsic!(_mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(by))));
            }
            let (positive, negative, least) = intrinsic!({
                // Packing takes fours in turns to the halves: 0, 2, 4, 6 and 1, 3, 5, 7.
                let first = _mm256_packs_epi32(integers[0], integers[1]);
                let second = _mm256_packs_epi32(integers[2], integers[3]);
                let zero = _mm256_setzero_si256();
                let positive = _mm256_packus_epi16(first, second);
                let negative = _mm256_packus_epi16(
                    _mm256_sub_epi16(zero, first),
                    _mm256_sub_epi16(zero, second),
                );
                let pairs = _mm256_maddubs_epi16(negative, _mm256_set1_epi8(1));
                (positive, negative, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            });
            let q = intrinsic!(_mm256_sub_epi8(positive, negative));
            for (half, tables) in tables.0.as_chunks_mut::<64>().0.iter_mut().enumerate() {
                let (q, least) = intrinsic!(if half == 0 {
                    (
                        _mm256_permute2x128_si256::<0x00>(q, q),
                        _mm256_permute2x128_si256::<0x00>(least, least),
                    )
                } else {
                    (
                        _mm256_permute2x128_si256::<0x11>(q, q),
                        _mm256_permute2x128_si256::<0x11>(least, least),
                    )
                });
                for (pair, tables) in tables.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                    let entries = self.two_tables(q, least, 2 * pair as i8);
                    // SAFETY: `self` proves the features; the chunk is the 32 bytes written.
                    unsafe { _mm256_storeu_si256(tables.as_mut_ptr().cast(), entries) };
                }
            }
            for (sum, bytes) in sums.iter_mut().zip([positive, negative]) {
                *sum = intrinsic!({
                    let eights = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
                    _mm256_add_epi64(*sum, eights)
                });
            }
        }
        [self.sum_quarters(sums[0]), self.sum_quarters(sums[1])]
    }

    #[inline(always)]
    fn index(self, line: &Line) -> Self::Index {
        let [first, second] = self.load_bits(line);
        intrinsic!({
            let low = _mm256_set1_epi8(15);
            [
                _mm256_and_si256(first, low),
                _mm256_and_si256(second, low),
                _mm256_and_si256(_mm256_srli_epi32::<4>(first), low),
                _mm256_and_si256(_mm256_srli_epi32::<4>(second), low),
            ]
        })
    }

    #[inline(always)]
    fn zero_sum(self) -> Self::Sum {
        intrinsic!([_mm256_setzero_si256(); 2])
    }

    /// A step adds at most 4 * 255 to each sum that must not wrap, so they hold
    /// [`super::super::lanes`]'s `SUM_STEPS`. The sum of pairs may wrap: only its low 16 bits
    /// less 256 times the other sum are used.
    #[inline(always)]
    fn look_up(self, sum: Self::Sum, index: Self::Index, tables: &Tables) -> Self::Sum {
        let [mut pairs, mut last] = sum;
        for (index, tables) in index.into_iter().zip(tables.0.as_chunks::<32>().0) {
            // SAFETY: `self` proves the features; the chunk is the 32 bytes read, and 32-byte
            // chunks of the tables are aligned to 32.
            let tables = unsafe { _mm256_load_si256(tables.as_ptr().cast()) };
            intrinsic!({
                let entries = _mm256_shuffle_epi8(tables, index);
                pairs = _mm256_add_epi16(pairs, entries);
                last = _mm256_add_epi16(last, _mm256_srli_epi16::<8>(entries));
            });
        }
        [pairs, last]
    }

    #[inline(always)]
    fn fold_sum(self, sum: Self::Sum) -> Self::U {
        let [pairs, last] = sum;
        let first = intrinsic!(_mm256_sub_epi16(pairs, _mm256_slli_epi16::<8>(last)));
        [self.fold_sum_half(first), self.fold_sum_half(last)]
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
        let [pairs, last] = sum;
        intrinsic!({
            let first = _mm256_sub_epi16(pairs, _mm256_slli_epi16::<8>(last));
            // The first rows in one half, the last rows in the other.
            let sums = _mm256_add_epi16(
                _mm256_permute2x128_si256::<0x20>(first, last),
                _mm256_permute2x128_si256::<0x31>(first, last),
            );
            let n = _mm256_set1_epi16(n as i16);
            let sums = _mm256_sub_epi16(_mm256_add_epi16(sums, sums), n);
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums))),
                _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(sums))),
            ]
        })
    }
}

impl Floats for Avx2 {
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn with_sign(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!({
            let sign = _mm256_set1_ps(-0.0);
            [
                _mm256_or_ps(_mm256_andnot_ps(sign, a[0]), _mm256_and_ps(sign, b[0])),
                _mm256_or_ps(_mm256_andnot_ps(sign, a[1]), _mm256_and_ps(sign, b[1])),
            ]
        })
    }

    #[inline(always)]
    fn by_sign(self, sign: Self::F, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!([_mm256_blendv_ps(b[0], a[0], sign[0]), _mm256_blendv_ps(b[1], a[1], sign[1])])
    }

    #[inline(always)]
    fn shift_to_exponent(self, a: Self::F) -> Self::F {
        intrinsic!([
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a[0]))),
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a[1])))
        ])
    }
}
