//! A line that works, and one that breaks.

use super::line::*;
use crate::link::*;

#[test]
fn requests_of_every_length_are_answered() {
    let mut rig = Rig::new(Vec::new());
    for (number, length) in [0, 1, 1023, 1024, 1025, 2048, 5000, LIMIT as usize]
        .into_iter()
        .enumerate()
    {
        let request: Vec<u8> = (0..length).map(|place| place as u8).collect();
        let reply = rig.ask(number as u32, &request).unwrap();
        assert_eq!(reply, answer(&request));
        assert_eq!(rig.served.last(), Some(&request));
    }
    assert_eq!(rig.sessions, 1);
    assert_eq!(rig.device.counters(), Counters::default());
    assert_eq!(rig.host.counters(), Counters::default());
}

#[test]
fn a_request_beyond_the_devices_limit_is_rejected_and_the_next_one_served() {
    let mut rig = Rig::new(Vec::new());
    let why = rig.ask(1, &vec![7; LIMIT as usize + 1]).unwrap_err();
    assert_eq!(why, Rejection::TooLong { limit: LIMIT });
    assert_eq!(rig.ask(2, b"next").unwrap(), answer(b"next"));
    assert_eq!(rig.served, [b"next"]);
    assert_eq!(rig.sessions, 1);
}

#[test]
fn a_device_may_answer_before_it_has_all() {
    let mut device = device(DEVICE, Some(HOST));
    let mut entropy = Counting(0);
    let mut host = HostLink::open(&key(HOST), &public(DEVICE), &mut entropy).unwrap();
    let mut wire = [0u8; WIRE_BYTES];
    let (mut parts, mut replies) = (0, Vec::new());
    let mut asked = 0;
    for _ in 0..100 {
        if asked < 2 && !host.sending() && host.request(asked + 1, vec![9; 10_000]) {
            asked += 1;
        }
        while let Some(length) = host.poll_transmit(&mut wire) {
            for byte in &wire[..length] {
                let early = match device.feed(*byte, &mut entropy) {
                    Some(DeviceEvent::Part(part)) => {
                        parts += 1;
                        (part.offset == 1024).then_some(part.request)
                    }
                    Some(other) => panic!("{other:?}"),
                    None => None,
                };
                if let Some(request) = early {
                    device.reply(request, b"no".to_vec()).unwrap();
                    assert_eq!(device.reply(request, vec![]), Err(ReplyError::Answered));
                }
            }
        }
        while let Some(length) = device.poll_transmit(&mut wire) {
            for byte in &wire[..length] {
                if let Some(HostEvent::Part(part)) = host.feed(*byte) {
                    replies.push((part.request.number, part.bytes.to_vec()));
                    host.cut();
                }
            }
        }
        host.nudge();
    }
    assert_eq!(replies, [(1, b"no".to_vec()), (2, b"no".to_vec())]);
    assert_eq!(parts, 4, "the rest was neither sent nor delivered");
}

#[test]
fn a_restarted_device_gets_the_same_request_again_in_a_new_session() {
    let mut rig = Rig::new(Vec::new());
    rig.ask(1, b"before").unwrap();
    rig.restart();
    assert_eq!(rig.ask(2, b"after").unwrap(), answer(b"after"));
    assert_eq!(rig.sessions, 2);
}

#[test]
fn an_opening_that_comes_twice_is_answered_twice_with_the_same_bytes() {
    let mut rig = Rig::new(vec![Fate::Twice]);
    rig.ask(1, b"hello").unwrap();
    assert_eq!(rig.sessions, 1);
    // The answer is lost, and the host says its opening again.
    let mut rig = Rig::new(vec![Fate::Delivered, Fate::Lost]);
    rig.ask(1, b"hello").unwrap();
    assert_eq!(rig.sessions, 1);
    let opened: Vec<&Vec<u8>> = rig
        .sent_down()
        .iter()
        .filter(|frame| decoded(frame)[0] == 0x04)
        .collect();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[0], opened[1]);
}

#[test]
fn pieces_of_a_message_whose_beginning_was_not_taken_are_dropped() {
    let part = |number, offset, bytes| Part {
        request: RequestId { session: 1, number },
        total: 4,
        offset,
        bytes,
    };
    let mut collector = Collector::new();
    assert_eq!(collector.take(&part(1, 2, b"cd")), Ok(None));
    assert_eq!(collector.take(&part(2, 0, b"ab")), Ok(None));
    assert_eq!(collector.take(&part(1, 2, b"cd")), Ok(None));
    assert_eq!(
        collector.take(&part(2, 2, b"cd")),
        Ok(Some(b"abcd".to_vec()))
    );
}

#[test]
fn a_reply_to_an_earlier_sessions_request_is_refused() {
    let mut rig = Rig::new(Vec::new());
    rig.ask(1, b"before").unwrap();
    let old = RequestId {
        session: 1,
        number: 1,
    };
    rig.reopen();
    rig.ask(2, b"after").unwrap();
    assert_eq!(rig.device.reply(old, vec![]), Err(ReplyError::SessionEnded));
    let long = vec![0; MAX_REPLY_BYTES + 1];
    let found = long.len();
    assert_eq!(
        rig.device.reply(old, long),
        Err(ReplyError::TooLong { found })
    );
}

#[test]
fn a_device_that_was_never_paired_says_so() {
    let mut rig = Rig::new(Vec::new());
    rig.device = device(DEVICE, None);
    let refused = Came::Refused(RefuseReason::Unpaired, public(DEVICE).fingerprint());
    assert_eq!(rig.settle(), [refused]);
}

#[test]
fn anyone_may_ask_who_a_device_is() {
    let mut device = device(DEVICE, None);
    let mut wire = [0u8; WIRE_BYTES];
    let length = probe(&mut wire).unwrap();
    for byte in &wire[..length] {
        assert_eq!(device.feed(*byte, &mut Counting(0)), None);
    }
    device.open_pairing();
    let length = device.poll_transmit(&mut wire).unwrap();
    let found = read_announcement(&decoded(&wire[..length])).unwrap();
    assert_eq!(found.device, public(DEVICE).fingerprint());
    assert_eq!(found.pairedness, Pairedness::Open);
    assert_eq!(found.words.as_str(), "test device 0.1");
}

#[test]
fn the_bytes_of_an_opening_are_those_of_version_1() {
    // X25519, ChaCha20-Poly1305 and SHA-256 by the Noise framework, with fixed keys: another release of the library, or another
    // encoding of ours, would not talk to devices in the field.
    let mut rig = Rig::new(Vec::new());
    rig.ask(1, b"golden").unwrap();
    let text: Vec<String> = rig.sent_up()[..3]
        .iter()
        .chain(&rig.sent_down()[..2])
        .map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(text.join("\n"), include_str!("golden.txt").trim_end());
}

#[test]
fn words_from_the_line_hold_nothing_for_a_terminal_to_obey() {
    assert_eq!(Words::new("a\u{1b}[2Jb\u{fc}").as_str(), "a?[2Jb?");
    assert!(hello::Words::read(b"a\x1b[2J").is_none());
    assert!(hello::Words::read(&[b'a'; 65]).is_none());
}
