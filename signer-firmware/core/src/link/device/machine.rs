//! What a device makes of each packet.

use super::super::Counters;
use super::super::alloc::boxed::Box;
use super::super::alloc::vec::Vec;
use super::super::channel::{Channel, Kind, Received};
use super::super::hello::{Hello, MAX_HELLO_BYTES};
use super::super::message::{Part, Rejection, ReplyError, RequestId};
use super::super::noise::{End, Entropy, Fingerprint, Handshake, LinkFault, PublicKey};
use super::super::packet::{
    Announcement, LINK_VERSION, MAX_PACKET_BYTES, MAX_TEXT_BYTES, OPEN_BYTES, PAIR_FIRST_BYTES,
    Packet, PacketBuffer, Pairedness, RefuseReason,
};
use super::super::pairing::{Attempt, DevicePairing, HostSays, Shown};
use super::{DeviceEvent, DeviceSettings, PairingError};

/// The state machine behind [`super::DeviceLink`].
pub(super) struct Device {
    settings: DeviceSettings,
    fingerprint: Fingerprint,
    /// Number of the live session.
    pub(super) session: u32,
    live: Option<Channel>,
    /// Answered, but no frame of it has come: its opening may be a replay, which must not end the live one.
    pending: Option<Channel>,
    /// The last opening message and its answer, should it come again.
    answered: Option<([u8; OPEN_BYTES], Vec<u8>)>,
    pairing: DevicePairing,
    /// What is said unsealed next; the newest counts.
    due: Option<Due>,
    text: [u8; MAX_TEXT_BYTES],
    pub(super) counters: Counters,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    Announce,
    Opened,
    Refuse(RefuseReason),
    PairSecond,
    PairShown,
    NoSession,
}

impl Device {
    pub(super) fn new(settings: DeviceSettings) -> Result<Self, LinkFault> {
        Ok(Self {
            fingerprint: settings.key.public()?.fingerprint(),
            settings,
            session: 0,
            live: None,
            pending: None,
            answered: None,
            pairing: DevicePairing::Closed,
            due: None,
            text: [0; MAX_TEXT_BYTES],
            counters: Counters::default(),
        })
    }

    pub(super) fn set_hello(&mut self, hello: Hello) {
        self.settings.hello = hello;
    }

    pub(super) fn open_pairing(&mut self) {
        self.pairing = DevicePairing::Open(None);
    }

    pub(super) fn close_pairing(&mut self) {
        self.pairing = DevicePairing::Closed;
    }

    pub(super) fn shown(&self) -> Option<&Shown> {
        match &self.pairing {
            DevicePairing::Shown(shown) => Some(shown),
            DevicePairing::Closed | DevicePairing::Open(_) => None,
        }
    }

    /// The person decided about the code that is shown.
    pub(super) fn decide(&mut self, yes: bool) -> Result<(), PairingError> {
        let DevicePairing::Shown(shown) = &mut self.pairing else {
            return Err(PairingError::None);
        };
        if yes && !shown.confirmed {
            return Err(PairingError::NotConfirmed);
        }
        if shown.outcome.is_some() {
            return Err(PairingError::Decided);
        }
        shown.outcome = Some(yes);
        self.due = Some(Due::PairShown);
        if yes {
            self.settings.host = Some(shown.host);
            self.live = None;
            self.pending = None;
            self.answered = None;
        }
        Ok(())
    }

    pub(super) fn packet(
        &mut self,
        message: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Option<DeviceEvent<'_>> {
        let Some(packet) = Packet::read(message) else {
            self.foreign();
            return None;
        };
        match packet {
            Packet::Probe => self.due = Some(Due::Announce),
            Packet::Open { version, message } => self.open(version, message, entropy),
            Packet::PairFirst { version, message } => self.pair_first(version, message, entropy),
            Packet::PairThird(third) => return self.pair_third(third),
            Packet::PairSealed { nonce, sealed } => return self.pair_sealed(nonce, sealed),
            Packet::Data { nonce, sealed } => return self.data(nonce, sealed),
            Packet::Control { nonce, sealed } => self.control(nonce, sealed),
            // A device's own words: an echo on the line.
            Packet::Announce(_)
            | Packet::Opened(_)
            | Packet::Refuse { .. }
            | Packet::PairSecond(_)
            | Packet::NoSession => self.foreign(),
        }
        None
    }

    fn foreign(&mut self) {
        self.counters.foreign = self.counters.foreign.saturating_add(1);
    }

