//! Somebody on the line.

use super::line::*;
use crate::link::channel::{Channel, Received};
use crate::link::noise::{End, Handshake, Session};
use crate::link::packet::MAX_TEXT_BYTES;
use crate::link::*;

/// A rig in whose session two requests were answered.
fn used() -> Rig {
    let mut rig = Rig::new(Vec::new());
    for number in 1..=2 {
        rig.ask(number, &[number as u8; 3000]).unwrap();
    }
    rig
}

#[test]
fn frames_that_come_again_are_served_once() {
    let mut rig = used();
    let (up, down) = (rig.sent_up().to_vec(), rig.sent_down().to_vec());
    for frame in &up {
        rig.feed_device(frame);
    }
    assert_eq!(rig.served.len(), 2);
    for byte in down.concat() {
        assert_eq!(rig.host.feed(byte), None);
    }
    // The session goes on.
    assert_eq!(rig.ask(3, b"more").unwrap(), answer(b"more"));
    assert_eq!(rig.sessions, 1);
}

#[test]
fn an_old_sessions_frames_do_nothing_in_a_new_one() {
    let mut rig = used();
    let old = rig.sent_up().to_vec();
    rig.reopen();
    rig.ask(3, b"new").unwrap();
    let served = rig.served.len();
    for frame in &old {
        rig.feed_device(frame);
        rig.settle();
    }
    assert_eq!(rig.served.len(), served);
    // Not even the replayed opening ended the live session: nobody can send its first frame.
    assert_eq!(rig.ask(4, b"newer").unwrap(), answer(b"newer"));
    assert_eq!(rig.sessions, 2);
}

#[test]
fn frames_that_come_back_to_their_sender_do_nothing() {
    let mut rig = used();
    for byte in rig.sent_up().to_vec().concat() {
        assert_eq!(rig.host.feed(byte), None);
    }
    let down = rig.sent_down().to_vec();
    for frame in &down {
        rig.feed_device(frame);
    }
    assert_eq!(rig.served.len(), 2);
    assert_eq!(rig.ask(3, b"more").unwrap(), answer(b"more"));
}

#[test]
fn another_device_at_the_end_of_the_cable_gets_no_session() {
    // It is a good device, and paired, but not the one.
    let mut rig = Rig::new(Vec::new());
    rig.device = device(33, Some(HOST));
    let refused = Came::Refused(RefuseReason::Stranger, public(33).fingerprint());
    assert_eq!(rig.settle(), [refused]);
    // One that claims to be it, and says yes to everything, has not the key.
    let mut liar = Rig::new(Vec::new());
    liar.settle();
    let mut opened = decoded(&liar.sent_down()[0]);
    let last = opened.len() - 1;
    opened[last] ^= 1;
    let mut host = HostLink::open(&key(HOST), &public(DEVICE), &mut Counting(7)).unwrap();
    for byte in [framed(&opened), liar.sent_down()[0].clone()].concat() {
        assert_eq!(host.feed(byte), None);
    }
}

#[test]
fn another_host_at_the_end_of_the_cable_gets_no_session() {
    let mut rig = Rig::new(Vec::new());
    rig.host = HostLink::open(&key(44), &public(DEVICE), &mut Counting(7)).unwrap();
    let refused = Came::Refused(RefuseReason::Stranger, public(DEVICE).fingerprint());
    assert_eq!(rig.settle(), [refused]);
    assert!(!rig.host.request(1, vec![]));
}

#[test]
fn a_message_cut_short_is_never_delivered() {
    let mut rig = Rig::new(Vec::new());
    rig.settle();
    assert!(rig.host.request(1, vec![5; 1500]));
    let mut wire = [0u8; WIRE_BYTES];
    let length = rig.host.poll_transmit(&mut wire).unwrap();
    let first = wire[..length].to_vec();
    rig.feed_device(&first);
    for _ in 0..5 {
        rig.feed_device(&first);
    }
    assert!(rig.served.is_empty());
    rig.reopen();
    assert_eq!(rig.ask(2, b"other").unwrap(), answer(b"other"));
    assert_eq!(rig.served, [b"other"]);
}

