//! Devices in threads of the test, behind a Unix socket or a pseudo-terminal, with the real link.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

use alys_device_host::{
    DEFAULT_SPEED, Device, DeviceError, Expected, Line, PairingFile, Person, Settings, Timing, pair,
};
use alys_firmware_core::link::{
    Collector, DeviceEvent, DeviceLink, DeviceSettings, Entropy, Hello, NoEntropy, Provisioned,
    PublicKey, StaticKey, WIRE_BYTES, Words,
};
use alys_protocol::bytes::SpecDigest;
use alys_protocol::signer::PROTOCOL_VERSION;
use alys_protocol::units::{ChainId, Epoch, MemberId};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tempfile::TempDir;
use zeroize::Zeroizing;

pub fn entropy() -> impl Entropy {
    || {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoEntropy)?;
        Ok(bytes)
    }
}

pub fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        provisioned: Some(Provisioned {
            chain_id: ChainId::new(2121),
            epoch: Epoch::new(0),
            member: MemberId::new(3),
            spec: SpecDigest::new([7; 32]),
        }),
        firmware: Words::new("simulated 0.1"),
    }
}

pub fn expected() -> Expected {
    Expected {
        chain_id: ChainId::new(2121),
        spec: SpecDigest::new([7; 32]),
        member: Some(MemberId::new(3)),
    }
}

/// A device's durable part.
#[derive(Clone)]
pub struct Flash {
    pub key: [u8; 32],
    pub host: Option<PublicKey>,
    pub hello: Hello,
    pub pairing_open: bool,
}

impl Flash {
    pub fn new(seed: u8) -> Self {
        Self {
            key: [seed; 32],
            host: None,
            hello: hello(),
            pairing_open: true,
        }
    }

    pub fn key(&self) -> StaticKey {
        StaticKey::new(Zeroizing::new(self.key))
    }
}

/// What the program on the device does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Answers with the same bytes.
    Echoes,
    /// Loses power in the middle of the first requests, and echoes when it has done so that often.
    Fails(u32),
    /// Computes for ever.
    Computes,
    /// Has no memory.
    NoMemory,
}

/// What the person at the device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    Press,
    Refuse,
    Nothing,
}

/// A device behind a Unix socket, power-cycled each time that its host hangs up.
pub struct Simulation {
    pub path: PathBuf,
    /// Codes that it showed.
    pub codes: Receiver<String>,
    pub folder: TempDir,
}

pub fn simulate(flash: Flash, program: Program, button: Button) -> Simulation {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line");
    let listener = UnixListener::bind(&path).unwrap();
    let (code, codes) = channel();
    std::thread::spawn(move || {
        let (mut flash, mut program) = (flash, program);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            run(&mut stream, &mut flash, &mut program, button, &code);
        }
    });
    Simulation {
        path,
        codes,
        folder,
    }
}

/// The main loop of a firmware, until its host hangs up or it loses power.
pub fn run(
    line: &mut (impl Read + Write),
    flash: &mut Flash,
    program: &mut Program,
    button: Button,
    codes: &Sender<String>,
) {
    let mut link = DeviceLink::new(DeviceSettings {
        key: flash.key(),
        host: flash.host,
        hello: flash.hello.clone(),
        max_request_bytes: 300_000,
        credit: 4,
    })
    .unwrap();
    if flash.pairing_open {
        link.open_pairing();
    }
    let mut entropy = entropy();
    let mut collector = Collector::new();
    let mut wire = [0u8; WIRE_BYTES];
    let mut byte = [0u8; 1];
    while matches!(line.read(&mut byte), Ok(1)) {
        let mut confirmed = false;
        let answer = match link.feed(byte[0], &mut entropy) {
            Some(DeviceEvent::Part(part)) => {
                if let Program::Fails(left) = program
                    && *left > 0
                    && part.offset > 2000
                {
                    *left -= 1;
                    return;
                }
                if *program == Program::NoMemory {
                    Some((part.request, None))
                } else {
                    let whole = collector.take(&part).unwrap();
                    whole.map(|whole| (part.request, Some(whole)))
                }
            }
            Some(DeviceEvent::PairingCode(code)) => {
                codes.send(code.to_string()).unwrap();
                None
            }
            Some(DeviceEvent::PairingConfirmed) => {
                confirmed = true;
                None
            }
            Some(DeviceEvent::PairingCancelled) | None => None,
        };
        match answer {
            Some((request, None)) => {
                // Later pieces find it answered.
                let _ = link.reject(request, alys_firmware_core::link::Rejection::OutOfMemory);
            }
            Some((request, Some(whole))) if *program != Program::Computes => {
                link.reply(request, whole).unwrap();
            }
            Some(_) | None => {}
        }
        match (confirmed, button) {
            (true, Button::Press) => {
                // Stored first.
                flash.host = Some(link.pairing().unwrap().host);
                link.accept_pairing().unwrap();
            }
            (true, Button::Refuse) => link.deny_pairing().unwrap(),
            (true, Button::Nothing) | (false, _) => {}
        }
        while let Some(length) = link.poll_transmit(&mut wire) {
            if line.write_all(&wire[..length]).is_err() {
                return;
            }
        }
    }
}

/// Types what a device shows, or something else.
pub struct Typist<'a> {
    pub codes: &'a Receiver<String>,
    pub wrong: bool,
}

impl Person for Typist<'_> {
    fn types_code(&mut self) -> Option<String> {
        let code = self.codes.recv_timeout(Duration::from_secs(20)).unwrap();
        Some(if self.wrong {
            // Another last digit.
            let (head, last) = code.split_at(6);
            let digit = (last.parse::<u8>().unwrap() + 1) % 10;
            format!("{head}{digit}")
        } else {
            code
        })
    }

    fn presses_button(&mut self) {}
}

pub fn paired(simulation: &Simulation) -> PairingFile {
    let person = &mut Typist {
        codes: &simulation.codes,
        wrong: false,
    };
    let line = Line::open(&simulation.path, DEFAULT_SPEED).unwrap();
    pair(
        line,
        Duration::from_secs(20),
        Duration::from_secs(20),
        person,
    )
    .unwrap()
}

pub fn settings(path: &Path, pairing: PairingFile) -> Settings {
    Settings {
        path: path.to_owned(),
        speed: DEFAULT_SPEED,
        pairing,
        expected: Some(expected()),
        timing: Timing {
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(20),
        },
    }
}

/// A copy of a pairing, through its file.
pub fn again(folder: &Path, pairing: &PairingFile) -> PairingFile {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join("pairing.toml");
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .unwrap()
        .write_all(pairing.to_text().as_bytes())
        .unwrap();
    PairingFile::read(&path).unwrap()
}

/// What a device that was paired and then changed says when it is asked.
pub fn asked_of(
    change: impl FnOnce(&mut Flash),
    settled: impl FnOnce(&mut Settings),
) -> DeviceError {
    let first = simulate(Flash::new(5), Program::Echoes, Button::Press);
    let pairing = paired(&first);
    let mut flash = Flash::new(5);
    flash.host = Some(pairing.host().unwrap());
    flash.pairing_open = false;
    change(&mut flash);
    let second = simulate(flash, Program::Echoes, Button::Press);
    let mut settings = settings(&second.path, pairing);
    settled(&mut settings);
    Device::new(settings).request(b"hello").unwrap_err()
}
