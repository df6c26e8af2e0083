//! CMSDK UARTs.

use crate::registers::{read, write};
use alys_firmware_platform::{Entropy, Fault};
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

const DATA: usize = 0x0;
const STATE: usize = 0x4;
const CONTROL: usize = 0x8;
const INTERRUPT: usize = 0xc;
const DIVIDER: usize = 0x10;

const TRANSMIT_FULL: u32 = 1;
const RECEIVE_FULL: u32 = 2;
/// Transmitter, receiver, and the receiver's interrupt.
const ENABLE: u32 = 0b1011;
const RECEIVE_INTERRUPT: u32 = 2;

#[derive(Clone, Copy)]
struct Line(u16);

// SAFETY: the AN505 has 92 external interrupts, and the numbers below are receivers' of UART0 and UART1.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        self.0
    }
}

/// A UART whose receiver wakes the core.
#[derive(Clone, Copy)]
pub(crate) struct Uart {
    base: usize,
    line: Line,
}

impl Uart {
    /// UART0: the link.
    pub(crate) fn link() -> Self {
        Self::start(0x5020_0000, Line(32))
    }

    fn start(base: usize, line: Line) -> Self {
        write(base + DIVIDER, 16);
        write(base + CONTROL, ENABLE);
        // The first byte that is seen after the receiver was enabled is none.
        let _stale = read(base + DATA);
        Self { base, line }
    }

    /// Waits for a byte.
    pub(crate) fn read(self) -> u8 {
        loop {
            if read(self.base + STATE) & RECEIVE_FULL != 0 {
                // Before the data: the next byte's interrupt must not be cleared with this one's.
                write(self.base + INTERRUPT, RECEIVE_INTERRUPT);
                return read(self.base + DATA).to_le_bytes()[0];
            }
            // With interrupts masked: one that comes between the check and the wait ends the wait.
            cortex_m::interrupt::free(|_| {
                NVIC::unpend(self.line);
                // SAFETY: masked again before interrupts are let in, so no handler runs.
                unsafe { NVIC::unmask(self.line) };
                if read(self.base + STATE) & RECEIVE_FULL == 0 {
                    cortex_m::asm::wfi();
                }
                NVIC::mask(self.line);
            });
        }
    }

    /// Sends a byte.
    pub(crate) fn write(self, byte: u8) {
        while read(self.base + STATE) & TRANSMIT_FULL != 0 {}
        write(self.base + DATA, u32::from(byte));
    }
}

/// UART1, on which QEMU gives the host's random numbers.
pub(crate) struct RandomUart {
    uart: Uart,
    last: [u8; 16],
}

impl RandomUart {
    pub(crate) fn new() -> Self {
        Self {
            uart: Uart::start(0x5020_1000, Line(34)),
            last: [0; 16],
        }
    }
}

impl Entropy for RandomUart {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        for chunk in bytes.chunks_mut(16) {
            let mut block = [0u8; 16];
            for byte in &mut block {
                *byte = self.uart.read();
            }
            // FIPS 140-2's continuous test: a generator that is stuck repeats itself.
            if block == self.last {
                return Err(Fault {
                    part: "random numbers",
                    reason: "the same 16 bytes twice",
                });
            }
            self.last = block;
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
        Ok(())
    }
}
