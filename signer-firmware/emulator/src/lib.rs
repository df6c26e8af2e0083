//! The signer device's image in QEMU, as tests and the report drive it: a machine whose files are in one folder.
//!
//! | file | what |
//! |---|---|
//! | `flash` | the board's PSRAM: the device's flash. Copying it back is a roll-back |
//! | `counter` | the monotonic counter |
//! | `button`, `tamper` | the input is high while the file exists |
//! | `power-cut` | where power goes ([`PowerCut`]) |
//! | `uart` | the socket of the link |
//! | `log` | what QEMU or a panic said |

use alys_firmware_core::{Decoder, encode, encoded_length};
use alys_firmware_device::MAX_MESSAGE_BYTES;
use alys_firmware_device::command::{self, Answer, Command};
use alys_protocol::signer::{PROTOCOL_VERSION, Reply, Request, RequestEnvelope};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;
use thiserror::Error;

/// What the device says when power goes, as its test asked for.
const POWER_CUT: &[u8] = b"\xffpower cut";
/// Bytes of the PSRAM; the device uses the first MiB.
const FLASH_BYTES: u64 = 16 << 20;
/// How long QEMU may be silent before it counts as hanging: a start verifies proofs of possession.
const PATIENCE: Duration = Duration::from_secs(60);

/// An emulator that does not do what it should.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// A file, a socket or a process.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// QEMU ended.
    #[error("QEMU ended: {0}")]
    Ended(String),
    /// The device says nothing.
    #[error("expected a reply within {PATIENCE:?}, found none; the log says: {0}")]
    Silent(String),
    /// Power went, as asked for.
    #[error("the device's power went")]
    PowerCut,
    /// The device's bytes are no reply.
    #[error("expected a reply of the device, found {0:?}")]
    Reply(Vec<u8>),
    /// The message cannot be written.
    #[error("the message does not fit a frame")]
    Message,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> EmulatorError {
    move |error| EmulatorError::Io { what, error }
}

/// Where power goes: an erasure or write, counted from the start, and the bytes of it that are still done.
#[derive(Debug, Clone, Copy)]
pub struct PowerCut {
    /// The operation, from 0.
    pub operation: u32,
    /// Its bytes that are done.
    pub bytes: u32,
}

/// The files of a device; they outlive the emulator.
#[derive(Debug, Clone)]
pub struct Machine {
    folder: PathBuf,
    image: PathBuf,
}

impl Machine {
    /// A new device with erased flash, in an empty folder.
    ///
    /// # Errors
    /// - [`EmulatorError::Io`] where its files cannot be made.
    pub fn new(folder: &Path, image: &Path) -> Result<Self, EmulatorError> {
        let machine = Self {
            folder: folder.to_owned(),
            image: image.to_owned(),
        };
        let make = || {
            let mut flash = File::create(machine.flash())?;
            flash.write_all(&vec![0xff; 1 << 20])?;
            flash.set_len(FLASH_BYTES)
        };
        make().map_err(io_error("making the flash"))?;
        Ok(machine)
    }

    /// The flash's file.
    pub fn flash(&self) -> PathBuf {
        self.folder.join("flash")
    }

    /// Presses the button, or lets it go.
    ///
    /// # Errors
    /// - [`EmulatorError::Io`] as named.
    pub fn press(&self, pressed: bool) -> Result<(), EmulatorError> {
        self.input("button", pressed)
    }

    /// Opens the case.
    ///
    /// # Errors
    /// - [`EmulatorError::Io`] as named.
    pub fn open_case(&self) -> Result<(), EmulatorError> {
        self.input("tamper", true)
    }

    fn input(&self, name: &str, high: bool) -> Result<(), EmulatorError> {
        let path = self.folder.join(name);
        let done = if high {
            File::create(path).map(drop)
        } else {
            fs::remove_file(path)
        };
        done.map_err(io_error("an input"))
    }

    /// Says where power goes in the next runs.
    ///
    /// # Errors
    /// - [`EmulatorError::Io`] as named.
    pub fn cut_power(&self, at: Option<PowerCut>) -> Result<(), EmulatorError> {
        let path = self.folder.join("power-cut");
        let done = match at {
            Some(at) => {
                let words = [at.operation.to_le_bytes(), at.bytes.to_le_bytes()].concat();
                File::create(path).and_then(|mut file| file.write_all(&words))
            }
            None if path.exists() => fs::remove_file(path),
            None => Ok(()),
        };
        done.map_err(io_error("the power cut"))
    }

