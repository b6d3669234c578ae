//! Memory that is written once and read often: files and packed weights.
//!
//! A system that gives fresh memory in pages of 4 KiB takes longer for that than packing takes to fill
//! them, so Linux is asked for large pages.

use alloc::vec::Vec;

/// Bytes of a large page, or of several.
#[cfg(all(feature = "std", any(target_os = "linux", target_os = "android")))]
const PAGE: usize = 2 << 20;

/// An empty vector with room for `count` elements.
pub(crate) fn with_capacity<T>(count: usize) -> Vec<T> {
    let mut fresh = Vec::with_capacity(count);
    prefer_large_pages(&mut fresh);
    fresh
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_size_have_the_room_that_was_asked_for() {
        for count in [0, 1, 4096, 3 << 20, 9 << 20] {
            let mut bytes: Vec<u8> = with_capacity(count);
            assert!(bytes.is_empty() && bytes.capacity() >= count);
            bytes.resize(count, 7);
            assert!(bytes.iter().all(|&byte| byte == 7));
            prefer_large_pages(&mut bytes);
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
        assert!(with_capacity::<()>(5).is_empty());
    }
}