    fn open(&mut self, version: u8, message: &[u8], entropy: &mut dyn Entropy) {
        let refused = match (version, self.settings.host) {
            (LINK_VERSION, Some(host)) => match <[u8; OPEN_BYTES]>::try_from(message) {
                Ok(message) => self.try_open(message, &host, entropy),
                Err(_) => Some(RefuseReason::Stranger),
            },
            (LINK_VERSION, None) => Some(RefuseReason::Unpaired),
            _ => Some(RefuseReason::Version),
        };
        self.due = Some(refused.map_or(Due::Opened, Due::Refuse));
    }

    fn try_open(
        &mut self,
        message: [u8; OPEN_BYTES],
        host: &PublicKey,
        entropy: &mut dyn Entropy,
    ) -> Option<RefuseReason> {
        if matches!(&self.answered, Some((before, _)) if *before == message) {
            return None;
        }
        let Ok(mut handshake) = Handshake::paired(End::Device, &self.settings.key, host, entropy)
        else {
            return Some(RefuseReason::Entropy);
        };
        let mut payload = [0u8; OPEN_BYTES];
        if handshake.read(&message, &mut payload).is_none() {
            return Some(RefuseReason::Stranger);
        }
        let mut hello = [0u8; MAX_HELLO_BYTES];
        let mut answer = [0u8; MAX_PACKET_BYTES];
        let written = self
            .settings
            .hello
            .write(&mut hello)
            .and_then(|length| hello.get(..length))
            .and_then(|hello| handshake.write(hello, &mut answer).ok())
            .and_then(|length| answer.get(..length))
            .map(<[u8]>::to_vec);
        let Some((answer, session)) = written.zip(handshake.finish()) else {
            return Some(RefuseReason::Entropy);
        };
        let (limit, credit) = (self.settings.max_request_bytes, self.settings.credit);
        self.pending = Some(Channel::new(session, End::Device, limit, credit));
        self.answered = Some((message, answer));
        None
    }

    /// A sealed frame came. The first one of the pending session makes it the live one: it shows that the host has just
    /// answered this device, and that its opening was no replay.
    fn promote(&mut self, nonce: u64, sealed: &[u8]) {
        let pending = &self.pending;
        let opens = pending
            .as_ref()
            .is_some_and(|pending| pending.sealed_it(nonce, sealed, &mut self.text));
        if opens {
            self.live = self.pending.take();
            self.session = self.session.wrapping_add(1);
        }
    }

