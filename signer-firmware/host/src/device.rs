//! The device that this host is paired with: sessions, requests, and what becomes of them when the line breaks.

use crate::HostEntropy;
use crate::connection::Connection;
use crate::error::DeviceError;
use crate::line::Line;
use crate::paired::PairingFile;
use alys_firmware_core::link::{
    Collector, Fingerprint, Hello, HostEvent, HostLink, LINK_VERSION, MAX_REQUEST_BYTES,
    RefuseReason, Rejection,
};
use alys_protocol::bytes::SpecDigest;
use alys_protocol::signer::PROTOCOL_VERSION;
use alys_protocol::units::{ChainId, MemberId};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sessions that may break under one request.
const MAX_SESSIONS: u32 = 5;
/// Between looks for a path that is gone: Linux needs about that long to name a line that was plugged in.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A session lasts no longer: what a stolen host could decrypt of a recorded line is what its last sessions carried.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From a request to its answer.
    pub answer: Duration,
    /// Without a sign of life, from a device that did not say that it is busy.
    pub silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(5),
        }
    }
}

/// Whose signer the device must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The chain.
    pub chain_id: ChainId,
    /// Digest of its spec.
    pub spec: SpecDigest,
    /// The member, where the host knows it.
    pub member: Option<MemberId>,
}

/// What a device is reached by.
#[derive(Debug)]
pub struct Settings {
    /// The line.
    pub path: PathBuf,
    /// Its speed.
    pub speed: u32,
    /// The pairing.
    pub pairing: PairingFile,
    /// Whose it must be; not asked of a device that is not provisioned yet where there is none.
    pub expected: Option<Expected>,
    /// How long things may take.
    pub timing: Timing,
}

struct Session {
    connection: Connection,
    link: HostLink,
    opened: Instant,
}

/// A paired device. It holds the line from the first request on, and opens it anew where it breaks.
pub struct Device {
    settings: Settings,
    session: Option<Session>,
    hello: Option<Hello>,
    number: u32,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device")
            .field("settings", &self.settings)
            .field("open", &self.session.is_some())
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

/// Why an exchange has no answer.
enum Broken {
    /// The session ended; a new one may do better.
    Session,
    Device(DeviceError),
}

impl From<DeviceError> for Broken {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl Device {
    /// A device that is not connected yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            session: None,
            hello: None,
            number: 0,
        }
    }

    /// Its short name.
    pub fn fingerprint(&self) -> Fingerprint {
        self.settings.pairing.device().fingerprint()
    }

    /// What it is reached by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who it said that it is, in the newest session.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether a session is open, as far as this end knows.
    pub fn connected(&self) -> bool {
        self.session.is_some()
    }

    /// Opens a session, unless one is open.
    ///
    /// # Errors
    /// - [`DeviceError`]: it says in which way the device is absent or wrong.
    pub fn connect(&mut self) -> Result<Hello, DeviceError> {
        if let (Some(_), Some(hello)) = (&self.session, &self.hello) {
            return Ok(hello.clone());
        }
        let line = Line::open(&self.settings.path, self.settings.speed)?;
        self.open(Connection::new(line))
    }

    /// Opens a session where none is open, or the one that is has lasted long enough.
    fn current(&mut self) -> Result<(), DeviceError> {
        match self.session.take_if(|it| it.opened.elapsed() >= MAX_AGE) {
            Some(old) => self.open(old.connection).map(|_| ()),
            None => self.connect().map(|_| ()),
        }
    }

    /// How long ago the device gave its last sign of life; none without a session.
    pub fn quiet(&self) -> Option<Duration> {
        let session = self.session.as_ref();
        session.map(|session| session.connection.heard.elapsed())
    }

