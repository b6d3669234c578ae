//! Lanes of AVX-512: one register.

use core::arch::x86_64::*;
use core::hint::black_box;

use crate::kernels::lanes::{Lanes, Line, Tables, largest_four};
use crate::kernels::together::Floats;

/// Proof that the CPU has the features of [`crate::kernels::Isa::Avx512`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512 {
    /// What of a byte of weights selects an entry: bits 0 to 3.
    entry: __m512i,
    /// Bits 4 and 5 of an index: which of four tables its byte selects from.
    table: __m512i,
    twos: __m512i,
}

impl Avx512 {
    /// # Safety
    /// The CPU must have the features of [`crate::kernels::Isa::Avx512`].
    #[inline(always)]
    pub(super) unsafe fn new() -> Avx512 {
        let [entry, table, twos] =
            // SAFETY: the caller vouches for the features.
            [0x0f0f_0f0f, 0x3020_1000, 0x0202_0202].map(|x| unsafe { _mm512_set1_epi32(x) });
        // What the compiler knows to be constant it may load anew in each step of a loop.
        Avx512 { entry: black_box(entry), table: black_box(table), twos: black_box(twos) }
    }

    #[inline(always)]
    fn load_tables(self, tables: &Tables) -> [__m512i; 2] {
        let tables = tables.0.as_ptr();
        // SAFETY: `self` proves the features; the tables are 128 bytes, aligned to 64.
        unsafe { [_mm512_load_si512(tables.cast()), _mm512_load_si512(tables.add(64).cast())] }
    }

    /// Exchanges rows and columns of each quarter: quarter k of number j is of lane 4 k + j.
    #[inline(always)]
    fn across(self, a: [__m512; 4]) -> [__m512; 4] {
        intrinsic!({
            let low = [_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpacklo_ps(a[2], a[3])];
            let high = [_mm512_unpackhi_ps(a[0], a[1]), _mm512_unpackhi_ps(a[2], a[3])];
            [
                _mm512_shuffle_ps::<0x44>(low[0], low[1]),
                _mm512_shuffle_ps::<0xee>(low[0], low[1]),
                _mm512_shuffle_ps::<0x44>(high[0], high[1]),
                _mm512_shuffle_ps::<0xee>(high[0], high[1]),
            ]
        })
    }
}

/// Where the bytes of `tabulate` come from. Of magnitudes: those of the first and those of the second of a pair, for the four
/// signs of a four's first pair and for those of its second. Of their sums: those of first pairs and those of second
/// ones, for the sixteen signs of fours 0, 2, 4, 6, and the same of 1, 3, 5, 7.
const PLACES: [[u64; 8]; 6] = {
    // Positive magnitudes of a four; negative ones stand eight bytes on.
    let magnitudes = [0, 16, 32, 48, 4, 20, 36, 52];
    let (even, odd) = ([0, 0, 16, 16, 32, 32, 48, 48], [8, 8, 24, 24, 40, 40, 56, 56]);
    let low = [0x0302_0100_0302_0100; 2];
    let high = [0x0505_0505_0404_0404, 0x0707_0707_0606_0606];
    [
        places(magnitudes, [0x020a_020a_0008_0008; 2]),
        places(magnitudes, [0x0303_0b0b_0101_0909; 2]),
        places(even, low),
        places(even, high),
        places(odd, low),
        places(odd, high),
    ]
};

/// Eights of bytes beyond each of these.
const fn places(from: [u64; 8], eights: [u64; 2]) -> [u64; 8] {
    let mut places = [0; 8];
    let mut i = 0;
    while i < 8 {
        places[i] = from[i] * 0x0101_0101_0101_0101 + eights[i % 2];
        i += 1;
    }
    places
}

impl Lanes for Avx512 {
    type F = __m512;
    type U = __m512i;
    type M = __mmask16;
    type Index = [__m512i; 2];
    type Sum = [__m512i; 2];
    type Short = __m512i;

    const MANY_REGISTERS: bool = true;
    const COUNT_STEPS: usize = usize::MAX;
    const SUM_STEPS: usize = usize::MAX;
    // Short sums are of 32 bits as all others.
    const SHORT: usize = usize::MAX;

