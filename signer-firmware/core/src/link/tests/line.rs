//! Two ends, a line between them that does what a test says, and a program on the device that answers.

use crate::frame::{Decoder, encode};
use crate::link::packet::DECODER_BYTES;
use crate::link::*;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Repeatable entropy: a test's own, never the same bytes twice.
pub(super) struct Counting(pub(super) u64);

impl Entropy for Counting {
    fn fresh(&mut self) -> Result<Zeroizing<[u8; 32]>, NoEntropy> {
        self.0 += 1;
        let mut bytes = [0x5a; 32];
        // Not at the start, whose lowest bits X25519 clears.
        bytes[8..16].copy_from_slice(&self.0.to_le_bytes());
        Ok(Zeroizing::new(bytes))
    }
}

pub(super) fn key(seed: u8) -> StaticKey {
    StaticKey::new(Zeroizing::new([seed; 32]))
}

pub(super) fn public(seed: u8) -> PublicKey {
    key(seed).public().unwrap()
}

pub(super) const HOST: u8 = 1;
pub(super) const DEVICE: u8 = 2;
pub(super) const LIMIT: u32 = 20_000;

pub(super) fn hello() -> Hello {
    Hello {
        protocol: 1,
        provisioned: None,
        firmware: Words::new("test device 0.1"),
    }
}

pub(super) fn device(seed: u8, host: Option<u8>) -> DeviceLink {
    DeviceLink::new(DeviceSettings {
        key: key(seed),
        host: host.map(public),
        hello: hello(),
        max_request_bytes: LIMIT,
        credit: 4,
    })
    .unwrap()
}

/// What becomes of one frame.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Delivered,
    Lost,
    Twice,
    /// A byte is changed.
    Changed(u16, u8),
    /// A byte is lost.
    Short(u16),
    /// A byte is added.
    Long(u16, u8),
    /// It comes after the next one.
    Late,
    /// An earlier frame of the same direction comes instead.
    Earlier(u16),
    /// A frame of the other direction comes back to its sender's side.
    Reflected(u16),
    /// The device loses power before it.
    Restart,
}

