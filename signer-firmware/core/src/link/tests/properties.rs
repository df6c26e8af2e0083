//! Whatever a line does: every message that comes out is one that went in, and when the line is good again all of them come.

use super::line::*;
use crate::link::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Delivered),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        2 => (any::<u16>(), 1..=u8::MAX).prop_map(|(at, with)| Fate::Changed(at, with)),
        1 => any::<u16>().prop_map(Fate::Short),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Fate::Long(at, byte)),
        1 => Just(Fate::Late),
        1 => any::<u16>().prop_map(Fate::Earlier),
        1 => any::<u16>().prop_map(Fate::Reflected),
        1 => Just(Fate::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    #[test]
    fn every_request_is_answered_and_none_is_changed(
        fates in vec(fate(), 0..120),
        requests in vec(vec(any::<u8>(), 0..4000), 1..5),
    ) {
        let mut rig = Rig::new(fates);
        for (number, request) in requests.iter().enumerate() {
            let reply = rig.ask(number as u32 + 1, request).unwrap();
            prop_assert_eq!(reply, answer(request));
        }
        // A request may be served again after a broken session, but nothing else ever is, and nothing out of turn.
        let mut last = 0;
        for served in &rig.served {
            let place = requests.iter().skip(last).position(|request| request == served);
            prop_assert!(place.is_some(), "{} bytes that nobody sent, or out of turn", served.len());
            last += place.unwrap();
        }
        // Every one was served.
        for request in &requests {
            prop_assert!(rig.served.contains(request));
        }
    }

    #[test]
    fn any_bytes_are_harmless(bytes in vec(any::<u8>(), 0..3000), messages in vec(vec(any::<u8>(), 0..200), 0..20)) {
        let mut rig = Rig::new(Vec::new());
        rig.ask(1, b"before").unwrap();
        let framed: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
        for bytes in [&bytes, &framed] {
            rig.feed_device(bytes);
            for byte in bytes {
                // A stranger may say that the device has no session, which costs a new one; nothing else.
                let event = rig.host.feed(*byte);
                prop_assert!(matches!(event, None | Some(HostEvent::Ended)), "{:?}", event);
            }
        }
        if messages.iter().any(|message| message.first() == Some(&0x12)) {
            rig.reopen();
        }
        prop_assert_eq!(rig.ask(2, b"after").unwrap(), answer(b"after"));
        prop_assert_eq!(rig.served.len(), 2);
    }
}
