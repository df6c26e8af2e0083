//! The heap, and how much of it and of the stack was used at most.

use alys_firmware_platform::Memory;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU32, Ordering};
use embedded_alloc::LlffHeap;

/// A peg-out of 50 burns needs 197 KB.
const BYTES: usize = 320 << 10;

static mut MEMORY: [MaybeUninit<u8>; BYTES] = [MaybeUninit::uninit(); BYTES];

struct Counted(LlffHeap);

#[global_allocator]
static HEAP: Counted = Counted(LlffHeap::empty());
static PEAK: AtomicU32 = AtomicU32::new(0);

// SAFETY: all is left to the inner allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.0.alloc(layout) };
        let used = u32::try_from(self.0.used()).unwrap_or(u32::MAX);
        PEAK.fetch_max(used, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(block, layout) }
    }
}

/// Gives the heap its memory.
pub(crate) fn start() {
    // SAFETY: called once, before anything is allocated; nothing else names the memory.
    unsafe { HEAP.0.init(addr_of_mut!(MEMORY) as usize, BYTES) }
}

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_start: u32;
}

/// What cortex-m-rt paints the stack with.
const PAINT: u32 = 0xcccc_cccc;

/// The most that was used since the start.
pub(crate) fn peaks() -> Memory {
    let low = &raw const _stack_end;
    let high = &raw const _stack_start;
    // SAFETY: both are the linker's bounds of the stack's memory, aligned to words, which is painted from below.
    let clean = unsafe {
        let words = high.offset_from(low).unsigned_abs();
        (0..words)
            .take_while(|word| low.add(*word).read_volatile() == PAINT)
            .count()
    };
    let bytes = (high as usize).saturating_sub(low as usize);
    Memory {
        stack: u32::try_from(bytes.saturating_sub(clean * 4)).unwrap_or(u32::MAX),
        heap: PEAK.load(Ordering::Relaxed),
    }
}