/// What the program on the device answers: long enough for several frames.
pub(super) fn answer(request: &[u8]) -> Vec<u8> {
    let sum = request.iter().fold(request.len() as u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    sum.to_le_bytes().repeat(1 + request.len() / 16)
}

/// The frames of one direction.
#[derive(Default)]
struct Wire {
    seen: Vec<Vec<u8>>,
    late: Option<Vec<u8>>,
}

impl Wire {
    fn carry(&mut self, frame: Vec<u8>, fate: Fate, other: &[Vec<u8>]) -> Vec<u8> {
        self.seen.push(frame.clone());
        let place = |at: u16, length: usize| usize::from(at) % length.max(1);
        let mut bytes = frame;
        let now = match fate {
            Fate::Delivered | Fate::Restart => bytes,
            Fate::Lost => Vec::new(),
            Fate::Twice => bytes.repeat(2),
            Fate::Changed(at, with) => {
                let at = place(at, bytes.len());
                bytes[at] ^= with;
                bytes
            }
            Fate::Short(at) => {
                bytes.remove(place(at, bytes.len()));
                bytes
            }
            Fate::Long(at, byte) => {
                bytes.insert(place(at, bytes.len()), byte);
                bytes
            }
            Fate::Late => {
                let before = self.late.replace(bytes);
                return before.unwrap_or_default();
            }
            Fate::Earlier(which) => self.seen[place(which, self.seen.len())].clone(),
            Fate::Reflected(which) => match other.len() {
                0 => bytes,
                length => other[place(which, length)].clone(),
            },
        };
        [now, self.late.take().unwrap_or_default()].concat()
    }
}

/// Both ends and the line.
pub(super) struct Rig {
    pub(super) host: HostLink,
    pub(super) device: DeviceLink,
    entropy: Counting,
    up: Wire,
    down: Wire,
    collector: Collector,
    replies: Collector,
    fates: std::vec::IntoIter<Fate>,
    /// Whole requests that the device has seen.
    pub(super) served: Vec<Vec<u8>>,
    pub(super) sessions: u32,
    restarts: u32,
    /// Sealed bytes by the session of their sender, and nonce.
    sealed: HashMap<(String, Vec<u8>), Vec<u8>>,
}

impl Rig {
    pub(super) fn new(fates: Vec<Fate>) -> Self {
        let mut entropy = Counting(100);
        Self {
            host: HostLink::open(&key(HOST), &public(DEVICE), &mut entropy).unwrap(),
            device: device(DEVICE, Some(HOST)),
            entropy,
            up: Wire::default(),
            down: Wire::default(),
            collector: Collector::new(),
            replies: Collector::new(),
            fates: fates.into_iter(),
            served: Vec::new(),
            sessions: 1,
            restarts: 0,
            sealed: HashMap::new(),
        }
    }

    fn fate(&mut self) -> Fate {
        self.fates.next().unwrap_or(Fate::Delivered)
    }

    /// No nonce seals two texts.
    fn watch(&mut self, from_host: bool, frame: &[u8]) {
        let message = decoded(frame);
        if message.len() > 9 && (message[0] == 0x10 || message[0] == 0x11) {
            let session = if from_host {
                format!("host {}", self.sessions)
            } else {
                let text = format!("{:?} {}", self.device, self.restarts);
                let (head, tail) = text.split_once("counters").unwrap();
                format!("{head} {}", tail.rsplit(' ').next().unwrap())
            };
            let place = (session, message[..9].to_vec());
            let sealed = message[9..].to_vec();
            let before = self.sealed.entry(place).or_insert_with(|| sealed.clone());
            assert_eq!(*before, sealed, "one nonce, two texts");
        }
    }

    /// Lets both ends speak until neither has anything to say; what came for the host.
    pub(super) fn settle(&mut self) -> Vec<Came> {
        let mut came = Vec::new();
        let mut wire = [0u8; WIRE_BYTES];
        loop {
            let mut quiet = true;
            while let Some(length) = self.host.poll_transmit(&mut wire) {
                quiet = false;
                self.watch(true, &wire[..length]);
                let fate = self.fate();
                if matches!(fate, Fate::Restart) {
                    self.restart();
                }
                let bytes = self
                    .up
                    .carry(wire[..length].to_vec(), fate, &self.down.seen);
                self.feed_device(&bytes);
            }
            while let Some(length) = self.device.poll_transmit(&mut wire) {
                quiet = false;
                self.watch(false, &wire[..length]);
                let fate = self.fate();
                let bytes = self
                    .down
                    .carry(wire[..length].to_vec(), fate, &self.up.seen);
                for byte in bytes {
                    match self.host.feed(byte) {
                        None => {}
                        Some(HostEvent::Opened(hello)) => came.push(Came::Opened(hello)),
                        Some(HostEvent::Part(part)) => {
                            if let Some(reply) = self.replies.take(&part).unwrap() {
                                came.push(Came::Reply(part.request.number, reply));
                            }
                        }
                        Some(HostEvent::Rejected { number, why }) => {
                            came.push(Came::Rejected(number, why));
                        }
                        Some(HostEvent::Refused { reason, device, .. }) => {
                            came.push(Came::Refused(reason, device));
                        }
                        Some(HostEvent::Ended) => came.push(Came::Ended),
                    }
                }
            }
            if quiet {
                return came;
            }
        }
    }

    pub(super) fn feed_device(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let whole = match self.device.feed(*byte, &mut self.entropy) {
                Some(DeviceEvent::Part(part)) => {
                    let whole = self.collector.take(&part).unwrap();
                    whole.map(|whole| (part.request, whole))
                }
                Some(other) => panic!("{other:?}"),
                None => None,
            };
            if let Some((request, whole)) = whole {
                let reply = answer(&whole);
                self.served.push(whole);
                self.device.reply(request, reply).unwrap();
            }
        }
    }

    /// The device loses power.
    pub(super) fn restart(&mut self) {
        self.device = device(DEVICE, Some(HOST));
        self.restarts += 1;
        self.collector = Collector::new();
    }

    /// A new session over the same line.
    pub(super) fn reopen(&mut self) {
        self.sessions += 1;
        self.replies = Collector::new();
        self.host = HostLink::open(&key(HOST), &public(DEVICE), &mut self.entropy).unwrap();
    }

    /// Asks until there is an answer, as a driver does: nudges, and after too many of them a new session.
    pub(super) fn ask(&mut self, number: u32, request: &[u8]) -> Result<Vec<u8>, Rejection> {
        let mut asked = false;
        for round in 0..400 {
            let mut lost = round % 40 == 39;
            for came in self.settle() {
                match came {
                    Came::Reply(to, reply) if to == number => return Ok(reply),
                    Came::Reply(..) => {}
                    Came::Rejected(to, why) if to == number => {
                        self.host.cut();
                        return Err(why);
                    }
                    Came::Rejected(..) => {}
                    Came::Opened(found) => assert_eq!(found, hello()),
                    Came::Refused(reason, _) => panic!("{reason:?}"),
                    Came::Ended => lost = true,
                }
            }
            if lost {
                asked = false;
                self.reopen();
            } else if !asked && self.host.request(number, request.to_vec()) {
                asked = true;
            } else {
                self.host.nudge();
            }
        }
        panic!(
            "no answer to request {number}: {:?} {:?}",
            self.host, self.device
        );
    }

    pub(super) fn sent_up(&self) -> &[Vec<u8>] {
        &self.up.seen
    }

    pub(super) fn sent_down(&self) -> &[Vec<u8>] {
        &self.down.seen
    }
}

/// What a host saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    Opened(Hello),
    Reply(u32, Vec<u8>),
    Rejected(u32, Rejection),
    Refused(RefuseReason, Fingerprint),
    Ended,
}

/// A frame's message.
pub(super) fn decoded(frame: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::<DECODER_BYTES>::new();
    let mut found = None;
    for byte in frame {
        if let Some(message) = decoder.push(*byte) {
            found = Some(message.unwrap().to_vec());
        }
    }
    found.unwrap()
}

/// A message's frame.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut wire = [0u8; WIRE_BYTES];
    let length = encode(message, &mut wire).unwrap();
    wire[..length].to_vec()
}
