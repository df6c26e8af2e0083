//! A device in the emulator and its federation.
#![allow(dead_code, reason = "each program uses a part")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

#[path = "../../../device/tests/kit/mod.rs"]
pub mod federation;

use alys_firmware_device::command::{Answer, Command, DeviceCard, Info};
use alys_firmware_emulator::{Emulator, Machine};
use alys_protocol::spec::{Chain, ChainSpec};
pub use federation::fixtures::{self, Honest};
#[allow(unused_imports, reason = "each program uses a part")]
pub use federation::{Officers, card, generate, refused, spec_with};
use std::path::PathBuf;
use tempfile::TempDir;

/// The image that `make firmware` built.
pub fn image() -> PathBuf {
    let path = std::env::var_os("ALYS_FIRMWARE_IMAGE");
    let path = PathBuf::from(path.expect("ALYS_FIRMWARE_IMAGE: run `make firmware`"));
    assert!(path.is_file(), "no image at {}", path.display());
    path
}

/// A provisioned device that is on, and its federation.
pub struct Kit {
    pub folder: TempDir,
    pub machine: Machine,
    pub device: Option<Emulator>,
    pub honest: Honest,
    pub officers: Officers,
    pub card: DeviceCard,
}

impl Kit {
    pub fn new(counted: bool) -> Self {
        Self::with(counted, |_spec| ())
    }

    /// On another chain.
    pub fn with(counted: bool, change: impl FnOnce(&mut ChainSpec)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::new(folder.path(), &image()).unwrap();
        machine.press(true).unwrap();
        let mut device = machine.start(counted).unwrap();
        let card = card(device.tell(&generate()).unwrap());
        let officers = Officers::three();
        let mut spec = spec_with(&card);
        change(&mut spec);
        let provision = Command::Provision(Box::new(officers.provision(&spec)));
        assert_eq!(device.tell(&provision).unwrap(), Answer::Done);
        machine.press(false).unwrap();
        Self {
            folder,
            machine,
            device: Some(device),
            honest: Honest::new(Chain::new(spec).unwrap()),
            officers,
            card,
        }
    }

    pub fn device(&mut self) -> &mut Emulator {
        self.device.as_mut().unwrap()
    }

    /// Power off and on.
    pub fn restart(&mut self, counted: bool) {
        self.device = None;
        self.device = Some(self.machine.start(counted).unwrap());
    }

    pub fn info(&mut self) -> Info {
        info(self.device())
    }
}

pub fn info(device: &mut Emulator) -> Info {
    match device.tell(&Command::Info).unwrap() {
        Answer::Info(info) => *info,
        other => panic!("{other:?}"),
    }
}
