//! Instruction sets, and how work is run on one.

use core::fmt;

#[cfg(target_arch = "aarch64")]
use super::aarch64;
#[cfg(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128")))]
use super::lanes::by_byte;
use super::lanes::{Lanes, Line, Portable};
use super::number::{AtPlace, by_place};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::wasm32;
use super::work::Work;
#[cfg(target_arch = "x86_64")]
use super::x86_64;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Portable code: the reference that the others must agree with. It is everywhere but in modules of
    /// WebAssembly that are compiled with simd128, which it would make larger.
    Scalar,
    /// x86-64 with AVX2, FMA and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, VBMI, VNNI and VPOPCNTDQ.
    Avx512,
    /// AArch64 with NEON.
    Neon,
    /// WebAssembly with simd128, compiled so.
    Simd128,
}

impl Isa {
    /// Every instruction set that has kernels.
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon, Isa::Simd128];

    /// The fastest that this CPU has.
    pub fn detect() -> Isa {
        let mut best = Isa::Scalar;
        for isa in Isa::ALL {
            if isa.is_available() {
                best = isa;
            }
        }
        best
    }

    /// Whether this CPU has it. Without `std`, only what the compiler was told to assume.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => !Isa::Simd128.is_available(),
            Isa::Neon => cfg!(all(target_arch = "aarch64", target_feature = "neon")),
            Isa::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Isa::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                    && std::arch::is_x86_feature_detected!("popcnt")
            }
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Isa::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vbmi")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
                    && std::arch::is_x86_feature_detected!("avx512vpopcntdq")
                    && Isa::Avx2.is_available()
            }
            #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
            Isa::Avx2 => {
                cfg!(all(
                    target_arch = "x86_64",
                    target_feature = "avx2",
                    target_feature = "fma",
                    target_feature = "popcnt"
                ))
            }
            #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
            Isa::Avx512 => cfg!(all(
                target_arch = "x86_64",
                target_feature = "avx2",
                target_feature = "fma",
                target_feature = "popcnt",
                target_feature = "avx512f",
                target_feature = "avx512bw",
                target_feature = "avx512vl",
                target_feature = "avx512vbmi",
                target_feature = "avx512vnni",
                target_feature = "avx512vpopcntdq"
            )),
        }
    }

    /// The name that `AMQ_ISA` and reports use, such as `avx2`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
            Isa::Simd128 => "simd128",
        }
    }

    /// The instruction set with this name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs `work` compiled for the fastest instruction set that this CPU has, for those who prepare or train models: what
/// is inlined into it is, so mark the closure itself and what it calls `#[inline(always)]`. Floats have the same bits with each.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    Target(Isa::detect()).vectorize(work)
}

/// An instruction set that this CPU is known to have: proof that its kernels may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(Isa);

impl Target {
    /// The target for `isa`, if this CPU has it.
    pub(crate) fn new(isa: Isa) -> Option<Target> {
        isa.is_available().then_some(Target(isa))
    }

    /// Its instruction set.
    pub(crate) fn isa(self) -> Isa {
        self.0
    }

    /// Runs `work`, compiled for this instruction set where it is inlined: mark what it calls
    /// `#[inline(always)]`.
    #[inline(always)]
    pub(crate) fn vectorize<R>(self, work: impl FnOnce() -> R) -> R {
        match self.0 {
            Isa::Scalar => work(),
            // SAFETY: `new` found that this CPU has every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86_64::with_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86_64::with_avx512(work) },
            // Those that `new` finds here are what everything is compiled for.
            _ => work(),
        }
    }

    /// Runs `work` on this instruction set's lanes. Where stacks are small it is a function of its own, so that they hold no more than one
    /// kernel needs.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Isa::Scalar => work.run(Portable),
            // SAFETY: `new` found that this CPU has every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86_64::run_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86_64::run_avx512(work) },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => work.run(aarch64::LANES),
            // `new` finds no other on these architectures.
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            _ => work.run(wasm32::LANES),
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            _ => work.run(Portable),
        }
    }

    /// Replaces each element by a function of itself and those at its place in the inputs, which are at least as long.
    pub(crate) fn at_places<const N: usize>(
        self,
        out: &mut [f32],
        inputs: [&[f32]; N],
        function: impl AtPlace<N>,
    ) {
        match self.0 {
            // SAFETY: `new` found that this CPU has every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86_64::at_places_avx2(out, inputs, function) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86_64::at_places_avx512(out, inputs, function) },
            _ => by_place(out, inputs, |x, inputs| function.of(x, inputs)),
        }
    }

    /// Whether kernels have [`Lanes::MANY_REGISTERS`].
    pub(crate) fn has_many_registers(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => <x86_64::Avx2 as Lanes>::MANY_REGISTERS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => <x86_64::Avx512 as Lanes>::MANY_REGISTERS,
            _ => <Portable as Lanes>::MANY_REGISTERS,
        }
    }

    /// Rearranges a line of weights to the order that this instruction set's look-up wants.
    #[inline(always)]
    pub(crate) fn arrange(self, line: Line) -> Line {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => <x86_64::Avx2 as Lanes>::arrange(line),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => <x86_64::Avx512 as Lanes>::arrange(line),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => by_byte(line),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => by_byte(line),
            _ => <Portable as Lanes>::arrange(line),
        }
    }
}
