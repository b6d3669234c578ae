//! How much memory is taken, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system's allocator, with a count. What asks for more than this at once gets nothing.
pub(crate) struct Counting;

const MOST_AT_ONCE: usize = 4 << 30;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// Begins to count anew: what is taken now is none of the next input's.
pub(crate) fn begin() {
    let taken = TAKEN.load(Relaxed);
    BEFORE.store(taken, Relaxed);
    MOST.store(taken, Relaxed);
}

/// The most that was taken at any moment since.
pub(crate) fn most() -> u64 {
    MOST.load(Relaxed).saturating_sub(BEFORE.load(Relaxed))
}

fn add(bytes: usize) {
    let taken = TAKEN.fetch_add(bytes as u64, Relaxed) + bytes as u64;
    MOST.fetch_max(taken, Relaxed);
}

// SAFETY: what the system gives is passed on as it is; nothing else is done with memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MOST_AT_ONCE {
            return std::ptr::null_mut();
        }
        add(layout.size());
        // SAFETY: the caller keeps the system's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > MOST_AT_ONCE {
            return std::ptr::null_mut();
        }
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > MOST_AT_ONCE {
            return std::ptr::null_mut();
        }
        TAKEN.fetch_sub(layout.size() as u64, Relaxed);
        add(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
