//! Memory that is written once and read often: files and packed weights; elements that lie in it.
//!
//! A system that gives fresh memory in pages of 4 KiB takes longer for that than packing takes to fill
//! them, so Linux is asked for large pages.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ops::Range;

use crate::workers::Workers;

/// Bytes of a large page, or of several.
#[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
const PAGE: usize = 2 << 20;

/// Bytes that are worth a part of their own where several threads fill a vector.
const PART: usize = 1 << 20;

/// A part of a vector, being filled.
pub(crate) struct Filling<'a, T> {
    free: &'a mut [MaybeUninit<T>],
    filled: usize,
}

impl<T> Filling<'_, T> {
    /// Adds an element, if one is missing.
    #[inline(always)]
    pub(crate) fn push(&mut self, element: T) {
        if let Some(free) = self.free.get_mut(self.filled) {
            free.write(element);
            self.filled += 1;
        }
    }
}

/// Fills a vector anew with `each` elements of each of some blocks. `write` is given blocks, from a
/// multiple of `together` on, and adds all of their elements, in order.
pub(crate) fn fill<T: Copy + Send>(
    vec: &mut Vec<T>,
    blocks: usize,
    together: usize,
    each: usize,
    workers: &dyn Workers,
    write: &(impl Fn(Range<usize>, &mut Filling<'_, T>) + Sync),
) {
    let count = blocks * each;
    vec.clear();
    if vec.capacity() < count {
        *vec = Vec::with_capacity(count);
        prefer_large_pages(vec);
    }
    let free = &mut vec.spare_capacity_mut()[..count];
    let parts = (size_of_val(free) / PART).clamp(1, workers.count());
    let mut filled = fill_part(free, 0..blocks, [together, each, parts], workers, write);
    if filled < count {
        // Whatever the workers did.
        filled = fill_part(free, 0..blocks, [together, each, 1], workers, write);
    }
    assert_eq!(filled, count, "not all elements were written");
    // SAFETY: there is capacity for so many elements, and all were written: each part counts those that
    // it wrote from its beginning on, at most as many as it has, so that none is short if the sum is whole.
    unsafe { vec.set_len(count) };
}

/// Fills a part, and gives how many elements were written.
fn fill_part<T: Send>(
    free: &mut [MaybeUninit<T>],
    blocks: Range<usize>,
    [together, each, parts]: [usize; 3],
    workers: &dyn Workers,
    write: &(impl Fn(Range<usize>, &mut Filling<'_, T>) + Sync),
) -> usize {
    let middle = (blocks.start + blocks.len() / 2).next_multiple_of(together);
    if parts == 1 || middle >= blocks.end {
        let mut part = Filling { free, filled: 0 };
        write(blocks, &mut part);
        return part.filled;
    }
    let (first, second) = free.split_at_mut((middle - blocks.start) * each);
    let (mut of_first, mut of_second) = (0, 0);
    let (own, others) = (parts - parts / 2, parts / 2);
    workers.join(
        &mut || {
            let blocks = blocks.start..middle;
            of_first = fill_part(&mut *first, blocks, [together, each, own], workers, write);
        },
        &mut || {
            let blocks = middle..blocks.end;
            of_second = fill_part(&mut *second, blocks, [together, each, others], workers, write);
        },
    );
    of_first + of_second
}

/// Asks for large pages where the vector's free room holds some.
pub(crate) fn prefer_large_pages<T>(fresh: &mut Vec<T>) {
    #[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
    {
        use core::ffi::{c_int, c_void};

        unsafe extern "C" {
            fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
        }
        /// The same number on all of Linux's architectures that Rust has.
        const HUGE_PAGES: c_int = 14;

        let free = fresh.spare_capacity_mut();
        let bytes = size_of_val(free);
        let skipped = free.as_ptr().addr().wrapping_neg() % PAGE;
        let Some(large) = bytes.checked_sub(skipped).map(|bytes| bytes / PAGE * PAGE) else {
            return;
        };
        if large > 0 {
            let start = free.as_mut_ptr().wrapping_byte_add(skipped);
            // SAFETY: the pages lie within the vector's memory, and the advice changes neither what they
            // hold nor whether they may be used. Where the system refuses it, nothing is lost.
            unsafe { madvise(start.cast(), large, HUGE_PAGES) };
        }
    }
    #[cfg(not(all(feature = "std", any(target_os = "linux", target_os = "android"))))]
    let _ = fresh;
}

/// A type that any bytes are an element of.
pub(crate) trait Plain: Copy {}

impl Plain for f32 {}
impl Plain for i64 {}
impl Plain for i32 {}
impl Plain for i16 {}
impl Plain for i8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// Little-endian elements, if they are aligned and the machine is little-endian.
pub(crate) fn elements<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: the types that are plain are numbers, of which any bytes are one.
    let (before, elements, after) = unsafe { bytes.align_to::<T>() };
    let whole = before.is_empty() && after.is_empty() && cfg!(target_endian = "little");
    whole.then_some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_size_have_the_room_that_was_asked_for() {
        for count in [0, 1, 4096, 3 << 20, 9 << 20] {
            let mut bytes: Vec<u8> = Vec::with_capacity(count);
            prefer_large_pages(&mut bytes);
            assert!(bytes.is_empty() && bytes.capacity() >= count);
            bytes.resize(count, 7);
            assert!(bytes.iter().all(|&byte| byte == 7));
            prefer_large_pages(&mut bytes);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }

    /// Runs the second part alone, or one part twice.
    struct Careless {
        second_only: bool,
    }

    impl Workers for Careless {
        fn count(&self) -> usize {
            5
        }

        fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
            b();
            if !self.second_only {
                b();
                a();
            }
        }
    }

    #[test]
    fn vectors_are_filled_whoever_does_it() {
        let threads = crate::Threads::new(core::num::NonZeroUsize::new(3).unwrap());
        let workers: [&dyn Workers; 4] = [
            &crate::workers::Alone,
            &threads,
            &Careless { second_only: true },
            &Careless { second_only: false },
        ];
        for (blocks, together, each) in
            [(0, 1, 7), (3, 2, 0), (5, 2, 1), (1001, 2, 1500), (7, 7, 3)]
        {
            for workers in workers {
                let mut numbers = alloc::vec![9u64; 4];
                fill(&mut numbers, blocks, together, each, workers, &|blocks, numbers| {
                    assert!(blocks.start.is_multiple_of(together));
                    for block in blocks {
                        (0..each).for_each(|i| numbers.push((block * each + i) as u64));
                    }
                });
                assert!(numbers.iter().copied().eq(0..(blocks * each) as u64));
            }
        }
    }

    #[test]
    #[should_panic(expected = "not all elements were written")]
    fn a_vector_that_is_not_filled_is_not_used() {
        fill(&mut Vec::new(), 2, 1, 3, &crate::workers::Alone, &|_, bytes| bytes.push(0u8));
    }
}
