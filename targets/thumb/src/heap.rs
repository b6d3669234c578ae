//! A heap: the first hole that is large enough is taken, and holes that meet become one. It knows how far it ever reached.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

/// Bytes; what is free is counted in holes' heads.
pub const SIZE: usize = 96 << 10;
const UNIT: usize = size_of::<Hole>();

/// The head of a hole, at its beginning.
#[derive(Clone, Copy)]
struct Hole {
    size: usize,
    next: *mut Hole,
}

struct State {
    /// By address.
    first: *mut Hole,
    live: usize,
    reached: usize,
}

#[repr(align(64))]
struct Heap {
    bytes: UnsafeCell<[u8; SIZE]>,
    state: UnsafeCell<State>,
}

// SAFETY: one thread, no interrupts.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap {
    bytes: UnsafeCell::new([0; SIZE]),
    state: UnsafeCell::new(State { first: ptr::null_mut(), live: 0, reached: 0 }),
};

/// Makes the whole heap one hole; before anything is allocated.
pub fn init() {
    let first = HEAP.bytes.get().cast::<Hole>();
    // SAFETY: nothing else uses the heap now; it is aligned for a hole's head, and longer than that.
    unsafe {
        first.write(Hole { size: SIZE, next: ptr::null_mut() });
        (*HEAP.state.get()).first = first;
    }
}

/// Bytes in use, and how far from its beginning the heap was ever used.
pub fn used() -> [usize; 2] {
    // SAFETY: one thread, and no reference to the state is kept.
    let state = unsafe { &*HEAP.state.get() };
    [state.live, state.reached]
}

fn rounded(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(UNIT)
}

// SAFETY: a block is taken out of a hole, which no other block shares, and holes are made only of blocks that are given back.
// Sizes are multiples of a head's, so that each rest has room for one.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = rounded(layout);
        // SAFETY: one thread; links lead from hole to hole, each with a valid head, and every write is within a hole.
        unsafe {
            let state = &mut *self.state.get();
            let mut link = &raw mut state.first;
            while let Some(&hole) = (*link).as_ref() {
                let at = *link as usize;
                let from = at.next_multiple_of(layout.align().max(UNIT));
                let end = at + hole.size;
                if end < from || end - from < size {
                    link = &raw mut (**link).next;
                    continue;
                }
                let mut next = hole.next;
                if from + size < end {
                    let rest = (from + size) as *mut Hole;
                    rest.write(Hole { size: end - from - size, next });
                    next = rest;
                }
                if at < from {
                    (*(at as *mut Hole)).size = from - at;
                    (*(at as *mut Hole)).next = next;
                } else {
                    *link = next;
                }
                state.live += size;
                state.reached = state.reached.max(from + size - self.bytes.get() as usize);
                return from as *mut u8;
            }
        }
        ptr::null_mut()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (at, mut size) = (block as usize, rounded(layout));
        // SAFETY: as above; the block lies between the hole that `link` is in and the next.
        unsafe {
            let state = &mut *self.state.get();
            state.live -= size;
            let mut before: *mut Hole = ptr::null_mut();
            let mut next = state.first;
            while !next.is_null() && (next as usize) < at {
                (before, next) = (next, (*next).next);
            }
            if at + size == next as usize {
                size += (*next).size;
                next = (*next).next;
            }
            if !before.is_null() && before as usize + (*before).size == at {
                (*before).size += size;
                (*before).next = next;
                return;
            }
            let hole = at as *mut Hole;
            hole.write(Hole { size, next });
            if before.is_null() {
                state.first = hole;
            } else {
                (*before).next = hole;
            }
        }
    }
}
