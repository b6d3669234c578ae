//! The fused multiply-add, computed exactly where the CPU has none, or Rust cannot be asked for it.

/// `a * b + c`, rounded once, by a Cortex-M: the CPUs whose calls pass floats in registers and which have no atomics of 64 bits.
/// Rust takes no float registers as operands there, and `core` has no such function.
#[cfg(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64")
))]
#[inline(always)]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    let mut bits = c.to_bits();
    // SAFETY: every Cortex-M with float registers has the instruction; the registers that are used are restored.
    unsafe {
        core::arch::asm!(
            "vpush {{s0, s1, s2}}",
            "vmov s0, {a}",
            "vmov s1, {b}",
            "vmov s2, {c}",
            "vfma.f32 s2, s0, s1",
            "vmov {c}, s2",
            "vpop {{s0, s1, s2}}",
            a = in(reg) a.to_bits(),
            b = in(reg) b.to_bits(),
            c = inout(reg) bits,
            options(pure, nomem, preserves_flags),
        );
    }
    f32::from_bits(bits)
}

/// `a * b + c`, rounded once.
///
/// The product of two f32 is exact in f64. The sum is rounded to odd there: towards zero, with the
/// last bit set if anything was lost. As f64 has more than two bits beyond an f32, rounding that to
/// f32 gives what rounding the exact sum would (Boldo and Melquiond, "Emulation of a FMA and correctly
/// rounded sums: proved algorithms using rounding to odd", 2008).
#[cfg(not(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64")
)))]
#[inline(always)]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = p + c;
    // What the sum lost, exactly (Knuth's two-sum); NaN where it is not finite.
    let part = sum - p;
    let lost = (p - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    // Away from zero if what was lost has the sum's sign, else towards it.
    let outwards = (lost > 0.0) == (sum > 0.0);
    let odd = if outwards { bits | 1 } else { bits.wrapping_sub(1 ^ bits & 1) };
    let exact = lost == 0.0 || lost.is_nan();
    f64::from_bits(if exact { bits } else { odd }) as f32
}

#[cfg(test)]
mod tests {
    use super::fma;

    #[test]
    fn it_is_that_of_libm_to_the_bit() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32
        };
        let special =
            [0.0, -0.0, 1.0, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), f32::INFINITY];
        let check = |a: f32, b: f32, c: f32| {
            let (found, expected) = (fma(a, b, c), libm::fmaf(a, b, c));
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{a:e} * {b:e} + {c:e}: {found:e} is not {expected:e}");
        };
        for a in special {
            for b in special {
                for c in special {
                    check(a, b, c);
                    check(-a, b, c);
                }
            }
        }
        for i in 0..300_000 {
            let (a, b) = (f32::from_bits(next()), f32::from_bits(next()));
            check(a, b, f32::from_bits(next()));
            // Addends near the product, of few bits, and products that round to subnormal numbers.
            let near = (a * b) * (1.0 + (i % 5) as f32 * f32::EPSILON);
            check(a, b, -near);
            let (a, b) = (a.to_bits() & 0xffff_f000, b.to_bits() & 0xffff_f000);
            let (a, b) = (f32::from_bits(a), f32::from_bits(b));
            check(a, b, f32::from_bits((a * b).to_bits().wrapping_sub(24 << 23) & 0xff80_0000));
            check(a, 1e-38 / a, f32::from_bits(next() & 0x8000_000f));
        }
    }
}
