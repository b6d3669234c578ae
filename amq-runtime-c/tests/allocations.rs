//! A step with known shapes allocates nothing, on either side of the border.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use amq::{
    amq_error, amq_model, amq_model_load, amq_session, amq_session_new, amq_session_output,
    amq_session_run, amq_session_step, amq_status, amq_tensor,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the contract, which is the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the contract, which is the system's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_step_allocates_nothing() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/lstm/model.amq"));
    let bytes = bytes.unwrap();
    let (mut model, mut session) = (amq_model { id: 0 }, amq_session { id: 0 });
    let (shape, token) = ([1usize, 1], [7i64]);
    let input = amq_tensor {
        name: c"tokens".as_ptr(),
        data_type: 1,
        rank: 2,
        shape: shape.as_ptr(),
        data: token.as_ptr().cast(),
        bytes: 8,
    };
    let mut output = amq_tensor { name: ptr::null(), data: ptr::null(), ..input };
    // SAFETY: everything lies where these say, and outlives the calls.
    unsafe {
        assert_eq!(
            amq_model_load(bytes.as_ptr().cast(), bytes.len(), &mut model),
            amq_status::AMQ_OK
        );
        assert_eq!(amq_session_new(model, &mut session), amq_status::AMQ_OK);
    }
    // SAFETY: as above.
    let mut step = || unsafe {
        assert_eq!(amq_session_step(session, &input, 1), amq_status::AMQ_OK);
        assert_eq!(amq_session_run(session, &input, 1), amq_status::AMQ_OK);
        assert_eq!(amq_session_output(session, 0, &mut output), amq_status::AMQ_OK);
    };
    let before = ALLOCATIONS.with(Cell::get);
    step();
    let first = ALLOCATIONS.with(Cell::get);
    assert!(first > before);
    (0..5).for_each(|_| step());
    assert_eq!(ALLOCATIONS.with(Cell::get), first);
    // SAFETY: a text that ends with a zero byte.
    assert_eq!(unsafe { std::ffi::CStr::from_ptr(amq_error()) }, c"");
    assert_eq!(output.bytes, 2000 * 4);
}
