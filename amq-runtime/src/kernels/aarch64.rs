//! AArch64: registers of NEON, which every such CPU has that Rust's targets with floats are for, so that
//! code for them needs no mark.
#![allow(
    unused_unsafe,
    reason = "where NEON is always there, some compilers take its operations as safe"
)]

use core::arch::aarch64::*;

use super::quads::{Quad, Quads};

/// Proof that the CPU has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

/// Its lanes.
pub(super) const LANES: Quads<Neon> = Quads(Neon(()));

/// Calls intrinsics that need nothing of memory.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: `self` proves that the CPU has NEON, and the intrinsics have no other condition.
        unsafe { $call }
    };
}

#[inline(always)]
fn f32s(a: uint32x4_t) -> float32x4_t {
    intrinsic!(vreinterpretq_f32_u32(a))
}

#[inline(always)]
fn words(a: float32x4_t) -> uint32x4_t {
    intrinsic!(vreinterpretq_u32_f32(a))
}

#[inline(always)]
fn bytes(a: uint32x4_t) -> uint8x16_t {
    intrinsic!(vreinterpretq_u8_u32(a))
}

#[inline(always)]
fn of_bytes(a: uint8x16_t) -> uint32x4_t {
    intrinsic!(vreinterpretq_u32_u8(a))
}

#[inline(always)]
fn halves(a: uint32x4_t) -> uint16x8_t {
    intrinsic!(vreinterpretq_u16_u32(a))
}

#[inline(always)]
fn of_halves(a: uint16x8_t) -> uint32x4_t {
    intrinsic!(vreinterpretq_u32_u16(a))
}

impl Quad for Neon {
    type V = uint32x4_t;

    #[inline(always)]
    fn load(self, words: &[u32; 4]) -> uint32x4_t {
        // SAFETY: `self` proves NEON; the 16 bytes read are those of the array.
        unsafe { vld1q_u32(words.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, a: uint32x4_t, to: &mut [u32; 4]) {
        // SAFETY: `self` proves NEON; the 16 bytes written are those of the array.
        unsafe { vst1q_u32(to.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 16]) -> uint32x4_t {
        // SAFETY: `self` proves NEON; the 16 bytes read are those of the array.
        of_bytes(unsafe { vld1q_u8(bytes.as_ptr()) })
    }

    #[inline(always)]
    fn store_bytes(self, a: uint32x4_t, to: &mut [u8; 16]) {
        // SAFETY: `self` proves NEON; the 16 bytes written are those of the array.
        unsafe { vst1q_u8(to.as_mut_ptr(), bytes(a)) }
    }

    #[inline(always)]
    fn splat(self, word: u32) -> uint32x4_t {
        intrinsic!(vdupq_n_u32(word))
    }

    #[inline(always)]
    fn splat_byte(self, byte: u8) -> uint32x4_t {
        of_bytes(intrinsic!(vdupq_n_u8(byte)))
    }

    #[inline(always)]
    fn add_f32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        words(intrinsic!(vaddq_f32(f32s(a), f32s(b))))
    }

    #[inline(always)]
    fn sub_f32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        words(intrinsic!(vsubq_f32(f32s(a), f32s(b))))
    }

    #[inline(always)]
    fn mul_f32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        words(intrinsic!(vmulq_f32(f32s(a), f32s(b))))
    }

    #[inline(always)]
    fn fma(self, a: uint32x4_t, b: uint32x4_t, c: uint32x4_t) -> uint32x4_t {
        words(intrinsic!(vfmaq_f32(f32s(c), f32s(a), f32s(b))))
    }

    #[inline(always)]
    fn at_least(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vcgeq_f32(f32s(a), f32s(b)))
    }

    #[inline(always)]
    fn to_f32(self, a: uint32x4_t) -> uint32x4_t {
        words(intrinsic!(vcvtq_f32_s32(vreinterpretq_s32_u32(a))))
    }

    #[inline(always)]
    fn and(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vandq_u32(a, b))
    }

    #[inline(always)]
    fn xor(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(veorq_u32(a, b))
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vbslq_u32(mask, a, b))
    }

    #[inline(always)]
    fn add_u32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vaddq_u32(a, b))
    }

    #[inline(always)]
    fn sub_u32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vsubq_u32(a, b))
    }

    #[inline(always)]
    fn equal_u32(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        intrinsic!(vceqq_u32(a, b))
    }

    #[inline(always)]
    fn high_bits(self, a: uint32x4_t) -> u16 {
        let mut lanes = [0; 4];
        self.store(a, &mut lanes);
        lanes.iter().enumerate().fold(0, |bits, (i, lane)| bits | ((lane >> 31) as u16) << i)
    }

    #[inline(always)]
    fn add_u16(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        of_halves(intrinsic!(vaddq_u16(halves(a), halves(b))))
    }

    #[inline(always)]
    fn sub_u16(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        of_halves(intrinsic!(vsubq_u16(halves(a), halves(b))))
    }

    #[inline(always)]
    fn add_bytes(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        of_bytes(intrinsic!(vaddq_u8(bytes(a), bytes(b))))
    }

    #[inline(always)]
    fn count_bits(self, a: uint32x4_t) -> uint32x4_t {
        of_bytes(intrinsic!(vcntq_u8(bytes(a))))
    }

    #[inline(always)]
    fn sum_bytes(self, a: uint32x4_t) -> uint32x4_t {
        intrinsic!(vpaddlq_u16(vpaddlq_u8(bytes(a))))
    }

    #[inline(always)]
    fn high_halves(self, a: uint32x4_t) -> uint32x4_t {
        of_bytes(intrinsic!(vshrq_n_u8::<4>(bytes(a))))
    }

    #[inline(always)]
    fn entries(self, table: uint32x4_t, index: uint32x4_t) -> uint32x4_t {
        of_bytes(intrinsic!(vqtbl1q_u8(bytes(table), bytes(index))))
    }

    #[inline(always)]
    fn add_high_bytes(self, sum: uint32x4_t, a: uint32x4_t) -> uint32x4_t {
        of_halves(intrinsic!(vsraq_n_u16::<8>(halves(sum), halves(a))))
    }

    #[inline(always)]
    fn settle(self, _: [uint32x4_t; 2]) {}

    #[inline(always)]
    fn times_256(self, a: uint32x4_t) -> uint32x4_t {
        of_halves(intrinsic!(vshlq_n_u16::<8>(halves(a))))
    }

    #[inline(always)]
    fn widen(self, a: uint32x4_t) -> [uint32x4_t; 2] {
        let a = halves(a);
        intrinsic!([vmovl_u16(vget_low_u16(a)), vmovl_high_u16(a)])
    }
}
