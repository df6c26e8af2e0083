//! The file descriptor: a serial line in raw mode, or the Unix socket of an emulator.

use crate::error::DeviceError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, QueueSelector};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bits per second where the configuration names none. A line over USB has its own speed.
pub const DEFAULT_SPEED: u32 = 921_600;

/// An open line, used by nobody else.
#[derive(Debug)]
pub struct Line {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Line {
    /// Opens a serial line in raw mode with `speed` bits per second, or a Unix socket.
    ///
    /// # Errors
    /// - [`DeviceError::NoSuchPath`], [`DeviceError::NoPermission`], [`DeviceError::NotALine`], [`DeviceError::InUse`];
    /// - [`DeviceError::Line`] for whatever else the operating system reports.
    pub fn open(path: &Path, speed: u32) -> Result<Self, DeviceError> {
        let kind = std::fs::metadata(path)
            .map_err(|error| failed(path, error))?
            .file_type();
        let descriptor = if kind.is_socket() {
            socket(path)
        } else if kind.is_char_device() {
            return terminal(path, speed);
        } else {
            return Err(DeviceError::NotALine {
                path: path.to_owned(),
                found: if kind.is_dir() {
                    "a directory"
                } else {
                    "a file"
                },
            });
        };
        Ok(Self {
            descriptor: descriptor.map_err(|error| failed(path, error))?,
            path: path.to_owned(),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there, waiting for it until `until`; 0 where nothing came.
    ///
    /// # Errors
    /// - [`DeviceError::Line`] where the line failed or ended.
    pub(crate) fn read(&self, buffer: &mut [u8], until: Instant) -> Result<usize, DeviceError> {
        loop {
            match rustix::io::read(&self.descriptor, &mut *buffer) {
                Ok(0) => return Err(failed(&self.path, io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => return Ok(length),
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::IN, until)? {
                        return Ok(0);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&self.path, error.into())),
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// - [`DeviceError::Line`] where the line failed, or took nothing until `until`.
    pub(crate) fn write(&self, mut bytes: &[u8], until: Instant) -> Result<(), DeviceError> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.descriptor, bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, until)? {
                        return Err(failed(&self.path, io::ErrorKind::TimedOut.into()));
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&self.path, error.into())),
            }
        }
        Ok(())
    }

    /// Waits for an event; false where the time is over.
    fn wait(&self, event: PollFlags, until: Instant) -> Result<bool, DeviceError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left.min(Duration::from_secs(3600)))
                .map_err(|_| failed(&self.path, io::ErrorKind::InvalidInput.into()))?;
            let mut polled = [PollFd::new(&self.descriptor, event)];
            match poll(&mut polled, Some(&left)) {
                // An error or a hang-up is reported by the read or write that follows.
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&self.path, error.into())),
            }
        }
    }
}

fn socket(path: &Path) -> io::Result<OwnedFd> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}

fn terminal(path: &Path, speed: u32) -> Result<Line, DeviceError> {
    let os = |error: Errno| failed(path, error.into());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(os)?;
    if !rustix::termios::isatty(&descriptor) {
        return Err(DeviceError::NotALine {
            path: path.to_owned(),
            found: "another kind of device",
        });
    }
    // The lock is between programs that ask for it, root's too; the exclusive mode keeps everybody else's out.
    flock(&descriptor, FlockOperation::NonBlockingLockExclusive).map_err(os)?;
    rustix::termios::ioctl_tiocexcl(&descriptor).map_err(os)?;
    let mut settings = rustix::termios::tcgetattr(&descriptor).map_err(os)?;
    settings.make_raw();
    settings.set_speed(speed).map_err(os)?;
    rustix::termios::tcsetattr(&descriptor, OptionalActions::Now, &settings).map_err(os)?;
    // What was sent to whoever had the line before.
    rustix::termios::tcflush(&descriptor, QueueSelector::IOFlush).map_err(os)?;
    Ok(Line {
        descriptor,
        path: path.to_owned(),
    })
}

fn failed(path: &Path, error: io::Error) -> DeviceError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => DeviceError::NoSuchPath { path },
        io::ErrorKind::PermissionDenied => DeviceError::NoPermission { path },
        io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => DeviceError::InUse { path },
        _ => DeviceError::Line { path, error },
    }
}
