//! Lanes made of four registers of 128 bits, for instruction sets that have such: WebAssembly's and
//! AArch64's differ in little beyond names.

use super::lanes::{Lanes, Line, NAN, Tables, by_byte};

/// Operations on registers of 128 bits. A value of an implementing type is proof that the CPU has the
/// instructions. Four lanes of 32 bits, of which lane 0 is the lowest, eight of 16, or sixteen bytes.
pub(crate) trait Quad: Copy {
    /// A register.
    type V: Copy;

    fn load(self, words: &[u32; 4]) -> Self::V;
    fn store(self, a: Self::V, to: &mut [u32; 4]);
    fn load_bytes(self, bytes: &[u8; 16]) -> Self::V;
    fn store_bytes(self, a: Self::V, to: &mut [u8; 16]);
    fn splat(self, word: u32) -> Self::V;
    fn splat_byte(self, byte: u8) -> Self::V;

    fn add_f32(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub_f32(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul_f32(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// All bits of a lane where `a >= b`.
    fn at_least(self, a: Self::V, b: Self::V) -> Self::V;
    /// Signed integers as floats, rounded to nearest.
    fn to_f32(self, a: Self::V) -> Self::V;

    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// Bits of `a` where those of the mask are set, else of `b`.
    fn select(self, mask: Self::V, a: Self::V, b: Self::V) -> Self::V;
    fn add_u32(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub_u32(self, a: Self::V, b: Self::V) -> Self::V;
    fn equal_u32(self, a: Self::V, b: Self::V) -> Self::V;
    /// The highest bit of each lane.
    fn high_bits(self, a: Self::V) -> u16;

    fn add_u16(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub_u16(self, a: Self::V, b: Self::V) -> Self::V;
    fn add_bytes(self, a: Self::V, b: Self::V) -> Self::V;
    /// Bits set in each byte.
    fn count_bits(self, a: Self::V) -> Self::V;
    /// The sum of the bytes of each 32-bit lane.
    fn sum_bytes(self, a: Self::V) -> Self::V;
    /// The high half of each byte.
    fn high_halves(self, a: Self::V) -> Self::V;
    /// The entries of a table at indices below 16.
    fn entries(self, table: Self::V, index: Self::V) -> Self::V;
    /// `sum` and the high byte of each 16 bits of `a`.
    fn add_high_bytes(self, sum: Self::V, a: Self::V) -> Self::V;
    /// Has sums computed where this stands. V8 computes what has no effect as late as it can: of all steps of a loop
    /// that it unrolled it would add low bytes first, then high ones, with all entries kept in memory until then.
    fn settle(self, all: [Self::V; 2]);
    /// 16-bit lanes 256 times as large; what does not fit is lost.
    fn times_256(self, a: Self::V) -> Self::V;
    /// 16-bit lanes 0 to 3, and 4 to 7, as 32-bit lanes.
    fn widen(self, a: Self::V) -> [Self::V; 2];
}

/// Bit `i` of a lane's number, as all bits of a byte: what an entry of a table takes of its number `i`.
const SIGNS: [[u8; 16]; 4] = {
    let mut masks = [[0; 16]; 4];
    let mut at = 0;
    while at < 64 {
        masks[at / 16][at % 16] = if at % 16 >> (at / 16) & 1 == 1 { 0xff } else { 0 };
        at += 1;
    }
    masks
};

/// Sixteen lanes in four registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quads<Q>(pub(super) Q);

// Loops and not closures: one that is not inlined would not have the instructions.
macro_rules! each {
    ($a:expr, |$x:ident| $out:expr) => {{
        let mut all = $a;
        for at in 0..4 {
            let $x = all[at];
            all[at] = $out;
        }
        all
    }};
    ($a:expr, $b:expr, |$x:ident, $y:ident| $out:expr) => {{
        let (mut all, others) = ($a, $b);
        for at in 0..4 {
            let ($x, $y) = (all[at], others[at]);
            all[at] = $out;
        }
        all
    }};
}

impl<Q: Quad> Lanes for Quads<Q> {
    type F = [Q::V; 4];
    type U = [Q::V; 4];
    type M = [Q::V; 4];
    /// Low halves of bytes 0 to 3, then high halves.
    type Index = [Q::V; 8];
    /// 16-bit sums of entry pairs `first + 256 last`, of rows 0 to 7 and 8 to 15, and of the last rows'
    /// entries alone.
    type Sum = [Q::V; 2];
    type Short = Self::Sum;

    const MANY_REGISTERS: bool = false;
    /// Counts are kept a byte each, and a step adds at most 8.
    const COUNT_STEPS: usize = 31;
    /// A step adds at most 8 * 255 to each sum that must not wrap; that of pairs may: only its low 16 bits less
    /// 256 times the other sum are used.
    const SUM_STEPS: usize = 32;

    #[inline(always)]
    fn arrange(line: Line) -> Line {
        by_byte(line)
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [self.0.splat(value.to_bits()); 4]
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> Self::F {
        let mut all = self.splat(0.0);
        for (to, four) in all.iter_mut().zip(values.as_chunks::<4>().0) {
            *to = self.0.load(&four.map(f32::to_bits));
        }
        all
    }

    #[inline(always)]
    fn store(self, a: Self::F, to: &mut [f32; 16]) {
        for (to, a) in to.as_chunks_mut::<4>().0.iter_mut().zip(a) {
            let mut words = [0; 4];
            self.0.store(a, &mut words);
            *to = words.map(f32::from_bits);
        }
    }

    #[inline(always)]
    fn store_across(self, a: [Self::F; 4], to: &mut [f32], stride: usize) {
        let mut values = [[0.0; 16]; 4];
        for (values, a) in values.iter_mut().zip(a) {
            self.store(a, values);
        }
        for lane in 0..16 {
            to[lane * stride..][..4].copy_from_slice(&values.map(|values| values[lane]));
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each!(a, b, |a, b| self.0.add_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each!(a, b, |a, b| self.0.sub_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each!(a, b, |a, b| self.0.mul_f32(a, b))
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        let mut all = c;
        for at in 0..4 {
            all[at] = self.0.fma(a[at], b[at], c[at]);
        }
        all
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        let magnitude = self.0.splat(0x7fff_ffff);
        each!(a, |a| self.0.and(a, magnitude))
    }

    #[inline(always)]
    fn canonical(self, a: Self::F) -> Self::F {
        let nan = self.0.splat(NAN.to_bits());
        each!(a, |a| self.0.select(self.0.at_least(a, a), a, nan))
    }

    #[inline(always)]
    fn at_least(self, a: Self::F, b: Self::F) -> Self::M {
        each!(a, b, |a, b| self.0.at_least(a, b))
    }

    #[inline(always)]
    fn mask(self, bits: u16) -> Self::M {
        let mut all = self.splat_bits(u32::from(bits));
        for (four, mask) in all.iter_mut().enumerate() {
            let lanes = self.0.load(&[1, 2, 4, 8].map(|bit| bit << (4 * four)));
            *mask = self.0.equal_u32(self.0.and(*mask, lanes), lanes);
        }
        all
    }

    #[inline(always)]
    fn bits(self, mask: Self::M) -> u16 {
        let mut bits = 0;
        for (four, mask) in mask.into_iter().enumerate() {
            bits |= self.0.high_bits(mask) << (4 * four);
        }
        bits
    }

    #[inline(always)]
    fn add_where(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F {
        // Adding +0 changes no number but -0, which `a` is not.
        let b = each!(mask, b, |mask, b| self.0.and(mask, b));
        self.add(a, b)
    }

    #[inline(always)]
    fn splat_bits(self, value: u32) -> Self::U {
        [self.0.splat(value); 4]
    }

    #[inline(always)]
    fn load_bits(self, line: &Line) -> Self::U {
        let mut all = self.splat_bits(0);
        for (to, four) in all.iter_mut().zip(line.0.as_chunks::<4>().0) {
            *to = self.0.load(four);
        }
        all
    }

    #[inline(always)]
    fn xor(self, a: Self::U, b: Self::U) -> Self::U {
        each!(a, b, |a, b| self.0.xor(a, b))
    }

    #[inline(always)]
    fn xor3(self, a: Self::U, b: Self::U, c: Self::U) -> Self::U {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn carry(self, sum: Self::U, ones: Self::U, first: Self::U) -> Self::U {
        let mut all = ones;
        for at in 0..4 {
            let differ = self.0.xor(sum[at], ones[at]);
            all[at] = self.0.select(differ, ones[at], first[at]);
        }
        all
    }

    #[inline(always)]
    fn add_counts(self, counts: Self::U, a: Self::U) -> Self::U {
        each!(counts, a, |counts, a| self.0.add_bytes(counts, self.0.count_bits(a)))
    }

    #[inline(always)]
    fn fold_counts(self, counts: Self::U) -> Self::U {
        each!(counts, |counts| self.0.sum_bytes(counts))
    }

    #[inline(always)]
    fn add_integers(self, a: Self::U, b: Self::U) -> Self::U {
        each!(a, b, |a, b| self.0.add_u32(a, b))
    }

    #[inline(always)]
    fn less_twice(self, n: u32, a: Self::U) -> Self::F {
        let n = self.0.splat(n);
        each!(a, |a| self.0.to_f32(self.0.sub_u32(n, self.0.add_u32(a, a))))
    }

    #[inline(always)]
    fn twice_less(self, a: Self::U, n: u32) -> Self::F {
        let n = self.0.splat(n);
        each!(a, |a| self.0.to_f32(self.0.sub_u32(self.0.add_u32(a, a), n)))
    }

    #[inline(always)]
    fn tabulate(self, x: &[[f32; 32]], by: f32, tables: &mut [Tables]) -> [u32; 2] {
        let mut signs = [self.0.splat(0); 4];
        for (to, signs) in signs.iter_mut().zip(&SIGNS) {
            *to = self.0.load_bytes(signs);
        }
        let mut sums = [0; 2];
        for (x, tables) in x.iter().zip(tables) {
            for (four, x) in x.as_chunks::<4>().0.iter().enumerate() {
                // An entry is what the negative ones give, and what each whose sign is positive adds to it.
                let mut negative = 0;
                let mut entries = self.0.splat(0);
                for (x, signs) in x.iter().zip(signs) {
                    // Adding 1.5 * 2^23 leaves no bits for a fraction.
                    let q = ((x * by + 12_582_912.0) - 12_582_912.0) as i32;
                    negative += q.min(0).unsigned_abs();
                    sums[0] += q.max(0).unsigned_abs();
                    let term = self.0.and(signs, self.0.splat_byte(q as u8));
                    entries = self.0.add_bytes(entries, term);
                }
                sums[1] += negative;
                entries = self.0.add_bytes(entries, self.0.splat_byte(negative as u8));
                let place = four / 2 + four % 2 * 4;
                self.0.store_bytes(entries, &mut tables.0.as_chunks_mut::<16>().0[place]);
            }
        }
        sums
    }

    #[inline(always)]
    fn index(self, line: &Line) -> Self::Index {
        let bytes = self.load_bits(line);
        let low = self.0.splat_byte(15);
        let mut index = [low; 8];
        for at in 0..4 {
            index[at] = self.0.and(bytes[at], low);
            index[4 + at] = self.0.high_halves(bytes[at]);
        }
        index
    }

    #[inline(always)]
    fn zero_sum(self) -> Self::Sum {
        [self.0.splat(0); 2]
    }

    #[inline(always)]
    fn look_up(self, sum: Self::Sum, index: Self::Index, tables: &Tables) -> Self::Sum {
        let [mut pairs, mut last] = sum;
        for (index, table) in index.into_iter().zip(tables.0.as_chunks::<16>().0) {
            let entries = self.0.entries(self.0.load_bytes(table), index);
            pairs = self.0.add_u16(pairs, entries);
            last = self.0.add_high_bytes(last, entries);
        }
        self.0.settle([pairs, last]);
        [pairs, last]
    }

    #[inline(always)]
    fn fold_sum(self, [pairs, last]: Self::Sum) -> Self::U {
        let first = self.0.widen(self.0.sub_u16(pairs, self.0.times_256(last)));
        let last = self.0.widen(last);
        [first[0], first[1], last[0], last[1]]
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
        self.twice_less(self.fold_sum(sum), n)
    }
}