    /// Finds out whether the device is alive, and opens a session where there is none.
    ///
    /// # Errors
    /// - [`DeviceError`]: it says in which way the device is absent or wrong. The next request looks for it again.
    pub fn check(&mut self) -> Result<(), DeviceError> {
        let Some(mut session) = self.session.take() else {
            return self.connect().map(|_| ());
        };
        let silence = self.settings.timing.silence;
        let until = Instant::now() + silence;
        loop {
            session.link.nudge();
            session
                .connection
                .send(|wire| session.link.poll_transmit(wire))?;
            if let Some(bytes) = session.connection.receive(until)? {
                let ended = bytes
                    .iter()
                    .any(|byte| matches!(session.link.feed(*byte), Some(HostEvent::Ended)));
                if ended {
                    return self.open(session.connection).map(|_| ());
                }
                self.session = Some(session);
                return Ok(());
            }
            if Instant::now() >= until {
                let path = self.settings.path.clone();
                let waited = silence;
                return Err(DeviceError::Silent { path, waited });
            }
        }
    }

    /// Asks, and gives the answer. The request goes out again, byte for byte, where a session breaks: a signer answers a repeat
    /// as it answered at first.
    ///
    /// # Errors
    /// - [`DeviceError`]: there is no answer. Whether the device has decided, nobody knows then but the device.
    pub fn request(&mut self, bytes: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let limit = MAX_REQUEST_BYTES;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > u64::from(limit)) {
            return Err(self.rejected(Rejection::TooLong { limit }));
        }
        let until = Instant::now() + self.settings.timing.answer;
        let mut lost = None;
        let mut sessions = 0;
        loop {
            let attempt = match self.current() {
                Ok(()) => self.exchange(bytes, until),
                Err(error) => Err(error.into()),
            };
            match attempt {
                Ok(reply) => return Ok(reply),
                Err(Broken::Session) => {
                    sessions += 1;
                    if sessions == MAX_SESSIONS {
                        self.session = None;
                        let device = self.fingerprint();
                        return Err(DeviceError::Unstable { device, sessions });
                    }
                    tracing::info!(device = %self.fingerprint(), sessions, "the session broke; the request goes out again in a new one");
                    // The line is as good as it was.
                    if let Some(session) = self.session.take() {
                        self.open(session.connection)?;
                    }
                }
                Err(Broken::Device(error)) => {
                    let known = self.session.take().is_some();
                    // A cable that was pulled may come back; one that never was there does not.
                    let since = match (known && error.may_pass(), lost) {
                        (true, _) => *lost.insert(Instant::now()),
                        (false, Some(since)) if error.may_pass() => since,
                        (false, _) => return Err(error),
                    };
                    let now = Instant::now();
                    if now >= until || now.duration_since(since) >= self.settings.timing.silence {
                        return Err(error);
                    }
                    // Nothing tells when the path comes back.
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
    }

    fn open(&mut self, mut connection: Connection) -> Result<Hello, DeviceError> {
        let pairing = &self.settings.pairing;
        let device = pairing.device();
        let mut link = HostLink::open(pairing.key(), &device, &mut HostEntropy)?;
        let silence = self.settings.timing.silence;
        let until = Instant::now() + silence;
        let hello = 'opened: loop {
            connection.send(|wire| link.poll_transmit(wire))?;
            match connection.receive(until)? {
                Some(bytes) => {
                    for byte in bytes {
                        match link.feed(*byte) {
                            Some(HostEvent::Opened(hello)) => break 'opened hello,
                            Some(HostEvent::Refused {
                                reason,
                                device,
                                version,
                            }) => return Err(self.refused(reason, device, version)),
                            Some(
                                HostEvent::Part(_) | HostEvent::Rejected { .. } | HostEvent::Ended,
                            )
                            | None => {}
                        }
                    }
                }
                None => link.nudge(),
            }
            if Instant::now() >= until {
                return Err(connection.nothing(silence));
            }
        };
        self.expects(&hello)?;
        tracing::info!(device = %device.fingerprint(), firmware = %hello.firmware, path = %connection.line.path().display(), "the device's session is open");
        self.session = Some(Session {
            connection,
            link,
            opened: Instant::now(),
        });
        self.hello = Some(hello.clone());
        Ok(hello)
    }

    fn exchange(&mut self, bytes: &[u8], until: Instant) -> Result<Vec<u8>, Broken> {
        self.number = self.number.wrapping_add(1);
        let (number, device) = (self.number, self.fingerprint());
        let timing = self.settings.timing;
        let Some(Session {
            connection, link, ..
        }) = &mut self.session
        else {
            return Err(Broken::Session);
        };
        let mut reply = Collector::new();
        let mut asked = false;
        connection.heard = Instant::now();
        loop {
            if !asked {
                // The end of a request that was given up may still be under way.
                link.cut();
                asked = link.request(number, bytes.to_vec());
            }
            connection.send(|wire| link.poll_transmit(wire))?;
            match connection.receive(until)? {
                None => link.nudge(),
                Some(bytes) => {
                    for byte in bytes {
                        match link.feed(*byte) {
                            Some(HostEvent::Part(part)) => {
                                let whole = reply.take(&part).map_err(|_| Broken::Session)?;
                                if let Some(whole) = whole
                                    && part.request.number() == number
                                {
                                    // It may have come before the device had everything.
                                    link.cut();
                                    connection.send(|wire| link.poll_transmit(wire))?;
                                    return Ok(whole);
                                }
                            }
                            Some(HostEvent::Rejected { number: to, why }) if to == number => {
                                link.cut();
                                connection.send(|wire| link.poll_transmit(wire))?;
                                return Err(DeviceError::Rejected { device, why }.into());
                            }
                            Some(HostEvent::Ended) => return Err(Broken::Session),
                            Some(
                                HostEvent::Rejected { .. }
                                | HostEvent::Opened(_)
                                | HostEvent::Refused { .. },
                            )
                            | None => {}
                        }
                    }
                }
            }
            let now = Instant::now();
            let quiet = now.duration_since(connection.heard);
            if !link.peer_busy() && quiet >= timing.silence {
                let path = connection.line.path().to_owned();
                let waited = quiet;
                return Err(DeviceError::Silent { path, waited }.into());
            }
            if now >= until {
                let waited = timing.answer;
                return Err(DeviceError::Busy { device, waited }.into());
            }
        }
    }

    fn refused(&self, reason: RefuseReason, found: Fingerprint, version: u8) -> DeviceError {
        let expected = self.fingerprint();
        match reason {
            RefuseReason::Version => DeviceError::OtherVersion {
                device: found,
                expected: LINK_VERSION,
                found: version,
            },
            _ if found != expected => DeviceError::OtherDevice { expected, found },
            RefuseReason::Unpaired => DeviceError::NotPaired { device: found },
            RefuseReason::Stranger => DeviceError::PairedWithAnother { device: found },
            RefuseReason::PairingClosed => DeviceError::PairingClosed { device: found },
            RefuseReason::Entropy => DeviceError::NoEntropy { device: found },
        }
    }

    fn expects(&self, hello: &Hello) -> Result<(), DeviceError> {
        let device = self.fingerprint();
        if hello.protocol != PROTOCOL_VERSION {
            return Err(DeviceError::OtherProtocol {
                device,
                expected: PROTOCOL_VERSION,
                found: hello.protocol,
            });
        }
        let Some(expected) = &self.settings.expected else {
            return Ok(());
        };
        let Some(found) = &hello.provisioned else {
            return Err(DeviceError::NotProvisioned { device });
        };
        if found.chain_id != expected.chain_id {
            return Err(DeviceError::WrongChain {
                device,
                expected: expected.chain_id,
                found: found.chain_id,
            });
        }
        if found.spec != expected.spec {
            return Err(DeviceError::WrongSpec {
                device,
                expected: expected.spec,
                found: found.spec,
            });
        }
        match expected.member {
            Some(member) if member != found.member => Err(DeviceError::WrongMember {
                device,
                expected: member,
                found: found.member,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn rejected(&self, why: Rejection) -> DeviceError {
        DeviceError::Rejected {
            device: self.fingerprint(),
            why,
        }
    }
}
