//! WebAssembly: registers of simd128. A module that has them runs only where they are, so that the
//! compiler is told of them, and code for them needs no mark.

use core::arch::wasm32::*;

use super::quads::{Quad, Quads};

/// Proof that the module is compiled with simd128.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simd128(());

/// Its lanes.
pub(super) const LANES: Quads<Simd128> = Quads(Simd128(()));

impl Quad for Simd128 {
    type V = v128;

    #[inline(always)]
    fn load(self, words: &[u32; 4]) -> v128 {
        // SAFETY: the 16 bytes read are those of the array; any alignment will do.
        unsafe { v128_load(words.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, a: v128, to: &mut [u32; 4]) {
        // SAFETY: the 16 bytes written are those of the array; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), a) }
    }

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 16]) -> v128 {
        // SAFETY: the 16 bytes read are those of the array; any alignment will do.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bytes(self, a: v128, to: &mut [u8; 16]) {
        // SAFETY: the 16 bytes written are those of the array; any alignment will do.
        unsafe { v128_store(to.as_mut_ptr().cast(), a) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> v128 {
        u32x4_splat(word)
    }

    #[inline(always)]
    fn splat_byte(self, byte: u8) -> v128 {
        u8x16_splat(byte)
    }

    #[inline(always)]
    fn add_f32(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub_f32(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn mul_f32(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }

    /// Who loads a module with relaxed operations has seen that the host rounds once.
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        f32x4_relaxed_madd(a, b, c)
    }

    /// There is no instruction whose rounding is told: as `fma.rs` does, two lanes at a time.
    /// A function of its own: it has some forty instructions, and kernels many places for it.
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(never)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        let high = |x| u32x4_shuffle::<2, 3, 2, 3>(x, x);
        let low = fma_low(a, b, c);
        u32x4_shuffle::<0, 1, 4, 5>(low, fma_low(high(a), high(b), high(c)))
    }

    #[inline(always)]
    fn at_least(self, a: v128, b: v128) -> v128 {
        f32x4_ge(a, b)
    }

    #[inline(always)]
    fn to_f32(self, a: v128) -> v128 {
        f32x4_convert_i32x4(a)
    }

    #[inline(always)]
    fn and(self, a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }

    #[inline(always)]
    fn xor(self, a: v128, b: v128) -> v128 {
        v128_xor(a, b)
    }

    #[inline(always)]
    fn select(self, mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }

    #[inline(always)]
    fn add_u32(self, a: v128, b: v128) -> v128 {
        u32x4_add(a, b)
    }

    #[inline(always)]
    fn sub_u32(self, a: v128, b: v128) -> v128 {
        u32x4_sub(a, b)
    }

    #[inline(always)]
    fn equal_u32(self, a: v128, b: v128) -> v128 {
        u32x4_eq(a, b)
    }

    #[inline(always)]
    fn high_bits(self, a: v128) -> u16 {
        u16::from(u32x4_bitmask(a))
    }

    #[inline(always)]
    fn add_u16(self, a: v128, b: v128) -> v128 {
        u16x8_add(a, b)
    }

    #[inline(always)]
    fn sub_u16(self, a: v128, b: v128) -> v128 {
        u16x8_sub(a, b)
    }

    #[inline(always)]
    fn add_bytes(self, a: v128, b: v128) -> v128 {
        u8x16_add(a, b)
    }

    #[inline(always)]
    fn count_bits(self, a: v128) -> v128 {
        u8x16_popcnt(a)
    }

    #[inline(always)]
    fn sum_bytes(self, a: v128) -> v128 {
        u32x4_extadd_pairwise_u16x8(u16x8_extadd_pairwise_u8x16(a))
    }

    #[inline(always)]
    fn high_halves(self, a: v128) -> v128 {
        // Hosts make a mask anew for each shift of bytes; this one stays in a register.
        v128_and(u16x8_shr(a, 4), u8x16_splat(15))
    }

    #[inline(always)]
    fn entries(self, table: v128, index: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return u8x16_relaxed_swizzle(table, index);
        #[cfg(not(target_feature = "relaxed-simd"))]
        u8x16_swizzle(table, index)
    }

    #[inline(always)]
    fn add_high_bytes(self, sum: v128, a: v128) -> v128 {
        u16x8_add(sum, u16x8_shr(a, 8))
    }

    #[inline(always)]
    fn settle(self, all: [v128; 2]) {
        for a in all {
            let mut here = core::mem::MaybeUninit::uninit();
            // SAFETY: the pointer is that of a variable, valid for writes.
            unsafe { core::ptr::write_volatile(here.as_mut_ptr(), a) };
        }
    }

    #[inline(always)]
    fn times_256(self, a: v128) -> v128 {
        u16x8_shl(a, 8)
    }

    #[inline(always)]
    fn widen(self, a: v128) -> [v128; 2] {
        [u32x4_extend_low_u16x8(a), u32x4_extend_high_u16x8(a)]
    }
}

/// The fused multiply-add of lanes 0 and 1.
#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
fn fma_low(a: v128, b: v128, c: v128) -> v128 {
    let (a, b, c) =
        (f64x2_promote_low_f32x4(a), f64x2_promote_low_f32x4(b), f64x2_promote_low_f32x4(c));
    let p = f64x2_mul(a, b);
    let sum = f64x2_add(p, c);
    let part = f64x2_sub(sum, p);
    let lost = f64x2_add(f64x2_sub(p, f64x2_sub(sum, part)), f64x2_sub(c, part));
    // What was lost, above zero where it has the sum's sign.
    let (zero, sign) = (f64x2_splat(0.0), f64x2_splat(-0.0));
    let lost = v128_xor(lost, v128_and(sum, sign));
    let (over, under) = (f64x2_lt(lost, zero), f64x2_gt(lost, zero));
    // Towards zero, and odd if anything was lost, which is neither 0 nor NaN then.
    let inexact = v128_and(v128_or(over, under), u64x2_splat(1));
    f32x4_demote_f64x2_zero(v128_or(i64x2_add(sum, over), inexact))
}