    fn data(&mut self, nonce: u64, sealed: &[u8]) -> Option<DeviceEvent<'_>> {
        self.promote(nonce, sealed);
        let Some(channel) = &mut self.live else {
            self.due = Some(Due::NoSession);
            return None;
        };
        match channel.data(nonce, sealed, &mut self.text, &mut self.counters) {
            Received::Nothing => None,
            Received::Chunk(chunk) => {
                let part = Part {
                    request: RequestId {
                        session: self.session,
                        number: chunk.number,
                    },
                    total: chunk.total,
                    offset: chunk.offset,
                    bytes: chunk.bytes,
                };
                // A host sends requests, and nothing else.
                if chunk.kind != Kind::Message {
                    self.live = None;
                    self.due = Some(Due::NoSession);
                    return None;
                }
                if part.is_last() {
                    channel.hold();
                }
                Some(DeviceEvent::Part(part))
            }
            Received::TooLong { number } => {
                let limit = self.settings.max_request_bytes;
                let why = Rejection::TooLong { limit }.to_bytes().to_vec();
                // Nothing is under way: a new request is taken only then.
                let _ = channel.send(Kind::Rejected, number, why);
                None
            }
            Received::Broken => {
                self.live = None;
                self.due = Some(Due::NoSession);
                None
            }
        }
    }

    fn control(&mut self, nonce: u64, sealed: &[u8]) {
        self.promote(nonce, sealed);
        let good = self.live.as_mut().is_some_and(|channel| {
            channel.control(nonce, sealed, &mut self.text, &mut self.counters)
        });
        if !good {
            self.live = None;
            self.due = Some(Due::NoSession);
        }
    }

    pub(super) fn answer(
        &mut self,
        to: RequestId,
        kind: Kind,
        bytes: Vec<u8>,
    ) -> Result<(), ReplyError> {
        let channel = self.live.as_mut().ok_or(ReplyError::SessionEnded)?;
        if to.session != self.session {
            return Err(ReplyError::SessionEnded);
        }
        channel.swallow();
        channel
            .send(kind, to.number, bytes)
            .ok_or(ReplyError::Answered)
    }

    fn pair_first(&mut self, version: u8, message: &[u8], entropy: &mut dyn Entropy) {
        let refused = match (version, message.try_into()) {
            (LINK_VERSION, Ok(first)) => self.try_pair(first, entropy),
            (LINK_VERSION, Err(_)) => Some(RefuseReason::Stranger),
            _ => Some(RefuseReason::Version),
        };
        self.due = Some(refused.map_or(Due::PairSecond, Due::Refuse));
    }

    fn try_pair(
        &mut self,
        first: [u8; PAIR_FIRST_BYTES],
        entropy: &mut dyn Entropy,
    ) -> Option<RefuseReason> {
        let DevicePairing::Open(attempt) = &mut self.pairing else {
            return Some(RefuseReason::PairingClosed);
        };
        if attempt
            .as_ref()
            .is_some_and(|attempt| attempt.answers(&first))
        {
            return None;
        }
        match Attempt::start(&self.settings.key, first, entropy) {
            Ok(Some(started)) => {
                *attempt = Some(Box::new(started));
                None
            }
            Ok(None) => Some(RefuseReason::Stranger),
            Err(_) => Some(RefuseReason::Entropy),
        }
    }

    fn pair_third(&mut self, third: &[u8]) -> Option<DeviceEvent<'_>> {
        match &mut self.pairing {
            DevicePairing::Open(attempt) => {
                let Some((host, transcript)) = attempt.as_mut()?.read_third(third) else {
                    self.foreign();
                    return None;
                };
                let shown = attempt.take()?.show(host, &transcript);
                // Used up, whatever became of it.
                self.pairing = DevicePairing::Closed;
                let shown = shown?;
                let code = shown.code;
                self.pairing = DevicePairing::Shown(Box::new(shown));
                self.due = Some(Due::PairShown);
                Some(DeviceEvent::PairingCode(code))
            }
            DevicePairing::Shown(_) => {
                // It came again: the nonce was lost.
                self.due = Some(Due::PairShown);
                None
            }
            DevicePairing::Closed => None,
        }
    }

    fn pair_sealed(&mut self, nonce: u64, sealed: &[u8]) -> Option<DeviceEvent<'_>> {
        let DevicePairing::Shown(shown) = &mut self.pairing else {
            return None;
        };
        match shown.read(nonce, sealed) {
            Some(HostSays::Confirm) => {
                // It comes again until the host has the outcome.
                if shown.outcome.is_some() {
                    self.due = Some(Due::PairShown);
                }
                let first = !core::mem::replace(&mut shown.confirmed, true);
                first.then_some(DeviceEvent::PairingConfirmed)
            }
            Some(HostSays::Cancel) if shown.outcome.is_none() => {
                self.pairing = DevicePairing::Closed;
                Some(DeviceEvent::PairingCancelled)
            }
            Some(HostSays::Cancel) => None,
            None => {
                self.foreign();
                None
            }
        }
    }

    /// Writes the next frame's message; false where none is due.
    pub(super) fn next_packet(&mut self, packet: &mut PacketBuffer) -> bool {
        if self.due.take().is_some_and(|due| self.say(due, packet)) {
            return true;
        }
        match &mut self.live {
            Some(channel) => channel.next_packet(packet),
            None => false,
        }
    }

    /// Writes what is said unsealed; false where the time for it has passed.
    fn say(&self, due: Due, packet: &mut PacketBuffer) -> bool {
        match due {
            Due::Announce => packet.announce(&self.announcement()),
            Due::Refuse(reason) => packet.refuse(reason, self.fingerprint),
            Due::NoSession => packet.no_session(),
            Due::Opened => match &self.answered {
                Some((_, answer)) => packet.opened(answer),
                None => return false,
            },
            Due::PairSecond => match &self.pairing {
                DevicePairing::Open(Some(attempt)) => packet.pair_second(attempt.second()),
                DevicePairing::Open(None) | DevicePairing::Closed | DevicePairing::Shown(_) => {
                    return false;
                }
            },
            Due::PairShown => match &self.pairing {
                DevicePairing::Shown(shown) => shown.write(packet),
                DevicePairing::Closed | DevicePairing::Open(_) => return false,
            },
        }
        true
    }

    fn announcement(&self) -> Announcement {
        let pairedness = match (&self.pairing, self.settings.host) {
            (DevicePairing::Open(_), _) => Pairedness::Open,
            (DevicePairing::Closed | DevicePairing::Shown(_), Some(_)) => Pairedness::Paired,
            (DevicePairing::Closed | DevicePairing::Shown(_), None) => Pairedness::Unpaired,
        };
        Announcement {
            version: LINK_VERSION,
            device: self.fingerprint,
            pairedness,
            words: self.settings.hello.firmware.clone(),
        }
    }
}
