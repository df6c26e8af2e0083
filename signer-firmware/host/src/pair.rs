//! Pairing, with a person at the terminal and at the device.

use crate::HostEntropy;
use crate::connection::Connection;
use crate::error::DeviceError;
use crate::line::Line;
use crate::paired::PairingFile;
use alys_firmware_core::link::{
    Code, Entropy as _, HostPairing, LINK_VERSION, PairingEvent, RefuseReason, StaticKey,
};
use std::time::{Duration, Instant};

/// The person who sees both ends.
pub trait Person {
    /// What the person reads off the device, typed; `None` where they give up.
    fn types_code(&mut self) -> Option<String>;
    /// The code was right: tells the person to press the device's button now.
    fn presses_button(&mut self);
}

/// Pairs a fresh key of this host with the device on `line`, which a person has opened for it.
///
/// `silence` is how long the device may take for each of its messages, `button` how long the person may take for the press.
///
/// # Errors
/// - [`DeviceError`]: nothing was paired at this end.
pub fn pair(
    line: Line,
    silence: Duration,
    button: Duration,
    person: &mut dyn Person,
) -> Result<PairingFile, DeviceError> {
    let entropy = &mut HostEntropy;
    let key = StaticKey::new(
        entropy
            .fresh()
            .map_err(alys_firmware_core::link::LinkFault::from)?,
    );
    let mut pairing = HostPairing::start(&key, entropy)?;
    let mut connection = Connection::new(line);
    let code = match wait(&mut connection, &mut pairing, silence)? {
        Some(PairingEvent::Code(code)) => code,
        Some(other) => return Err(wrong(other)),
        None => return Err(connection.nothing(silence)),
    };
    if !typed(code, person) {
        pairing.cancel();
        // Should it be lost, the device's own timer ends the pairing.
        connection.send(|wire| pairing.poll_transmit(wire))?;
        return Err(DeviceError::WrongCode);
    }
    pairing.confirm();
    person.presses_button();
    match wait(&mut connection, &mut pairing, button)? {
        Some(PairingEvent::Paired(device)) => Ok(PairingFile::new(key, device)),
        Some(other) => Err(wrong(other)),
        None => Err(DeviceError::NoButton { waited: button }),
    }
}

fn typed(code: Code, person: &mut dyn Person) -> bool {
    person.types_code().is_some_and(|text| code.is(&text))
}

/// Repeats what was said until something happens; `None` where nothing does.
fn wait(
    connection: &mut Connection,
    pairing: &mut HostPairing,
    limit: Duration,
) -> Result<Option<PairingEvent>, DeviceError> {
    let until = Instant::now() + limit;
    loop {
        connection.send(|wire| pairing.poll_transmit(wire))?;
        match connection.receive(until)? {
            Some(bytes) => {
                for byte in bytes {
                    if let Some(event) = pairing.feed(*byte) {
                        return Ok(Some(event));
                    }
                }
            }
            None => pairing.nudge(),
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

fn wrong(event: PairingEvent) -> DeviceError {
    match event {
        PairingEvent::Refused {
            reason,
            device,
            version,
        } => match reason {
            RefuseReason::Version => DeviceError::OtherVersion {
                device,
                expected: LINK_VERSION,
                found: version,
            },
            RefuseReason::Entropy => DeviceError::NoEntropy { device },
            RefuseReason::PairingClosed | RefuseReason::Unpaired | RefuseReason::Stranger => {
                DeviceError::PairingClosed { device }
            }
        },
        PairingEvent::Denied => DeviceError::Denied,
        PairingEvent::Forged | PairingEvent::Code(_) | PairingEvent::Paired(_) => {
            DeviceError::Forged
        }
    }
}
