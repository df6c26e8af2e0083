//! Rules of area `btc`: headers of Bitcoin from a checkpoint on, with the most work, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bitcoin_kit;

use alys_protocol::rules::Rule;
use alys_protocol::signer::{BitcoinHeaderBytes, Refusal};
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::rules::{
    MAX_FUTURE_SECONDS, MAX_LAG_SECONDS, header_link, header_pace, header_retarget, header_work,
    reorg_depth,
};
use alys_signer_core::btc::{
    Checkpoint, HeaderChain, Headers, LightClient, LoadError, MAX_REORG_BLOCKS, NetworkRules,
    OPENING_HEADERS, RING_HEADERS, StoredChain, StoredHeaders, Tip, UnixTime, decode, encode,
};
use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use bitcoin::pow::CompactTarget;
use bitcoin::{BlockHash, Network};
use bitcoin_kit::{LATE, Miner, Numbers, START, feed, grind, slow_work};
use std::collections::BTreeMap;

fn rule<T: std::fmt::Debug>(judged: Result<T, Refusal>) -> Rule {
    judged.expect_err("must be refused").rule
}

fn height(height: u32) -> BtcHeight {
    BtcHeight::new(height)
}

/// Headers at chosen heights only.
struct Sparse(BTreeMap<u32, Header>);

impl Headers for Sparse {
    fn anchor(&self) -> Option<Checkpoint> {
        None
    }

    fn tip(&self) -> Option<Tip> {
        let (height, header) = self.0.last_key_value()?;
        Some(Tip {
            height: BtcHeight::new(*height),
            hash: header.block_hash(),
        })
    }

    fn header(&self, height: BtcHeight) -> Option<Header> {
        self.0.get(&height.get()).copied()
    }
}

fn bits_after(network: Network, first: (u32, u32, u32), last: (u32, u32, u32), time: u32) -> u32 {
    let genesis = bitcoin::constants::genesis_block(network).header;
    let make = |(_, time, bits)| Header {
        time,
        bits: CompactTarget::from_consensus(bits),
        ..genesis
    };
    let chain = Sparse([(first.0, make(first)), (last.0, make(last))].into());
    NetworkRules::new(network)
        .required_bits(&chain, height(last.0), time)
        .unwrap()
        .to_consensus()
}

/// Bitcoin Core, `src/test/pow_tests.cpp`: real blocks of mainnet, and one made up.
#[test]
fn retargets_of_bitcoin_core() {
    for (first, last, expected) in [
        // get_next_work: no constraint applies
        (
            (30_240, 1_261_130_161),
            (32_255, 1_262_152_739, 0x1d00_ffff),
            0x1d00_d86a,
        ),
        // get_next_work_pow_limit
        (
            (0, 1_231_006_505),
            (2_015, 1_233_061_996, 0x1d00_ffff),
            0x1d00_ffff,
        ),
        // get_next_work_lower_limit_actual
        (
            (66_528, 1_279_008_237),
            (68_543, 1_279_297_671, 0x1c05_a3f4),
            0x1c01_68fd,
        ),
        // get_next_work_upper_limit_actual: "not an actual block time"
        (
            (44_352, 1_263_163_443),
            (46_367, 1_269_211_443, 0x1c38_7f6f),
            0x1d00_e1fd,
        ),
        // Times that go back are clamped like the shortest period.
        (
            (66_528, 1_279_297_671),
            (68_543, 1_279_008_237, 0x1c05_a3f4),
            0x1c01_68fd,
        ),
    ] {
        let first = (first.0, first.1, last.2);
        for network in [Network::Bitcoin, Network::Testnet4] {
            assert_eq!(bits_after(network, first, last, last.1), expected);
        }
        // Signet's limit is easier, and regtest never retargets.
        assert_eq!(bits_after(Network::Regtest, first, last, last.1), last.2);
    }
}

/// BIP 94: the new period starts from the first block's bits, whatever exception the last one used.
#[test]
fn bip94_keeps_the_difficulty_of_the_periods_first_block() {
    let period = 2016 * 600;
    let first = (2016, START, 0x1c05_a3f4);
    let last = (4031, START + period, 0x1d00_ffff);
    assert_eq!(bits_after(Network::Testnet4, first, last, 0), 0x1c05_a3f4);
    assert_eq!(bits_after(Network::Bitcoin, first, last, 0), 0x1d00_ffff);
}

