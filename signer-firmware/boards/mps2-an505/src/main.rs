//! The signer device on QEMU's `mps2-an505`: a Cortex-M33 at 20 MHz with 512 KB of RAM and 1 MiB of flash for data, less than an STM32H573 has.
//!
//! | part | here |
//! |---|---|
//! | link | UART0 |
//! | random numbers | UART1, on which QEMU gives the host's |
//! | flash | 1 MiB of the PSRAM, which QEMU keeps in a file; written as NOR flash is |
//! | monotonic counter | a file beside QEMU, by semihosting: not in the flash's file |
//! | button, tamper input | files beside QEMU: pressed, or open, while they exist |
//! | watchdog | the CMSDK watchdog, a minute |
//! | status light | the board's two LEDs |
//!
//! It keeps keys in that file in clear. It is for tests, and nothing else.
#![no_std]
#![no_main]

extern crate alloc;

mod files;
mod heap;
mod nor;
mod registers;
mod time;
mod uart;
mod watchdog;

use alloc::vec;
use alys_firmware_core::{Decoder, encode, encoded_length};
use alys_firmware_device::{Device, MAX_MESSAGE_BYTES};
use alys_firmware_platform::{Memory, Parts, Platform, Watchdog as _};
use core::cell::RefCell;
use core::panic::PanicInfo;
use cortex_m_rt::entry;

/// Message and checksum.
const DECODER_BYTES: usize = MAX_MESSAGE_BYTES + 4;

struct Board;

impl Platform for Board {
    type Flash = nor::Psram;
    type Counter = files::CounterFile;
    type Entropy = uart::RandomUart;
    type Timer = time::SysTickTimer;
    type Watchdog = watchdog::CmsdkWatchdog;
    type Tamper = files::InputFile;
    type Button = files::InputFile;
    type Light = watchdog::Leds;

    const NAME: &'static str = "QEMU mps2-an505, keys in a file in clear: for tests only";

    fn memory() -> Memory {
        heap::peaks()
    }
}

#[entry]
fn main() -> ! {
    heap::start();
    let Some(core) = cortex_m::Peripherals::take() else {
        stop()
    };
    let link = uart::Uart::link();
    let flash = RefCell::new(nor::Psram::new(link));
    let parts = Parts::<Board> {
        counter: files::CounterFile,
        entropy: uart::RandomUart::new(),
        timer: time::SysTickTimer::start(core.SYST),
        watchdog: watchdog::CmsdkWatchdog::start(),
        tamper: files::InputFile("tamper"),
        button: files::InputFile("button"),
        light: watchdog::Leds,
    };
    // 124 KB: kept off the stack.
    static DECODER: cortex_m::interrupt::Mutex<RefCell<Decoder<DECODER_BYTES>>> =
        cortex_m::interrupt::Mutex::new(RefCell::new(Decoder::new()));
    let mut device = Device::start(&flash, parts);
    loop {
        let byte = link.read();
        // SAFETY: there is one core, and no interrupt handler uses the decoder.
        let token = unsafe { cortex_m::interrupt::CriticalSection::new() };
        let mut decoder = DECODER.borrow(&token).borrow_mut();
        let reply = match decoder.push(byte) {
            Some(Ok(message)) => device.handle(message),
            // Noise: the other side asks again.
            Some(Err(_)) | None => {
                device.parts().watchdog.feed();
                continue;
            }
        };
        device.parts().watchdog.feed();
        send(link, &reply);
    }
}

fn send(link: uart::Uart, message: &[u8]) {
    let mut frame = vec![0; encoded_length(message.len())];
    if let Ok(length) = encode(message, &mut frame) {
        for byte in frame.iter().take(length) {
            link.write(*byte);
        }
    }
}

/// Leaves the rest to the watchdog.
fn stop() -> ! {
    cortex_m::interrupt::disable();
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    files::log(info);
    stop()
}
