//! Memory for a host that has none within the module: JavaScript writes there what calls take.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr;

/// Bytes at a multiple of 16, or null if there are none left.
#[unsafe(no_mangle)]
pub extern "C" fn amq_alloc(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), 16) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => ptr::null_mut(),
    }
}

/// Gives back what `amq_alloc` gave for this size.
///
/// # Safety
/// `at` is null, or was given for `size` and not given back since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amq_release(at: *mut u8, size: usize) {
    match (Layout::from_size_align(size.max(1), 16), at.is_null()) {
        // SAFETY: as the caller promises, it was allocated with this layout.
        (Ok(layout), false) => unsafe { dealloc(at, layout) },
        _ => {}
    }
}