/// The first blocks of mainnet.
const MAINNET: [&str; 3] = [
    "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
    "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a8300000000d5fdcc541e25de1c7a5addedf24858b8bb665c9f36ef744ee42c316022c90f9bb0bc6649ffff001d08d2bd61",
    "01000000bddd99ccfda39da1b108ce1a5d70038d0a967bacb68b6b63065f626a0000000044f672226090d85db9a9f2fbfe5f0f9609b387af7be5b7fbb7a1767c831c9e995dbe6649ffff001d05e0ed6d",
];

#[test]
fn mainnets_first_blocks_are_taken() {
    let genesis = bitcoin::constants::genesis_block(Network::Bitcoin).header;
    let checkpoint = Checkpoint {
        height: height(0),
        hash: genesis.block_hash(),
    };
    let client = LightClient::new(NetworkRules::new(Network::Bitcoin), checkpoint, 6).unwrap();
    let mut headers = vec![encode(&genesis)];
    headers.extend(MAINNET.map(|hex| hex.parse::<BitcoinHeaderBytes>().unwrap()));
    let mut chain = HeaderChain::default();
    assert!(feed(&client, &mut chain, &headers).unwrap());
    assert_eq!(
        chain.tip().unwrap().hash.to_string(),
        "0000000082b5015589a3fdf2d4baff403e6f0be035a5d9742c1cae6295464449"
    );
    // One bit of the nonce more.
    let mut bytes = headers[3].to_bytes();
    bytes[79] ^= 1;
    headers[3] = BitcoinHeaderBytes::new(bytes);
    assert_eq!(
        rule(client.judge(&HeaderChain::default(), &headers, Some(LATE))),
        Rule::HeaderWork
    );
}

#[test]
fn a_chain_opens_with_the_run_up_to_its_checkpoint() {
    let miner = Miner::regtest(2300);
    // In the middle of the second period: its first block is more than 143 back, or not.
    for (checkpoint, from) in [(2300, 2016), (2100, 1957), (2016, 1873), (100, 0), (0, 0)] {
        let client = miner.client(checkpoint, 10);
        let empty = HeaderChain::default();
        let standing = client.standing(&empty);
        assert_eq!((standing.tip, standing.from), (None, height(from)));
        let judge = |headers: &[BitcoinHeaderBytes]| client.judge(&empty, headers, Some(LATE));

        let update = judge(&miner.bytes(from, checkpoint)).unwrap().unwrap();
        assert_eq!(update.tip().height, height(checkpoint));
        assert_eq!(update.first(), height(from));
        // Nothing, or not yet all of it.
        assert_eq!(judge(&[]), Ok(None));
        if from < checkpoint {
            assert_eq!(
                rule(judge(&miner.bytes(from, checkpoint - 1))),
                Rule::HeaderLink
            );
            assert_eq!(
                rule(judge(&miner.bytes(from + 1, checkpoint))),
                Rule::HeaderLink
            );
        }
        // More than it, judged by every rule.
        if checkpoint < 2300 {
            let update = judge(&miner.bytes(from, checkpoint + 1)).unwrap().unwrap();
            assert_eq!(update.tip().height, height(checkpoint + 1));
        }
    }
}

#[test]
fn another_chain_than_the_checkpoints_does_not_open() {
    let miner = Miner::regtest(300);
    let client = miner.client(300, 10);
    let from = client.standing(&HeaderChain::default()).from.get();
    let honest = miner.bytes(from, 300);
    let judge =
        |headers: &[BitcoinHeaderBytes]| client.judge(&HeaderChain::default(), headers, Some(LATE));
    assert!(judge(&honest).is_ok());
    let mut other = miner.fork(250);
    other.grow(50, 7);
    assert_eq!(rule(judge(&other.bytes(from, 300))), Rule::HeaderLink);
    let mut swapped = honest.clone();
    swapped.swap(10, 11);
    assert_eq!(rule(judge(&swapped)), Rule::HeaderLink);
    let mut idle = miner.headers[from as usize];
    while idle.target().is_met_by(idle.block_hash()) {
        idle.nonce += 1;
    }
    let mut without_work = honest;
    without_work[0] = encode(&idle);
    assert_eq!(rule(judge(&without_work)), Rule::HeaderWork);
    // Officers who vouch for a chain with a header that has no work are not believed either.
    let mut wrong = miner.fork(250);
    let mut idle = wrong.child(wrong.tip().time + 600, |_| {});
    while idle.target().is_met_by(idle.block_hash()) {
        idle.nonce += 1;
    }
    wrong.headers.push(idle);
    wrong.grow(49, 0);
    let judged =
        wrong
            .client(300, 10)
            .judge(&HeaderChain::default(), &wrong.bytes(from, 300), Some(LATE));
    assert_eq!(rule(judged), Rule::HeaderWork);
}

