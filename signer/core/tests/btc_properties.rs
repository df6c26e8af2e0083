//! Properties of the header chain, against Bitcoin's rules written a second time (see `bitcoin_kit`).
#![allow(clippy::unwrap_used, missing_docs)]

mod bitcoin_kit;

use alys_protocol::rules::Rule;
use alys_signer_core::btc::{HeaderChain, Headers, decode, encode};
use bitcoin::pow::{CompactTarget, Target};
use bitcoin_kit::{LATE, Miner, Numbers, compact, expand, feed, slow_work};
use proptest::prelude::*;

/// A chain with these steps between block times, as far as the median lets them.
fn grown(mut miner: Miner, steps: &[i8], salt: u8) -> Miner {
    for step in steps {
        let wished = miner.tip().time.saturating_add_signed(i32::from(*step));
        miner.mine(wished.max(miner.median() + 1), salt);
    }
    miner
}

/// Steps of about the planned 2 s, some far off: the difficulty stays minable.
fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<i8>> {
    let step = prop_oneof![4 => 0i8..6, 1 => -6i8..20];
    proptest::collection::vec(step, length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What the slow rules mine is taken, in whatever pieces it comes; other bits are not.
    #[test]
    fn the_rules_of_work_are_bitcoins(
        min_difficulty in any::<bool>(),
        times in steps(20..48),
        checkpoint in 0u32..16,
        pieces in proptest::collection::vec(1u32..9, 48),
        other in any::<u8>(),
    ) {
        let miner = grown(Miner::new(Numbers::small(min_difficulty)), &times, 0);
        let (client, whole) = miner.fed(checkpoint, 5);
        let mut chain = HeaderChain::default();
        let mut from = 0;
        for piece in pieces {
            let to = (from + piece).max(checkpoint).min(miner.height());
            if from > to {
                break;
            }
            prop_assert_eq!(feed(&client, &mut chain, &miner.bytes(from, to)), Ok(true));
            from = to + 1;
        }
        prop_assert_eq!(chain.tip(), whole.tip());
        prop_assert_eq!(&chain, &whole);
        prop_assert_eq!(client.load(None, &chain.stored().unwrap()), Ok(whole));
        prop_assert_eq!(
            chain.median_time(miner.tip_of().height).map(|median| median.get()),
            Some(miner.median())
        );
        // Bits of an earlier block, or nearly the right ones.
        let time = miner.tip().time.max(miner.median()) + 1;
        let right = miner.numbers.slow_bits(&miner.headers, time);
        let earlier = miner.headers[usize::from(other) % miner.headers.len()].bits;
        for bits in [earlier.to_consensus(), right + 1, right - 1] {
            if bits != right && expand(bits) <= expand(0x2000_ffff) && expand(bits) >= expand(0x1f10_0000) {
                let header = miner.child(time, |header| header.bits = CompactTarget::from_consensus(bits));
                let refusal = client.judge(&chain, &[encode(&header)], Some(LATE)).unwrap_err();
                prop_assert_eq!(refusal.rule, Rule::HeaderRetarget);
            }
        }
    }

    /// Of two branches the one with more work is kept, in whichever order they come.
    #[test]
    fn most_work_wins(
        trunk in steps(4..12),
        left in steps(1..16),
        right in steps(1..16),
    ) {
        let trunk = grown(Miner::new(Numbers::small(true)), &trunk, 0);
        let fork = trunk.height();
        let branches = [
            grown(trunk.clone(), &left, 1),
            grown(trunk.clone(), &right, 2),
        ];
        let works = branches.each_ref().map(|branch| slow_work(&branch.headers));
        for (first, second) in [(0, 1), (1, 0)] {
            let (client, mut chain) = branches[first].fed(fork.min(3), 20);
            let height = branches[second].height();
            let changed = feed(&client, &mut chain, &branches[second].bytes(fork + 1, height));
            prop_assert_eq!(changed, Ok(works[second] > works[first]));
            let best = if works[second] > works[first] { second } else { first };
            prop_assert_eq!(chain.tip(), Some(branches[best].tip_of()));
            prop_assert_eq!(chain.stored(), branches[best].fed(fork.min(3), 20).1.stored());
        }
    }

    /// Compact bits by Bitcoin Core's text and by the crate's.
    #[test]
    fn compact_bits_agree(word in 1u32..0x80_0000, size in 3u32..32) {
        let target = expand(word | size << 24);
        let theirs = Target::from_compact(CompactTarget::from_consensus(word | size << 24));
        prop_assert_eq!(theirs.to_be_bytes(), target.to_be_bytes::<32>());
        prop_assert_eq!(theirs.to_compact_lossy().to_consensus(), compact(target));
    }

    /// Any bytes are headers or not, and never a panic.
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<[u8; 32]>(), 0..6), at in 0usize..80) {
        let miner = Miner::regtest(20);
        let (client, chain) = miner.fed(10, 5);
        let mut header = encode(miner.tip()).to_bytes();
        for (place, byte) in bytes.concat().into_iter().enumerate() {
            header[(at + place) % 80] = byte;
        }
        let header = alys_protocol::signer::BitcoinHeaderBytes::new(header);
        prop_assert_eq!(decode(&header).as_ref().map(encode), Some(header));
        let known = header == encode(miner.tip());
        prop_assert_eq!(client.judge(&chain, &[header], None).is_ok(), known || chain_takes(&miner, &header));
        let _ = client.judge(&HeaderChain::default(), &[header], None);
    }
}

/// Whether random bytes made a good header after all: one of two hashes meets regtest's bits.
fn chain_takes(miner: &Miner, bytes: &alys_protocol::signer::BitcoinHeaderBytes) -> bool {
    let header = decode(bytes).unwrap();
    let parent = miner.headers[..miner.headers.len()]
        .iter()
        .rposition(|known| known.block_hash() == header.prev_blockhash);
    parent.is_some_and(|parent| {
        let below = miner.fork(parent as u32);
        parent as u32 + 5 >= miner.height()
            && header.bits == miner.tip().bits
            && header.target().is_met_by(header.block_hash())
            && header.time > below.median()
    })
}