    /// Turns it on. `counted` makes each run of it the same, an instruction a nanosecond of the device's time.
    ///
    /// # Errors
    /// - [`EmulatorError::Io`], [`EmulatorError::Ended`] as named.
    pub fn start(&self, counted: bool) -> Result<Emulator, EmulatorError> {
        let socket = self.folder.join("uart");
        let _old = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(io_error("binding the link"))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .map_err(io_error("opening the log"))?;
        let mut process = Process::new("qemu-system-arm");
        process
            .current_dir(&self.folder)
            .args(["-machine", "mps2-an505,memory-backend=psram"])
            .arg("-object")
            .arg("memory-backend-file,id=psram,size=16M,mem-path=flash,share=on")
            .args(["-nodefaults", "-display", "none", "-monitor", "none"])
            .args(["-semihosting-config", "enable=on,target=native"])
            .args([
                "-chardev",
                "socket,id=link,path=uart",
                "-serial",
                "chardev:link",
            ])
            .args(["-chardev", "serial,id=random,path=/dev/urandom"])
            .args(["-serial", "chardev:random"])
            .arg("-kernel")
            .arg(&self.image);
        if counted {
            process.args(["-icount", "shift=0"]);
        }
        let child = process
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io_error("starting qemu-system-arm"))?;
        let mut running = Running(child);
        let link = running.accept(&listener, &self.folder)?;
        link.set_read_timeout(Some(PATIENCE))
            .map_err(io_error("the link"))?;
        Ok(Emulator {
            link,
            running,
            decoder: Box::new(Decoder::new()),
            folder: self.folder.clone(),
        })
    }
}

/// QEMU; killed when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Running {
    fn accept(
        &mut self,
        listener: &UnixListener,
        folder: &Path,
    ) -> Result<UnixStream, EmulatorError> {
        loop {
            let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut wanted, PollTimeout::from(250u16))
                .map_err(|error| io_error("waiting for QEMU")(error.into()))?;
            if ready > 0 {
                let (link, _address) = listener.accept().map_err(io_error("the link"))?;
                return Ok(link);
            }
            if self.0.try_wait().map_err(io_error("QEMU"))?.is_some() {
                return Err(ended(folder));
            }
        }
    }
}

fn ended(folder: &Path) -> EmulatorError {
    EmulatorError::Ended(fs::read_to_string(folder.join("log")).unwrap_or_default())
}

/// Message and checksum.
const DECODER_BYTES: usize = MAX_MESSAGE_BYTES + 4;

/// A device that is on. Dropping it is a loss of power.
#[derive(Debug)]
pub struct Emulator {
    link: UnixStream,
    running: Running,
    decoder: Box<Decoder<DECODER_BYTES>>,
    folder: PathBuf,
}

impl Emulator {
    /// The process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Sends a message and waits for what the device says to it.
    ///
    /// # Errors
    /// - [`EmulatorError`] as named.
    pub fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, EmulatorError> {
        self.send(message)?;
        self.receive()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// - [`EmulatorError::Message`], [`EmulatorError::Io`] as named.
    pub fn send(&mut self, message: &[u8]) -> Result<(), EmulatorError> {
        let mut frame = vec![0u8; encoded_length(message.len())];
        let length = encode(message, &mut frame).map_err(|_| EmulatorError::Message)?;
        let frame = frame.get(..length).ok_or(EmulatorError::Message)?;
        self.link.write_all(frame).map_err(io_error("sending"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn receive(&mut self) -> Result<Vec<u8>, EmulatorError> {
        let mut byte = [0u8; 1];
        loop {
            let count = match self.link.read(&mut byte) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(EmulatorError::Silent(self.log()));
                }
                Err(error) => return Err(io_error("receiving")(error)),
            };
            if count == 0 {
                return Err(EmulatorError::Ended(self.log()));
            }
            match self.decoder.push(byte[0]) {
                None => {}
                Some(Ok(POWER_CUT)) => return Err(EmulatorError::PowerCut),
                Some(Ok(message)) => return Ok(message.to_vec()),
                Some(Err(_garbled)) => return Err(EmulatorError::Reply(Vec::new())),
            }
        }
    }

    /// Asks what a signer may be asked.
    ///
    /// # Errors
    /// - [`EmulatorError`] as named.
    pub fn ask(&mut self, request: Request) -> Result<Reply, EmulatorError> {
        let envelope = RequestEnvelope {
            version: PROTOCOL_VERSION,
            request,
        };
        let message = postcard::to_allocvec(&envelope).map_err(|_| EmulatorError::Message)?;
        let reply = self.exchange(&message)?;
        postcard::from_bytes(&reply).map_err(|_| EmulatorError::Reply(reply))
    }

    /// Tells what only a device is told.
    ///
    /// # Errors
    /// - [`EmulatorError`] as named.
    pub fn tell(&mut self, command: &Command) -> Result<Answer, EmulatorError> {
        let message = command::encode(command).map_err(|_| EmulatorError::Message)?;
        let reply = self.exchange(&message)?;
        postcard::from_bytes(&reply).map_err(|_| EmulatorError::Reply(reply))
    }
}