#[test]
fn the_median_is_of_eleven() {
    let times = |times: &[u32]| {
        let header = bitcoin::constants::genesis_block(Network::Regtest).header;
        let headers = times.iter().map(|time| Header {
            time: *time,
            ..header
        });
        let chain = Sparse((0..).zip(headers).collect());
        let tip = chain.tip().unwrap().height;
        chain.median_time(tip).unwrap().get()
    };
    assert_eq!(times(&[7]), 7);
    // Bitcoin Core takes the upper one of an even number.
    assert_eq!(times(&[5, 9]), 9);
    assert_eq!(times(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), 6);
    assert_eq!(times(&[99, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), 6);
}

#[test]
fn header_link_wants_a_known_parent() {
    let mut miner = Miner::regtest(200);
    let (client, mut chain) = miner.fed(200, 10);
    let tip = *miner.tip();
    miner.grow(3, 0);
    assert_eq!(header_link(&chain, &miner.headers[201]), Ok(height(200)));
    assert_eq!(header_link(&chain, &tip), Ok(height(199)));
    assert_eq!(
        rule(header_link(&chain, &miner.headers[202])),
        Rule::HeaderLink
    );
    // A gap in front, and one inside.
    assert_eq!(
        rule(feed(&client, &mut chain, &miner.bytes(202, 203))),
        Rule::HeaderLink
    );
    let holed = [miner.bytes(201, 201), miner.bytes(203, 203)].concat();
    assert_eq!(rule(feed(&client, &mut chain, &holed)), Rule::HeaderLink);
    assert_eq!(chain.tip().unwrap().height, height(200));
    assert!(feed(&client, &mut chain, &miner.bytes(201, 203)).unwrap());
}

#[test]
fn header_work_wants_work_and_a_time() {
    let miner = Miner::regtest(200);
    let (_, chain) = miner.fed(200, 10);
    let rules = miner.numbers.rules();
    let tip = height(200);
    let judge = |header: &Header, now| header_work(&rules, &chain, tip, header, now);
    let time = miner.tip().time + 600;
    let good = miner.child(time, |_| {});
    assert_eq!(judge(&good, Some(LATE)), Ok(()));

    let mut idle = good;
    while idle.target().is_met_by(idle.block_hash()) {
        idle.nonce += 1;
    }
    assert_eq!(rule(judge(&idle, Some(LATE))), Rule::HeaderWork);
    // Easier than the limit, and bits that nobody writes: too many leading zeros, negative, too large, zero.
    for bits in [
        0x2100_ffff,
        0x2100_7fff,
        0x2080_ffff,
        0xff12_3456,
        0,
        0x2000_0000,
    ] {
        let mut header = good;
        header.bits = CompactTarget::from_consensus(bits);
        for nonce in 0..64 {
            header.nonce = nonce;
            assert_eq!(
                rule(judge(&header, Some(LATE))),
                Rule::HeaderWork,
                "{bits:08x}"
            );
        }
    }
    let at_median = miner.child(miner.median(), |_| {});
    assert_eq!(rule(judge(&at_median, Some(LATE))), Rule::HeaderWork);
    let after_median = miner.child(miner.median() + 1, |_| {});
    assert_eq!(judge(&after_median, Some(LATE)), Ok(()));

    let now = u64::from(time) - MAX_FUTURE_SECONDS;
    assert_eq!(judge(&good, Some(UnixTime::new(now))), Ok(()));
    assert_eq!(
        rule(judge(&good, Some(UnixTime::new(now - 1)))),
        Rule::HeaderWork
    );
    // A device knows no time but Bitcoin's.
    assert_eq!(judge(&good, None), Ok(()));
    // Without the eleven before it there is no median.
    let alone = Sparse([(200, *miner.tip())].into());
    assert_eq!(
        rule(header_work(&rules, &alone, tip, &good, Some(LATE))),
        Rule::HeaderWork
    );
}

#[test]
fn header_retarget_wants_exactly_the_bits_that_follow() {
    for min_difficulty in [false, true] {
        let mut miner = Miner::new(Numbers::small(min_difficulty));
        let rules = miner.numbers.rules();
        // Twice as fast as planned: the second period is harder.
        while miner.height() < 9 {
            miner.mine(miner.tip().time + 1, 0);
        }
        assert_ne!(miner.headers[9].bits, miner.headers[0].bits);
        let (_, chain) = miner.fed(9, 1);
        let next = miner.child(miner.tip().time + 1, |_| {});
        assert_eq!(header_retarget(&rules, &chain, height(9), &next), Ok(()));
        for bits in [
            miner.headers[0].bits.to_consensus(),
            next.bits.to_consensus() + 1,
            next.bits.to_consensus() - 1,
        ] {
            let other = Header {
                bits: CompactTarget::from_consensus(bits),
                ..next
            };
            assert_eq!(
                rule(header_retarget(&rules, &chain, height(9), &other)),
                Rule::HeaderRetarget
            );
        }
        // The first block of the period is not there.
        let late = Sparse([(15, *miner.tip())].into());
        assert_eq!(
            rule(header_retarget(&rules, &late, height(15), &next)),
            Rule::HeaderRetarget
        );
    }
}

#[test]
fn the_minimum_difficulty_comes_after_twice_the_spacing_and_goes_again() {
    let mut miner = Miner::new(Numbers::small(true));
    let rules = miner.numbers.rules();
    while miner.height() < 9 {
        miner.mine(miner.tip().time + 1, 0);
    }
    let easiest = miner.headers[0].bits;
    let real = miner.tip().bits;
    assert_ne!(easiest, real);
    let time = miner.tip().time;
    let (_, chain) = miner.fed(9, 1);
    let needs = |time, bits| {
        let header = miner.child(time, |header| header.bits = bits);
        header_retarget(&rules, &chain, height(9), &header)
    };
    assert_eq!(needs(time + 4, real), Ok(()));
    assert_eq!(rule(needs(time + 4, easiest)), Rule::HeaderRetarget);
    assert_eq!(needs(time + 5, easiest), Ok(()));
    assert_eq!(rule(needs(time + 5, real)), Rule::HeaderRetarget);
    // Two easy blocks later the difficulty is the one before them.
    miner.mine(time + 5, 0);
    miner.mine(time + 10, 0);
    assert_eq!(miner.tip().bits, easiest);
    let (_, chain) = miner.fed(9, 1);
    let next = miner.child(time + 11, |_| {});
    assert_eq!(next.bits, real);
    assert_eq!(header_retarget(&rules, &chain, height(11), &next), Ok(()));
}

/// BIP 94 against time warps: the first block of a period is at most 600 s older than its parent.
#[test]
fn a_period_does_not_start_in_the_past() {
    let numbers = Numbers::small(true);
    let rules = numbers.rules();
    let mut miner = Miner::new(numbers);
    while miner.height() < 6 {
        miner.mine(miner.tip().time + 1, 0);
    }
    // Only the last block is far ahead, so that the median still lets earlier times pass.
    miner.mine(miner.tip().time + 2000, 0);
    let (_, chain) = miner.fed(7, 1);
    let time = miner.tip().time;
    let judge = |time| {
        let header = miner.child(time, |_| {});
        header_work(&rules, &chain, height(7), &header, Some(LATE)).unwrap();
        header_retarget(&rules, &chain, height(7), &header)
    };
    assert_eq!(judge(time - 600), Ok(()));
    assert_eq!(rule(judge(time - 601)), Rule::HeaderRetarget);
    // Inside a period, and on networks without BIP 94, the median alone limits.
    let mainnet = NetworkRules::custom(miner.numbers.params.clone(), false);
    let header = miner.child(time - 601, |_| {});
    assert_eq!(
        header_retarget(&mainnet, &chain, height(7), &header),
        Ok(())
    );
}

#[test]
fn reorg_depth_holds_whatever_the_work() {
    let tip = Tip {
        height: height(200),
        hash: BlockHash::all_zeros(),
    };
    let below = height(100);
    assert_eq!(reorg_depth(10, below, tip, height(190)), Ok(()));
    let deep = reorg_depth(10, below, tip, height(189));
    assert_eq!(rule(deep), Rule::ReorgDepth);
    assert_eq!(reorg_depth(10, height(195), tip, height(195)), Ok(()));
    let checkpoint = reorg_depth(10, height(195), tip, height(194));
    assert_eq!(rule(checkpoint), Rule::ReorgDepth, "officers vouch for it");

    let miner = Miner::regtest(200);
    let (client, chain) = miner.fed(150, 10);
    for (fork, expected) in [(190, None), (189, Some(Rule::ReorgDepth))] {
        let mut other = miner.fork(fork);
        other.grow(60, 9);
        let mut chain = chain.clone();
        // With known headers in front, too.
        let fed = feed(&client, &mut chain, &other.bytes(fork - 5, other.height()));
        assert_eq!(fed.as_ref().err().map(|refusal| refusal.rule), expected);
        let best = if expected.is_none() { &other } else { &miner };
        assert_eq!(chain.tip(), Some(best.tip_of()));
        assert_eq!(
            chain.hash(height(191)),
            Some(best.headers[191].block_hash())
        );
    }
}

#[test]
fn the_first_seen_of_two_equal_branches_stays() {
    let miner = Miner::regtest(200);
    let (client, mut chain) = miner.fed(150, 10);
    let mut other = miner.fork(195);
    other.grow(5, 3);
    assert_eq!(feed(&client, &mut chain, &other.bytes(196, 200)), Ok(false));
    assert_eq!(chain.tip(), Some(miner.tip_of()));
    other.grow(1, 3);
    // The branch is not remembered: it comes again as a whole.
    assert_eq!(
        rule(feed(&client, &mut chain, &other.bytes(201, 201))),
        Rule::HeaderLink
    );
    assert_eq!(feed(&client, &mut chain, &other.bytes(196, 201)), Ok(true));
    assert_eq!(chain.tip(), Some(other.tip_of()));
    // And back.
    let mut first = miner.fork(200);
    first.grow(2, 0);
    assert_eq!(feed(&client, &mut chain, &first.bytes(190, 202)), Ok(true));
    assert_eq!(chain.tip(), Some(first.tip_of()));
}

#[test]
fn less_work_in_more_headers_leaves_nothing_behind() {
    let mut miner = Miner::new(Numbers::small(true));
    miner.grow(7, 0);
    let fork = miner.height();
    let mut heavy = miner.clone();
    let mut long = miner;
    // Quick blocks in a new period that is harder than minimum; slow ones with the minimum's exception.
    while heavy.height() < fork + 12 {
        heavy.mine(heavy.tip().time + 1, 1);
    }
    while long.height() < fork + 14 {
        long.mine(long.tip().time + 5, 2);
    }
    let above = fork as usize + 1..;
    assert!(slow_work(&heavy.headers[above.clone()]) > slow_work(&long.headers[above]));
    let (client, mut chain) = heavy.fed(3, 20);
    assert_eq!(
        feed(&client, &mut chain, &long.bytes(fork + 1, long.height())),
        Ok(false)
    );
    assert_eq!(chain.tip(), Some(heavy.tip_of()));
    // The other way round fewer headers win.
    let (client, mut chain) = long.fed(3, 20);
    assert_eq!(
        feed(&client, &mut chain, &heavy.bytes(fork + 1, heavy.height())),
        Ok(true)
    );
    assert_eq!(chain.tip(), Some(heavy.tip_of()));
    assert_eq!(chain.header(height(long.height())), None);
}

#[test]
fn known_headers_change_nothing() {
    let miner = Miner::regtest(200);
    let (client, chain) = miner.fed(150, 10);
    for (from, to) in [(200, 200), (120, 150), (100, 200)] {
        assert_eq!(
            client.judge(&chain, &miner.bytes(from, to), Some(LATE)),
            Ok(None)
        );
    }
    let standing = client.standing(&chain);
    assert_eq!(standing.tip, Some(miner.tip_of()));
    assert_eq!(standing.from, height(191));
}

#[test]
fn one_bad_header_and_none_counts() {
    let mut miner = Miner::regtest(200);
    let (client, mut chain) = miner.fed(150, 10);
    miner.grow(5, 0);
    let mut headers = miner.bytes(201, 205);
    let mut last = decode(&headers[4]).unwrap();
    last.time = miner.headers[190].time;
    grind(&mut last);
    headers[4] = encode(&last);
    assert_eq!(rule(feed(&client, &mut chain, &headers)), Rule::HeaderWork);
    assert_eq!(chain.tip().unwrap().height, height(200));
    assert_eq!(feed(&client, &mut chain, &headers[..4]), Ok(true));
}

#[test]
fn the_ring_is_bounded_and_still_enough() {
    let miner = Miner::regtest(6100);
    let (client, mut chain) = miner.fed(150, MAX_REORG_BLOCKS);
    let ring = u32::try_from(RING_HEADERS).unwrap();
    assert_eq!(chain.first(), Some(height(6101 - ring)));
    assert_eq!(chain.header(height(6100 - ring)), None);
    assert_eq!(chain.hash(height(6100 - ring)), None);
    assert_eq!(chain.depth(height(6101 - ring)), Some(ring));
    assert_eq!(chain.depth(height(6101)), None);
    for at in [6101 - ring, 5000, 6100] {
        let header = miner.headers[at as usize];
        assert_eq!(chain.header(height(at)), Some(header));
        assert_eq!(chain.hash(height(at)), Some(header.block_hash()));
    }
    // The deepest reorganisation there may be.
    let fork = 6100 - MAX_REORG_BLOCKS;
    let mut other = miner.fork(fork);
    other.grow(MAX_REORG_BLOCKS + 1, 5);
    assert_eq!(
        feed(&client, &mut chain, &other.bytes(fork + 1, 6101)),
        Ok(true)
    );
    assert_eq!(chain.tip(), Some(other.tip_of()));
    // The parent of the lowest is not kept, and a node that sends headers from below the ring is told so.
    let lowest = miner.headers[(6102 - ring) as usize];
    assert_eq!(chain.first(), Some(height(6102 - ring)));
    assert_eq!(rule(header_link(&chain, &lowest)), Rule::HeaderLink);
    assert_eq!(
        rule(feed(&client, &mut chain, &miner.bytes(1000, 1100))),
        Rule::HeaderLink
    );
    let stored = chain.stored().unwrap();
    let bytes = postcard::to_allocvec(&stored).unwrap();
    assert!(bytes.len() <= RING_HEADERS * 80 + 8, "{}", bytes.len());
    let read: StoredHeaders = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(client.load(None, &read), Ok(chain));
}

#[test]
fn an_update_names_what_to_store() {
    let miner = Miner::regtest(200);
    let (client, mut chain) = miner.fed(150, 10);
    let mut other = miner.fork(195);
    other.grow(6, 3);
    let update = client
        .judge(&chain, &other.bytes(190, 201), Some(LATE))
        .unwrap()
        .unwrap();
    let stored: Vec<_> = update.headers().collect();
    assert_eq!(update.first(), height(196));
    assert_eq!(stored.first().map(|(height, _)| *height), Some(height(196)));
    assert_eq!(stored.last().unwrap(), &(height(201), encode(other.tip())));
    assert_eq!(update.tip(), other.tip_of());
    // Not for a chain that it was not judged against.
    let (_, mut elsewhere) = Miner::regtest(190).fed(150, 10);
    let before = elsewhere.clone();
    assert!(matches!(
        elsewhere.apply(&update),
        Err(LoadError::Link { .. })
    ));
    assert_eq!(elsewhere, before);
    chain.apply(&update).unwrap();
    assert_eq!(chain.tip(), Some(other.tip_of()));
}

#[test]
fn a_damaged_store_is_seen() {
    let mut miner = Miner::new(Numbers::small(false));
    while miner.height() < 40 {
        miner.mine(miner.tip().time + 1 + miner.height() % 3, 0);
    }
    let (client, chain) = miner.fed(20, 10);
    let stored = chain.stored().unwrap();
    assert_eq!(client.load(None, &stored), Ok(chain));
    let changed = |first: u32, change: &dyn Fn(&mut Vec<BitcoinHeaderBytes>)| {
        let mut headers = stored.headers.to_vec();
        change(&mut headers);
        client.load(
            None,
            &StoredHeaders {
                first: height(first),
                headers: headers.try_into().unwrap(),
            },
        )
    };
    assert!(matches!(
        changed(0, &|headers| {
            headers.remove(30);
        }),
        Err(LoadError::Link { .. })
    ));
    assert!(matches!(
        changed(0, &|headers| {
            headers.remove(0);
        }),
        Err(LoadError::Work { .. } | LoadError::Checkpoint { .. })
    ));
    assert!(matches!(
        changed(1, &|headers| {
            headers.remove(0);
        }),
        Err(LoadError::Incomplete { .. })
    ));
    assert!(matches!(
        changed(u32::MAX - 3, &|_| {}),
        Err(LoadError::Incomplete { .. } | LoadError::Work { .. })
    ));
    assert!(matches!(
        changed(0, &|headers| headers.truncate(20)),
        Err(LoadError::Checkpoint { found: None, .. })
    ));
    assert!(matches!(
        changed(0, &|headers| headers.clear()),
        Err(LoadError::Checkpoint { found: None, .. })
    ));
    assert!(matches!(
        changed(0, &|headers| {
            let mut last = *miner.tip();
            while last.target().is_met_by(last.block_hash()) {
                last.nonce += 1;
            }
            headers[40] = encode(&last);
        }),
        Err(LoadError::Work { .. })
    ));
    // A header whose bits do not follow from the others.
    let eased = miner.fork(39);
    let time = eased.tip().time + 1;
    let header = eased.child(time, |header| header.bits = miner.headers[0].bits);
    assert_ne!(header.bits, miner.headers[39].bits);
    assert!(matches!(
        changed(0, &|headers| headers[40] = encode(&header)),
        Err(LoadError::Work { .. })
    ));
    // Officers named another checkpoint: the chain opens anew.
    let elsewhere = Checkpoint {
        height: height(0),
        hash: BlockHash::all_zeros(),
    };
    let client = LightClient::new(miner.numbers.rules(), elsewhere, 10).unwrap();
    assert!(matches!(
        client.load(None, &stored),
        Err(LoadError::Checkpoint { found: Some(_), .. })
    ));
    let mut other = miner.fork(10);
    other.grow(15, 4);
    assert!(matches!(
        other.client(20, 10).load(None, &stored),
        Err(LoadError::Checkpoint { found: Some(_), .. })
    ));
}

#[test]
fn header_pace_stops_mints_while_headers_look_withheld() {
    let mut miner = Miner::regtest(300);
    let rules = miner.numbers.rules();
    let time = u64::from(miner.tip().time);
    let (client, mut chain) = miner.fed(200, 10);
    let judge =
        |chain: &HeaderChain, headers, now| header_pace(&rules, chain, headers, UnixTime::new(now));
    assert_eq!(judge(&chain, 36, time), Ok(()));
    assert_eq!((MAX_FUTURE_SECONDS, MAX_LAG_SECONDS), (7_200, 10_800));
    assert_eq!(judge(&chain, 36, time + MAX_LAG_SECONDS), Ok(()));
    assert_eq!(
        rule(judge(&chain, 36, time + MAX_LAG_SECONDS + 1)),
        Rule::HeaderPace
    );
    // A tip ahead of the clock lags nothing.
    assert_eq!(judge(&chain, 36, 0), Ok(()));
    // Fewer headers than asked for.
    assert_eq!(judge(&chain, OPENING_HEADERS - 1, time), Ok(()));
    assert_eq!(rule(judge(&chain, 301, time)), Rule::HeaderPace);
    assert_eq!(
        rule(judge(&HeaderChain::default(), 36, time)),
        Rule::HeaderPace
    );
    // A private chain with a tenth of the work: each header as late as the lag allows.
    for blocks in 1..=36u64 {
        miner.mine(miner.tip().time + 6000, 0);
        let fed = feed(
            &client,
            &mut chain,
            &miner.bytes(miner.height(), miner.height()),
        );
        assert_eq!(fed, Ok(true));
        let took = 600 * (36 - blocks) + 6000 * blocks;
        let judged = judge(&chain, 36, u64::from(miner.tip().time));
        assert_eq!(judged.is_ok(), took <= 2 * 36 * 600, "after {blocks}");
    }
    // 35 headers of 600 s and one of 22,200 s are exactly twice the time.
    for (last, expected) in [(22_200, true), (22_201, false)] {
        let mut slow = Miner::regtest(300);
        slow.mine(slow.tip().time + last, 0);
        let (_, chain) = slow.fed(200, 10);
        let judged = judge(&chain, 36, u64::from(slow.tip().time));
        assert_eq!(judged.is_ok(), expected);
    }
}

#[test]
fn parameters_that_the_ring_is_not_made_for_are_refused() {
    let miner = Miner::regtest(10);
    let make = |rules, reorg| LightClient::new(rules, miner.checkpoint(10), reorg);
    assert!(make(miner.numbers.rules(), MAX_REORG_BLOCKS).is_ok());
    for reorg in [0, MAX_REORG_BLOCKS + 1] {
        let error = make(miner.numbers.rules(), reorg).unwrap_err();
        assert_eq!((error.field, error.found), ("max_reorg_blocks", reorg));
    }
    let mut numbers = Numbers::regtest();
    numbers.params.pow_target_timespan *= 2;
    assert_eq!(make(numbers.rules(), 1).unwrap_err().found, 4032);
}

#[test]
fn sizes() {
    // What RING_HEADERS says of its memory.
    assert_eq!(size_of::<Header>(), 80);
}

/// After a reorganisation that the policy does not let through, officers name a block of the branch that won.
#[test]
fn a_chain_goes_on_from_the_block_that_officers_name() {
    let mut miner = Miner::new(Numbers::small(false));
    miner.grow(60, 1);
    let (client, stuck) = miner.fed(20, 10);
    let mut other = miner.fork(40);
    other.grow(40, 2);
    let mut chain = stuck.clone();
    assert_eq!(
        rule(feed(&client, &mut chain, &other.bytes(41, 80))),
        Rule::ReorgDepth
    );

    let mut chain = HeaderChain::anchored(other.checkpoint(45));
    assert_eq!(client.checkpoint(&chain), other.checkpoint(45));
    let from = client.standing(&chain).from.get();
    assert!(45 - from + 1 >= OPENING_HEADERS.min(46), "{from}");
    assert_eq!(
        rule(feed(&client, &mut chain, &miner.bytes(from, 60))),
        Rule::HeaderLink,
        "the branch that lost"
    );
    assert_eq!(feed(&client, &mut chain, &other.bytes(from, 80)), Ok(true));
    assert_eq!(chain.tip(), Some(other.tip_of()));
    // Nothing below the anchor is given up, however much work comes.
    let mut deeper = other.fork(44);
    deeper.grow(80, 3);
    let (client, mut chain) = (other.client(20, 100), chain);
    assert_eq!(
        rule(feed(&client, &mut chain, &deeper.bytes(45, 124))),
        Rule::ReorgDepth
    );

    let stored = StoredChain::from(chain.clone());
    let bytes = postcard::to_allocvec(&stored).unwrap();
    let StoredChain::Anchored(anchor, Some(ring)) = postcard::from_bytes(&bytes).unwrap() else {
        panic!("{stored:?}");
    };
    assert_eq!(client.load(Some(anchor), &ring), Ok(chain.clone()));
    assert_eq!(HeaderChain::from(stored), chain);
    assert!(matches!(
        client.load(Some(miner.checkpoint(45)), &ring),
        Err(LoadError::Checkpoint { .. })
    ));
    let empty = HeaderChain::anchored(other.checkpoint(45));
    assert_eq!(HeaderChain::from(StoredChain::from(empty.clone())), empty);
}

/// States and logs of before there were anchors are read as they are.
#[test]
fn a_chain_without_an_anchor_is_stored_as_ever() {
    let mut miner = Miner::new(Numbers::small(false));
    miner.grow(30, 1);
    let (_client, chain) = miner.fed(20, 10);
    for chain in [chain, HeaderChain::default()] {
        let before: Option<StoredHeaders> = chain.stored();
        assert_eq!(
            postcard::to_allocvec(&chain).unwrap(),
            postcard::to_allocvec(&before).unwrap()
        );
    }
}
