//! x86-64: what its instruction sets are compiled with.

/// Runs `work`, inlined and compiled with AVX2.
///
/// # Safety
/// The CPU must have AVX2 and POPCNT.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work`, inlined and compiled with AVX-512.
///
/// # Safety
/// The CPU must have the features of [`super::Isa::Avx512`].
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq,avx2,popcnt"
)]
pub(super) fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}
