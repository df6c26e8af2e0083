//! The board's memory-mapped registers.

/// Reads a register.
pub(crate) fn read(address: usize) -> u32 {
    // SAFETY: callers name registers of the AN505's peripherals, which QEMU maps for the whole run; any value may be read.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a register.
pub(crate) fn write(address: usize, value: u32) {
    // SAFETY: callers name registers of the AN505's peripherals, none of which moves memory or changes its protection.
    unsafe { (address as *mut u32).write_volatile(value) }
}
