use super::*;
use proptest::prelude::*;

fn encoded(message: &[u8]) -> Vec<u8> {
    let mut output = vec![0xaa; encoded_length(message.len())];
    let length = encode(message, &mut output).unwrap();
    output.truncate(length);
    output
}

fn decode<const N: usize>(bytes: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
    let mut decoder = Decoder::<N>::new();
    bytes
        .iter()
        .filter_map(|byte| decoder.push(*byte).map(|frame| frame.map(<[u8]>::to_vec)))
        .collect()
}

#[test]
fn golden_frame() {
    // Message 11 00 22, CRC-32 0x37c551b1 (by Python's zlib), so COBS over 11 00 22 b1 51 c5 37.
    assert_eq!(
        encoded(&[0x11, 0x00, 0x22]),
        [0x00, 0x02, 0x11, 0x06, 0x22, 0xb1, 0x51, 0xc5, 0x37, 0x00]
    );
}

#[test]
fn empty_frames_mean_nothing() {
    assert_eq!(decode::<64>(&[0; 100]), vec![]);
    assert_eq!(decode::<64>(&encoded(&[])), vec![Ok(vec![])]);
}

#[test]
fn a_message_that_just_fits_and_one_that_does_not() {
    assert_eq!(decode::<20>(&encoded(&[7; 16])), vec![Ok(vec![7; 16])]);
    let too_long = encoded(&[7; 17]);
    let mut line = too_long.clone();
    line.extend(encoded(&[1]));
    assert_eq!(
        decode::<20>(&line),
        vec![Err(FrameError::TooLong { limit: 20 }), Ok(vec![1])]
    );
    // Zeros count, too.
    assert_eq!(
        decode::<20>(&encoded(&[0; 17])),
        vec![Err(FrameError::TooLong { limit: 20 })]
    );
}

#[test]
fn an_endless_frame_takes_no_more_than_the_buffer_and_is_reported_once() {
    let mut line = vec![1u8; 1_000_000];
    line.extend(encoded(b"next"));
    assert_eq!(
        decode::<32>(&line),
        vec![Err(FrameError::TooLong { limit: 32 }), Ok(b"next".to_vec())]
    );
}

#[test]
fn frames_without_room_for_a_checksum_are_truncated() {
    for frame in [&[1u8, 0][..], &[2, 9, 0], &[4, 1, 2, 3, 0], &[5, 1, 0]] {
        assert_eq!(decode::<32>(frame), vec![Err(FrameError::Truncated)]);
    }
}

proptest! {
    #[test]
    fn messages_survive(message in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..2000)) {
        let frame = encoded(&message);
        prop_assert!(frame.len() <= encoded_length(message.len()));
        prop_assert_eq!(frame.iter().filter(|byte| **byte == 0).count(), 2);
        prop_assert_eq!(decode::<2004>(&frame), vec![Ok(message)]);
    }

    /// Runs of bytes other than zero around the block length of 254 are where COBS goes wrong.
    #[test]
    fn long_runs_survive(runs in proptest::collection::vec(250usize..260, 1..5)) {
        let message: Vec<u8> = runs
            .iter()
            .flat_map(|run| core::iter::repeat_n(1u8, *run).chain([0]))
            .collect();
        prop_assert_eq!(decode::<2000>(&encoded(&message)), vec![Ok(message)]);
    }

    /// Another implementation reads what we write, and we read what it writes.
    #[test]
    fn an_independent_implementation_agrees(message in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..1200)) {
        let mut data = message.clone();
        data.extend(Crc32::of(&message));
        let frame = encoded(&message);
        prop_assert_eq!(cobs::decode_vec(&frame[1..frame.len() - 1]).unwrap(), data.clone());
        let mut theirs = cobs::encode_vec(&data);
        theirs.push(0);
        prop_assert_eq!(decode::<1204>(&theirs), vec![Ok(message)]);
    }

    /// Whatever is on the line, there is no panic, no message longer than the buffer, and the next frame arrives.
    #[test]
    fn resynchronises_after_any_noise(noise in proptest::collection::vec(any::<u8>(), 0..600), message in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut line = noise;
        line.extend(encoded(&message));
        let frames = decode::<64>(&line);
        prop_assert!(frames.iter().flatten().all(|found| found.len() <= 60));
        prop_assert_eq!(frames.last(), Some(&Ok(message)));
    }

    /// One changed byte never gives another message.
    #[test]
    fn a_changed_byte_is_noticed(message in proptest::collection::vec(any::<u8>(), 1..300), place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut frame = encoded(&message);
        let place = place.index(frame.len());
        frame[place] ^= flip;
        for found in decode::<512>(&frame).into_iter().flatten() {
            prop_assert_eq!(&found, &message);
        }
    }

    #[test]
    fn a_short_output_buffer_is_an_error(message in proptest::collection::vec(any::<u8>(), 0..300), short in 1usize..50) {
        let exact = encoded(&message).len();
        let mut output = vec![0; exact.saturating_sub(short)];
        let limit = output.len();
        prop_assert_eq!(encode(&message, &mut output), Err(FrameError::TooLong { limit }));
    }
}
