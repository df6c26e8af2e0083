//! What is plugged in.

use crate::connection::Connection;
use crate::error::DeviceError;
use crate::line::Line;
use alys_firmware_core::Decoder;
use alys_firmware_core::link::{
    Announcement, LINK_VERSION, MAX_PACKET_BYTES, probe as write_probe, read_announcement,
};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where Linux names serial lines by what is at their end, so that a name stays when the order of plugging changes.
pub const BY_ID: &str = "/dev/serial/by-id";

/// A serial line, and what answered on it.
#[derive(Debug)]
pub struct Candidate {
    /// Its path.
    pub path: PathBuf,
    /// The device, or why there is none.
    pub found: Result<Announcement, DeviceError>,
}

/// Asks every line in a folder who is there. Each gets a few bytes, whatever it is.
///
/// # Errors
/// - what the operating system reports of the folder; one that does not exist is empty.
pub fn list(folder: &Path, speed: u32, wait: Duration) -> io::Result<Vec<Candidate>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // Linux makes the folder with the first line.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths
        .into_iter()
        .map(|path| Candidate {
            found: Line::open(&path, speed).and_then(|line| probe(line, wait)),
            path,
        })
        .collect())
}

/// Asks who is at the end of a line. The answer is not authenticated.
///
/// # Errors
/// - [`DeviceError::Silent`], [`DeviceError::NotADevice`] where no device answers within `wait`;
/// - [`DeviceError::OtherVersion`] where it speaks another version;
/// - [`DeviceError::Line`] where the line fails.
pub fn probe(line: Line, wait: Duration) -> Result<Announcement, DeviceError> {
    let mut connection = Connection::new(line);
    let mut decoder = Decoder::<{ MAX_PACKET_BYTES + 4 }>::new();
    let until = Instant::now() + wait;
    loop {
        let mut asked = false;
        connection.send(|wire| {
            let again = !core::mem::replace(&mut asked, true);
            again.then(|| write_probe(wire)).flatten()
        })?;
        while let Some(bytes) = connection.receive(until)? {
            for byte in bytes {
                let Some(Ok(message)) = decoder.push(*byte) else {
                    continue;
                };
                let Some(found) = read_announcement(message) else {
                    continue;
                };
                if found.version != LINK_VERSION {
                    return Err(DeviceError::OtherVersion {
                        device: found.device,
                        expected: LINK_VERSION,
                        found: found.version,
                    });
                }
                return Ok(found);
            }
        }
        if Instant::now() >= until {
            return Err(connection.nothing(wait));
        }
    }
}
