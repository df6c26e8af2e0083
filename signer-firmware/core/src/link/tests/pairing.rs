//! Two ends that never met.

use super::line::*;
use crate::link::*;

struct Pair {
    host: HostPairing,
    device: DeviceLink,
    entropy: Counting,
    host_saw: Vec<PairingEvent>,
    device_saw: Vec<String>,
    /// Number of the frame that is lost.
    loses: Option<usize>,
    frames: usize,
}

impl Pair {
    fn new(loses: Option<usize>) -> Self {
        let mut entropy = Counting(1000);
        let mut device = device(DEVICE, None);
        device.open_pairing();
        Self {
            host: HostPairing::start(&key(HOST), &mut entropy).unwrap(),
            device,
            entropy,
            host_saw: Vec::new(),
            device_saw: Vec::new(),
            loses,
            frames: 0,
        }
    }

    fn settle(&mut self) {
        let mut wire = [0u8; WIRE_BYTES];
        for _ in 0..4 {
            while let Some(length) = self.host.poll_transmit(&mut wire) {
                self.frames += 1;
                if self.loses == Some(self.frames) {
                    continue;
                }
                for byte in &wire[..length] {
                    if let Some(event) = self.device.feed(*byte, &mut self.entropy) {
                        self.device_saw.push(format!("{event:?}"));
                    }
                }
            }
            while let Some(length) = self.device.poll_transmit(&mut wire) {
                self.frames += 1;
                if self.loses == Some(self.frames) {
                    continue;
                }
                for byte in &wire[..length] {
                    self.host_saw.extend(self.host.feed(*byte));
                }
            }
            self.host.nudge();
        }
    }
}

#[test]
fn a_code_and_a_button_pair_two_ends_whatever_frame_is_lost() {
    for loses in 0..=12 {
        let mut pair = Pair::new(Some(loses));
        pair.settle();
        let shown = pair.device.pairing().unwrap();
        assert_eq!(shown.host, public(HOST));
        assert!(!shown.confirmed);
        assert_eq!(pair.host_saw, [PairingEvent::Code(shown.code)], "{loses}");
        assert_eq!(
            pair.device.accept_pairing(),
            Err(PairingError::NotConfirmed),
            "the button does nothing before the code was typed"
        );
        pair.host.confirm();
        pair.settle();
        assert_eq!(pair.device_saw.len(), 2, "{:?}", pair.device_saw);
        assert_eq!(pair.host_saw.len(), 1, "nobody pressed the button yet");
        pair.device.accept_pairing().unwrap();
        assert_eq!(pair.device.accept_pairing(), Err(PairingError::Decided));
        pair.settle();
        assert_eq!(pair.host_saw[1..], [PairingEvent::Paired(public(DEVICE))]);
        // And a session comes up between them.
        let mut rig = Rig::new(Vec::new());
        rig.device = pair.device;
        assert_eq!(rig.ask(1, b"hello").unwrap(), answer(b"hello"));
    }
}

#[test]
fn a_refusal_at_the_device_and_a_wrong_code_pair_nobody() {
    let mut pair = Pair::new(None);
    pair.settle();
    pair.host.confirm();
    pair.settle();
    pair.device.deny_pairing().unwrap();
    pair.settle();
    assert_eq!(pair.host_saw[1..], [PairingEvent::Denied]);

    let mut pair = Pair::new(None);
    pair.settle();
    pair.host.cancel();
    pair.settle();
    assert_eq!(pair.device_saw[1..], ["PairingCancelled"]);
    assert_eq!(pair.device.pairing(), None);
    assert_eq!(pair.device.accept_pairing(), Err(PairingError::None));
}

#[test]
fn one_opening_shows_one_code() {
    let mut pair = Pair::new(None);
    pair.settle();
    let shown = pair.device.pairing().unwrap();
    // Whoever wants another code, hoping for the one that the host computed, needs the person again.
    pair.host = HostPairing::start(&key(9), &mut pair.entropy).unwrap();
    pair.host_saw.clear();
    pair.settle();
    assert!(
        pair.host_saw.iter().all(|event| matches!(
            event,
            PairingEvent::Refused {
                reason: RefuseReason::PairingClosed,
                ..
            }
        )) && !pair.host_saw.is_empty()
    );
    assert_eq!(pair.device.pairing(), Some(shown));
    pair.device.close_pairing();
    pair.host_saw.clear();
    pair.settle();
    assert!(matches!(
        pair.host_saw[0],
        PairingEvent::Refused {
            reason: RefuseReason::PairingClosed,
            ..
        }
    ));
}

