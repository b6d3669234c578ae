//! The board: how it starts, its clock, how much of the stack was used, and semihosting.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

unsafe extern "C" {
    static mut data_start: u32;
    static mut data_end: u32;
    static data_source: u32;
    static mut bss_start: u32;
    static mut bss_end: u32;
    static mut stack_start: u32;
    fn stack_end();
    fn reset();
}

/// What the CPU reads first: where the stack ends, where to begin, and what faults lead to.
#[unsafe(link_section = ".vectors")]
#[used]
static VECTORS: [unsafe extern "C" fn(); 16] = {
    let mut vectors: [unsafe extern "C" fn(); 16] = [fault; 16];
    vectors[0] = stack_end;
    vectors[1] = reset;
    vectors
};

// The first code: floats are off until they are asked for, and code that Rust makes may use them anywhere.
global_asm!(
    ".section .text.reset, \"ax\"",
    ".global reset",
    ".thumb_func",
    "reset:",
    "ldr r0, =0xe000ed88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xf00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "b start",
    ".ltorg",
);

/// What the stack holds where it was never used.
const UNUSED: u32 = 0x5ac3_a53c;

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    // SAFETY: nothing else runs, and nothing that lies there was used yet; the linker's script says where all
    // begins and ends, at multiples of 4. Of the stack, 256 bytes at its end are this function's.
    unsafe {
        let (mut to, end) = (&raw mut data_start, &raw mut data_end);
        let mut from = &raw const data_source;
        while to < end {
            to.write_volatile(from.read());
            (to, from) = (to.add(1), from.add(1));
        }
        let (mut to, end) = (&raw mut bss_start, &raw mut bss_end);
        while to < end {
            to.write_volatile(0);
            to = to.add(1);
        }
        let (mut to, end) = (&raw mut stack_start, (stack_end as *mut u32).sub(64));
        while to < end {
            to.write_volatile(UNUSED);
            to = to.add(1);
        }
        // The clock of the core, down from the most that it holds.
        (0xe000_e014 as *mut u32).write_volatile(0x00ff_ffff);
        (0xe000_e018 as *mut u32).write_volatile(0);
        (0xe000_e010 as *mut u32).write_volatile(5);
    }
    crate::main()
}

unsafe extern "C" fn fault() {
    print("fault\n");
    exit(false)
}

/// Bytes of the stack that were ever used.
pub fn stack() -> usize {
    let end = stack_end as *const u32;
    let mut at = (&raw const stack_start).cast::<u32>();
    // SAFETY: the stack's memory; words are read that nobody writes while they are.
    while at < end && unsafe { at.read_volatile() } == UNUSED {
        at = at.wrapping_add(1);
    }
    end as usize - at as usize
}

/// Bytes of RAM that are laid out before the program runs, the heap's own among them.
pub fn fixed() -> usize {
    (&raw const bss_end) as usize - (&raw const data_start) as usize
}

/// Ticks of the clock, up to 2^24 and then from 0.
pub fn ticks() -> u32 {
    // SAFETY: a register of the clock, which reading does not change.
    0x00ff_ffff - unsafe { (0xe000_e018 as *const u32).read_volatile() }
}

/// Asks the debugger or emulator for something.
fn semihost(operation: usize, argument: usize) {
    // SAFETY: a breakpoint that a debugger or emulator answers; it reads memory and changes r0.
    unsafe { asm!("bkpt 0xab", inout("r0") operation => _, in("r1") argument) }
}

/// Prints a text.
pub fn print(text: &str) {
    for byte in text.bytes() {
        semihost(3, &raw const byte as usize);
    }
}

/// Ends the emulator.
pub fn exit(well: bool) -> ! {
    semihost(0x18, if well { 0x2_0026 } else { 0x2_0023 });
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print(&alloc::format!("{info}\n"));
    exit(false)
}
