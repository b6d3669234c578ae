//! x86-64: the lanes of its instruction sets, and what code is compiled with.

/// Calls intrinsics that need nothing of memory.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: `self` proves that the CPU has the features that the intrinsics need, and they
        // have no other condition.
        unsafe { $call }
    };
}

mod avx2;
mod avx512;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;

use super::number::AtPlace;
use super::together::side_by_side;
use super::work::Work;

/// Runs `work`, inlined and compiled with AVX2.
///
/// # Safety
/// The CPU must have AVX2, FMA and POPCNT.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work`, inlined and compiled with AVX-512.
///
/// # Safety
/// The CPU must have the features of [`super::Isa::Avx512`].
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq,avx2,fma,popcnt"
)]
pub(super) fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work` on AVX2's lanes.
///
/// # Safety
/// The CPU must have AVX2, FMA and POPCNT.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) fn run_avx2<W: Work>(work: W) -> W::Output {
    // SAFETY: the caller vouches for the features.
    work.run(unsafe { Avx2::new() })
}

/// Runs `work` on AVX-512's lanes.
///
/// # Safety
/// The CPU must have the features of [`super::Isa::Avx512`].
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq,avx2,fma,popcnt"
)]
pub(super) fn run_avx512<W: Work>(work: W) -> W::Output {
    // SAFETY: the caller vouches for the features.
    work.run(unsafe { Avx512::new() })
}

/// Computes a function at each place on AVX2's lanes.
///
/// # Safety
/// The CPU must have AVX2, FMA and POPCNT.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) fn at_places_avx2<const N: usize>(
    out: &mut [f32],
    inputs: [&[f32]; N],
    function: impl AtPlace<N>,
) {
    // SAFETY: the caller vouches for the features.
    side_by_side::<_, 4, N>(unsafe { Avx2::new() }, out, inputs, function);
}

/// Computes a function at each place on AVX-512's lanes.
///
/// # Safety
/// The CPU must have the features of [`super::Isa::Avx512`].
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq,avx2,fma,popcnt"
)]
pub(super) fn at_places_avx512<const N: usize>(
    out: &mut [f32],
    inputs: [&[f32]; N],
    function: impl AtPlace<N>,
) {
    // SAFETY: the caller vouches for the features.
    side_by_side::<_, 8, N>(unsafe { Avx512::new() }, out, inputs, function);
}