    #[inline(always)]
    fn arrange(line: Line) -> Line {
        line
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a prefetch reads nothing that a program can see and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        intrinsic!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> Self::F {
        // SAFETY: `self` proves the features; the reference covers the 64 bytes read.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, a: Self::F, to: &mut [f32; 16]) {
        // SAFETY: `self` proves the features; the reference covers the 64 bytes written.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn store_across(self, a: [Self::F; 4], to: &mut [f32], stride: usize) {
        let to = &mut to[..stride.saturating_mul(15).saturating_add(4)];
        let to = to.as_mut_ptr();
        for (j, across) in self.across(a).into_iter().enumerate() {
            // SAFETY: `self` proves the features; lane i is written to `i * stride` and the next three,
            // of which the last is `15 * stride + 3`, within the slice.
            unsafe {
                _mm_storeu_ps(to.add(j * stride), _mm512_castps512_ps128(across));
                _mm_storeu_ps(to.add((4 + j) * stride), _mm512_extractf32x4_ps::<1>(across));
                _mm_storeu_ps(to.add((8 + j) * stride), _mm512_extractf32x4_ps::<2>(across));
                _mm_storeu_ps(to.add((12 + j) * stride), _mm512_extractf32x4_ps::<3>(across));
            }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        intrinsic!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn canonical(self, a: Self::F) -> Self::F {
        // Classes 0 and 1 are NaNs: what is in the destination stays. Others are taken.
        intrinsic!(_mm512_fixupimm_ps::<0>(
            _mm512_set1_ps(crate::kernels::NAN),
            a,
            _mm512_set1_epi32(0x1111_1100)
        ))
    }

    #[inline(always)]
    fn at_least(self, a: Self::F, b: Self::F) -> Self::M {
        intrinsic!(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b))
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
        intrinsic!(_mm512_mask_add_ps(a, mask, a, b))
    }

    #[inline(always)]
    fn splat_bits(self, value: u32) -> Self::U {
        intrinsic!(_mm512_set1_epi32(value as i32))
    }

    #[inline(always)]
    fn load_bits(self, line: &Line) -> Self::U {
        // SAFETY: `self` proves the features; a line is 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(core::ptr::from_ref(line).cast()) }
    }

    #[inline(always)]
    fn xor(self, a: Self::U, b: Self::U) -> Self::U {
        intrinsic!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn xor3(self, a: Self::U, b: Self::U, c: Self::U) -> Self::U {
        intrinsic!(_mm512_ternarylogic_epi32::<0x96>(a, b, c))
    }

    #[inline(always)]
    fn carry(self, sum: Self::U, ones: Self::U, first: Self::U) -> Self::U {
        intrinsic!(_mm512_ternarylogic_epi32::<0x8e>(sum, ones, first))
    }

    #[inline(always)]
    fn add_counts(self, counts: Self::U, a: Self::U) -> Self::U {
        intrinsic!(_mm512_add_epi32(counts, _mm512_popcnt_epi32(a)))
    }

    #[inline(always)]
    fn fold_counts(self, counts: Self::U) -> Self::U {
        counts
    }

    #[inline(always)]
    fn add_integers(self, a: Self::U, b: Self::U) -> Self::U {
        intrinsic!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn less_twice(self, n: u32, a: Self::U) -> Self::F {
        intrinsic!({
            let twice = _mm512_add_epi32(a, a);
            _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(n as i32), twice))
        })
    }

    #[inline(always)]
    fn twice_less(self, a: Self::U, n: u32) -> Self::F {
        intrinsic!({
            let twice = _mm512_add_epi32(a, a);
            _mm512_cvtepi32_ps(_mm512_sub_epi32(twice, _mm512_set1_epi32(n as i32)))
        })
    }

    #[inline(always)]
    fn largest_four(self, x: &[f32]) -> u32 {
        let (blocks, rest) = x.as_chunks::<64>();
        let mut largest = self.splat_bits(0);
        for x in blocks {
            let mut quarters = [self.splat(0.25); 4];
            for (quarter, x) in quarters.iter_mut().zip(x.as_chunks::<16>().0) {
                *quarter = self.mul(self.abs(self.load(x)), *quarter);
            }
            let [a, b, c, d] = self.across(quarters);
            let sum = self.add(self.add(self.add(a, b), c), d);
            largest = intrinsic!({
                let bits = _mm512_castps_si512(_mm512_abs_ps(sum));
                _mm512_max_epu32(largest, bits)
            });
        }
        intrinsic!(_mm512_reduce_max_epu32(largest)).max(largest_four(rest))
    }

    #[inline(always)]
    fn tabulate(self, x: &[[f32; 32]], by: f32, tables: &mut [Tables]) -> [u32; 2] {
        // SAFETY: `self` proves the features; the array is the 64 bytes read.
        let [firsts, seconds, low, high, odd_low, odd_high] =
            PLACES.map(|bytes| unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) });
        let halves = [[low, high], [odd_low, odd_high]];
        let mut sums = intrinsic!(_mm512_setzero_si512());
        for (x, tables) in x.iter().zip(tables) {
            let mut q = [sums; 2];
            for (q, x) in q.iter_mut().zip(x.as_chunks::<16>().0) {
                let x = self.load(x);
                *q = intrinsic!(_mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(by))));
            }
            let pairs = intrinsic!({
                // Packing takes from each quarter of the one, then from that of the other.
                let q = _mm512_packs_epi32(q[0], q[1]);
                let negated = _mm512_sub_epi16(_mm512_setzero_si512(), q);
                let magnitudes = _mm512_packus_epi16(q, negated);
                sums = _mm512_dpbusd_epi32(sums, magnitudes, _mm512_set1_epi8(1));
                _mm512_add_epi8(
                    _mm512_permutexvar_epi8(firsts, magnitudes),
                    _mm512_permutexvar_epi8(seconds, magnitudes),
                )
            });
            for ([low, high], tables) in halves.iter().zip(tables.0.as_chunks_mut::<64>().0) {
                // SAFETY: `self` proves the features; the chunk is the 64 bytes written.
                unsafe {
                    let low = _mm512_permutexvar_epi8(*low, pairs);
                    let high = _mm512_permutexvar_epi8(*high, pairs);
                    _mm512_storeu_si512(tables.as_mut_ptr().cast(), _mm512_add_epi8(low, high));
                }
            }
        }
        // Of each four dwords, two are of positive magnitudes.
        intrinsic!([0x3333, 0xcccc].map(
            #[inline(always)]
            |lanes| _mm512_mask_reduce_add_epi32(lanes, sums) as u32
        ))
    }

    #[inline(always)]
    fn index(self, line: &Line) -> Self::Index {
        let word = self.load_bits(line);
        let Avx512 { entry, table, .. } = self;
        intrinsic!([
            _mm512_ternarylogic_epi32::<0xea>(word, entry, table),
            _mm512_ternarylogic_epi32::<0xea>(_mm512_srli_epi32::<4>(word), entry, table),
        ])
    }

    #[inline(always)]
    fn zero_sum(self) -> Self::Sum {
        intrinsic!([_mm512_setzero_si512(); 2])
    }

    #[inline(always)]
    fn look_up(self, sum: Self::Sum, index: Self::Index, tables: &Tables) -> Self::Sum {
        let [low, high] = self.load_tables(tables);
        intrinsic!({
            let ones = _mm512_set1_epi8(1);
            [
                _mm512_dpbusd_epi32(sum[0], _mm512_permutexvar_epi8(index[0], low), ones),
                _mm512_dpbusd_epi32(sum[1], _mm512_permutexvar_epi8(index[1], high), ones),
            ]
        })
    }

    #[inline(always)]
    fn fold_sum(self, sum: Self::Sum) -> Self::U {
        self.add_integers(sum[0], sum[1])
    }

    #[inline(always)]
    fn less_short(self, n: u32) -> Self::Short {
        self.splat_bits(n.wrapping_neg())
    }

    #[inline(always)]
    fn look_up_short(self, sum: Self::Short, index: Self::Index, tables: &Tables) -> Self::Short {
        let [low, high] = self.load_tables(tables);
        let twos = self.twos;
        intrinsic!({
            let sum = _mm512_dpbusd_epi32(sum, _mm512_permutexvar_epi8(index[0], low), twos);
            _mm512_dpbusd_epi32(sum, _mm512_permutexvar_epi8(index[1], high), twos)
        })
    }

    #[inline(always)]
    fn short(self, sum: Self::Short, _: u32) -> Self::F {
        intrinsic!(_mm512_cvtepi32_ps(sum))
    }
}

impl Floats for Avx512 {
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn with_sign(self, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!({
            // Of each bit that of b where the sign stands, else that of a.
            let sign = _mm512_set1_epi32(i32::MIN);
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xca>(sign, b, a))
        })
    }

    #[inline(always)]
    fn by_sign(self, sign: Self::F, a: Self::F, b: Self::F) -> Self::F {
        intrinsic!({
            let zero = _mm512_setzero_si512();
            let negative = _mm512_cmplt_epi32_mask(_mm512_castps_si512(sign), zero);
            _mm512_mask_mov_ps(b, negative, a)
        })
    }

    #[inline(always)]
    fn shift_to_exponent(self, a: Self::F) -> Self::F {
        intrinsic!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(a))))
    }
}