#[test]
fn whoever_pairs_with_both_ends_shows_two_codes() {
    // The middle is a device to the host, and a host to the device.
    let mut left = Pair::new(None);
    left.device = device(77, None);
    left.device.open_pairing();
    left.settle();
    let mut right = Pair::new(None);
    right.entropy = Counting(5000);
    right.host = HostPairing::start(&key(88), &mut right.entropy).unwrap();
    right.settle();
    let PairingEvent::Code(at_host) = left.host_saw[0] else {
        panic!("{:?}", left.host_saw);
    };
    let at_device = right.device.pairing().unwrap().code;
    assert_ne!(at_host, at_device);
    assert!(!at_host.is(&at_device.to_string()));
}

/// A device that says what a test wants, up to its nonce.
fn talking_device(commits: [u8; 32]) -> (HostPairing, crate::link::noise::Session) {
    use crate::link::noise::{End, Handshake};
    use crate::link::pairing::commitment;
    let mut entropy = Counting(0);
    let mut host = HostPairing::start(&key(HOST), &mut entropy).unwrap();
    let mut wire = [0u8; WIRE_BYTES];
    let length = host.poll_transmit(&mut wire).unwrap();
    let first = decoded(&wire[..length]);
    let mut device = Handshake::pairing(End::Device, &key(77), &mut entropy).unwrap();
    let mut payload = [0u8; MAX_PACKET_BYTES];
    device.read(&first[2..], &mut payload).unwrap();
    let mut second = [0u8; MAX_PACKET_BYTES];
    second[0] = 0x07;
    let length = device
        .write(&commitment(&commits), &mut second[1..])
        .unwrap();
    for byte in framed(&second[..=length]) {
        assert_eq!(host.feed(byte), None);
    }
    let length = host.poll_transmit(&mut wire).unwrap();
    let third = decoded(&wire[..length]);
    device.read(&third[1..], &mut payload).unwrap();
    (host, device.finish().unwrap())
}

fn sealed(session: &crate::link::noise::Session, nonce: u64, text: &[u8]) -> Vec<u8> {
    let mut packet = [0u8; 100];
    packet[0] = 0x09;
    packet[1..9].copy_from_slice(&nonce.to_le_bytes());
    let length = session.seal(nonce, text, &mut packet[9..]).unwrap();
    framed(&packet[..9 + length])
}

#[test]
fn a_device_cannot_reveal_what_it_did_not_commit_to() {
    // The middle learns the host's contribution, and would like another nonce than the one it committed to.
    let (mut host, session) = talking_device([1; 32]);
    let reveal = sealed(&session, crate::link::pairing::REVEAL, &[2; 32]);
    let events: Vec<_> = reveal
        .into_iter()
        .filter_map(|byte| host.feed(byte))
        .collect();
    assert_eq!(events, [PairingEvent::Forged]);
}

#[test]
fn a_device_cannot_pair_before_the_code_was_typed() {
    use crate::link::pairing::{PAIRED, REVEAL};
    let (mut host, session) = talking_device([1; 32]);
    let hear = |host: &mut HostPairing, frame: Vec<u8>| {
        frame
            .into_iter()
            .filter_map(|byte| host.feed(byte))
            .collect::<Vec<_>>()
    };
    let events = hear(&mut host, sealed(&session, REVEAL, &[1; 32]));
    assert!(matches!(events[..], [PairingEvent::Code(_)]));
    assert_eq!(hear(&mut host, sealed(&session, PAIRED, &[])), []);
    host.confirm();
    let events = hear(&mut host, sealed(&session, PAIRED, &[]));
    assert_eq!(events, [PairingEvent::Paired(public(77))]);
}

#[test]
fn a_code_is_typed_in_full() {
    let mut pair = Pair::new(None);
    pair.settle();
    let code = pair.device.pairing().unwrap().code;
    let text = code.to_string();
    assert_eq!(text.len(), 7);
    assert!(code.is(&text));
    assert!(code.is(&text.replace(' ', "")));
    assert!(code.is(&format!(" {text}\n")));
    assert!(!code.is(""));
    assert!(!code.is(&text[..6]));
    assert!(!code.is(&format!("0{text}")));
    assert!(!code.is(&format!("{text}x")));
}