#[test]
fn another_version_is_told_so() {
    let mut rig = Rig::new(Vec::new());
    let mut wire = [0u8; WIRE_BYTES];
    let length = rig.host.poll_transmit(&mut wire).unwrap();
    let mut opening = decoded(&wire[..length]);
    opening[1] = LINK_VERSION + 1;
    rig.feed_device(&framed(&opening));
    let refused = Came::Refused(RefuseReason::Version, public(DEVICE).fingerprint());
    assert_eq!(rig.settle(), [refused]);
}

#[test]
fn without_entropy_there_is_no_session() {
    let mut rig = Rig::new(Vec::new());
    let mut wire = [0u8; WIRE_BYTES];
    let length = rig.host.poll_transmit(&mut wire).unwrap();
    for byte in &wire[..length] {
        let event = rig.device.feed(*byte, &mut || Err(NoEntropy));
        assert_eq!(event, None);
    }
    let refused = Came::Refused(RefuseReason::Entropy, public(DEVICE).fingerprint());
    assert_eq!(rig.settle(), [refused]);
}

/// The host's keys of a session, to seal anything with, and the device's end of it.
fn nonsense() -> (Session, Channel) {
    let session = |end, own, peer| {
        let mut entropy = Counting(1);
        Handshake::paired(end, &key(own), &public(peer), &mut entropy).unwrap()
    };
    let mut host = session(End::Host, HOST, DEVICE);
    let mut device = session(End::Device, DEVICE, HOST);
    let (mut out, mut text) = ([0u8; 500], [0u8; 500]);
    let length = host.write(&[], &mut out).unwrap();
    device.read(&out[..length], &mut text).unwrap();
    let length = device.write(&[], &mut out).unwrap();
    host.read(&out[..length], &mut text).unwrap();
    let device = device.finish().unwrap();
    (
        host.finish().unwrap(),
        Channel::new(device, End::Device, LIMIT, 4),
    )
}

/// Whether a device ends the session over the last of some texts, in data frames of their own.
fn ends(texts: &[Vec<u8>]) -> bool {
    let (host, mut device) = nonsense();
    let mut broken = false;
    for (nonce, text) in (0..).zip(texts) {
        assert!(!broken, "an earlier text ended it");
        let mut sealed = [0u8; 1100];
        let length = host.seal(nonce, text, &mut sealed).unwrap();
        let mut scratch = [0u8; MAX_TEXT_BYTES];
        let sealed = &sealed[..length];
        let received = device.data(nonce, sealed, &mut scratch, &mut Counters::default());
        broken = matches!(received, Received::Broken);
    }
    broken
}

/// A request's chunk.
fn chunk(number: u32, total: u32, offset: u32, length: usize) -> Vec<u8> {
    let mut text = vec![0u8];
    for number in [number, total, offset] {
        text.extend_from_slice(&number.to_le_bytes());
    }
    text.extend(std::iter::repeat_n(6, length));
    text
}

#[test]
fn a_paired_peer_that_sends_nonsense_ends_the_session() {
    for wrong in [
        Vec::new(),
        vec![0; 12],
        vec![7; 13],
        chunk(1, 10, 0, 9),
        chunk(1, 10, 0, 11),
        chunk(1, 3000, 0, 1000),
        chunk(1, 3000, 1024, 1024),
        chunk(1, 10, 11, 0),
        chunk(1, 10, u32::MAX, 0),
    ] {
        assert!(ends(std::slice::from_ref(&wrong)), "{wrong:?}");
    }
    let begin = chunk(1, 3000, 0, 1024);
    assert!(!ends(&[begin.clone(), chunk(1, 3000, 1024, 1024)]));
    for wrong in [
        chunk(1, 3000, 2048, 952),
        chunk(2, 3000, 1024, 1024),
        chunk(1, 2999, 1024, 1024),
    ] {
        assert!(ends(&[begin.clone(), wrong.clone()]), "{:?}", &wrong[..13]);
    }
    // A new request may begin at any time.
    assert!(!ends(&[begin, chunk(2, 10, 0, 10)]));
    // Acknowledges what was never sent.
    let (host, mut device) = nonsense();
    let mut sealed = [0u8; 100];
    let mut scratch = [0u8; MAX_TEXT_BYTES];
    let control = [1u8, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    let length = host.seal(1 << 63, &control, &mut sealed).unwrap();
    let sealed = &sealed[..length];
    assert!(!device.control(1 << 63, sealed, &mut scratch, &mut Counters::default()));
}
