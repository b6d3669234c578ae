//! Code for each instruction set, chosen once when a model is loaded.
//!
//! Kernels are written once: functions of elements as plain loops, compiled for each instruction set
//! by `Target::vectorize`; products and their quantization over sixteen lanes (`lanes`), whose
//! operations each instruction set implements, by `Target::run`. A multiply-add is fused where it says
//! so and nowhere else, and no sum has an order that depends on the instruction set, so all give the
//! same bits.

use core::fmt;
use core::ops::Range;

pub(crate) mod codes;
pub(crate) mod float;
mod fma;
pub(crate) mod lanes;
pub(crate) mod layout;
pub(crate) mod math;
pub(crate) mod tables;
pub(crate) mod windows;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use fma::fma;
use lanes::{Lanes, Portable};

/// The NaN that results hold, whatever the cause.
pub(crate) const NAN: f32 = f32::from_bits(0x7fc0_0000);

/// Rows that kernels take together.
pub(crate) const BLOCK: usize = 16;

/// Work that is compiled for each instruction set. Mark `run` and what it calls
/// `#[inline(always)]`.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// `a * b + sum`, fused; `a * b` where there is no sum yet.
#[inline(always)]
fn chain<L: Lanes>(lanes: L, a: L::F, b: L::F, sum: Option<L::F>) -> Option<L::F> {
    Some(match sum {
        Some(sum) => lanes.fma(a, b, sum),
        None => lanes.mul(a, b),
    })
}

/// Which end of its weights a product starts from. Weights that together are about as large as a
/// cache are evicted just before they are needed, if each step reads them in the same order; read
/// in turns from either end, most are still there. Results are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Forward,
    Backward,
}

impl Order {
    /// The other order.
    pub(crate) fn reversed(self) -> Order {
        match self {
            Order::Forward => Order::Backward,
            Order::Backward => Order::Forward,
        }
    }

    /// The block to visit at a place in this order.
    #[inline(always)]
    fn block(self, place: usize, blocks: usize) -> usize {
        match self {
            Order::Forward => place,
            Order::Backward => blocks - 1 - place,
        }
    }

    /// Bytes from weights in use to those that are needed some hundred cycles later, nearly.
    #[inline(always)]
    fn ahead(self) -> isize {
        match self {
            Order::Forward => 8192,
            Order::Backward => -8192,
        }
    }
}

/// Where the results of a product go: row r of vector v to `data[r * row_stride + v * vector_stride]`.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    pub(crate) vector_stride: usize,
    /// The blocks of rows that are computed, of the weights'; the first is written to row 0.
    pub(crate) blocks: Range<usize>,
    /// In which blocks of rows are computed.
    pub(crate) order: Order,
}

impl Output<'_> {
    /// The block to visit at a place, in units of `together` blocks.
    #[inline(always)]
    fn block(&self, place: usize, together: usize) -> usize {
        let units = self.blocks.len().div_ceil(together);
        self.blocks.start + self.order.block(place, units) * together
    }

    /// Writes the rows of a block.
    #[inline(always)]
    fn write<L: Lanes>(&mut self, lanes: L, block: usize, vector: usize, result: L::F) {
        let result = lanes.canonical(result);
        let first = (block - self.blocks.start) * BLOCK;
        let rows = BLOCK.min(self.rows - first);
        let at = first * self.row_stride + vector * self.vector_stride;
        if self.row_stride == 1
            && rows == BLOCK
            && let Some(to) = self.data[at..].first_chunk_mut()
        {
            lanes.store(result, to);
            return;
        }
        let mut values = [0.0; BLOCK];
        lanes.store(result, &mut values);
        for (row, value) in values[..rows].iter().enumerate() {
            self.data[at + row * self.row_stride] = *value;
        }
    }
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Portable code: the reference that the others must agree with.
    Scalar,
    /// x86-64 with AVX2, FMA and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, VBMI, VNNI and VPOPCNTDQ.
    Avx512,
}

impl Isa {
    /// Every instruction set that has kernels.
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Avx2, Isa::Avx512];

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
            Isa::Scalar => true,
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
            // `new` finds no other instruction set on this architecture.
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => work(),
        }
    }

    /// Runs `work` on this instruction set's lanes.
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Isa::Scalar => work.run(Portable),
            // SAFETY: `new` found that this CPU has every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86_64::run_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86_64::run_avx512(work) },
            // `new` finds no other instruction set on this architecture.
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => work.run(Portable),
        }
    }

    /// Rearranges a line of weights to the order that this instruction set's look-up wants.
    pub(crate) fn arrange(self, line: lanes::Line) -> lanes::Line {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => <x86_64::Avx2 as Lanes>::arrange(line),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => <x86_64::Avx512 as Lanes>::arrange(line),
            _ => <Portable as Lanes>::arrange(line),
        }
    }
}
