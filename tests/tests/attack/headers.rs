//! Rules of area `btc`: Bitcoin as an attacker shows it who stands between the signer and every honest node.

use crate::bitcoin_kit::grind;
use crate::deposits::{BitcoinBlock, coinbase, merkle_root};
use crate::federation::{CHECKPOINT, Federation, Setup, TIP, unix_now};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::peg::WHOLE_BLOCK;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BitcoinHeaderBytes, Reply, Request};
use alys_signer_core::btc::encode;
use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use bitcoin::pow::CompactTarget;
use bitcoin::{BlockHash, TxMerkleNode};

fn request(headers: Vec<BitcoinHeaderBytes>) -> Request {
    Request::BitcoinHeaders(BoundedVec::new(headers).unwrap())
}

fn one(header: &Header) -> Request {
    request(vec![encode(header)])
}

/// A header that its bits' target does not admit.
fn without_work(header: &mut Header) {
    while header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
}

/// Another chain, or a part of one, to start with; the checkpoint vouches for one only.
pub(crate) fn a_chain_that_does_not_lead_to_the_checkpoint() {
    let mut federation = Federation::without_headers(&Setup::default());
    // What is minted meanwhile is nothing, but votes go on.
    federation.honest.grow(2);
    let other = Setup {
        tip_age: 7_000,
        ..Setup::default()
    };
    let private = Federation::without_headers(&other).miner;
    let height = federation.miner.height();
    let real = |from, to| federation.miner.bytes(from, to);
    let spliced = [real(0, 50), private.bytes(51, height)].concat();
    let mut weak = federation.miner.headers[..=CHECKPOINT as usize].to_vec();
    without_work(&mut weak[7]);
    let weak: Vec<_> = weak.iter().map(encode).collect();
    let mut lowest = real(0, CHECKPOINT);
    let mut changed = federation.miner.headers[0];
    without_work(&mut changed);
    lowest[0] = encode(&changed);
    let mut reversed = real(0, CHECKPOINT);
    reversed.reverse();
    let beyond = real(CHECKPOINT, height);
    for (rule, what, headers) in [
        (
            Rule::HeaderLink,
            "a private chain",
            private.bytes(0, height),
        ),
        (Rule::HeaderLink, "a chain that changes over", spliced),
        (
            Rule::HeaderLink,
            "a chain that stops before the checkpoint",
            real(0, CHECKPOINT - 1),
        ),
        (
            Rule::HeaderLink,
            "a chain that starts later",
            real(1, height),
        ),
        (
            Rule::HeaderLink,
            "a chain that starts at the checkpoint",
            beyond,
        ),
        (Rule::HeaderLink, "a chain backwards", reversed),
        (Rule::HeaderWork, "a lowest header without work", lowest),
        (Rule::HeaderWork, "a header without work", weak),
    ] {
        federation.refuses(rule, what, request(headers));
    }
    let transactions = vec![coinbase(), federation.deposit(1, 1_000_000)];
    let block = federation.mine(transactions);
    federation.bury(5);
    let mint = federation.mint(&block, &[1]);
    let (_, vote) = federation.minting(&mint);
    federation.refuses_vote(
        Rule::DepositOrder,
        "a deposit before there are headers",
        &vote,
    );
    federation.serves();
    federation.feed();
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// Headers that do not link, have no work, claim an easier or harder target, or lie about their time.
pub(crate) fn headers_forged() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let tip = *federation.miner.tip();
    let now = u32::try_from(unix_now()).unwrap();
    let miner = federation.miner.clone();
    let child = |change: &dyn Fn(&mut Header)| miner.child(tip.time + 60, |header| change(header));
    let median = miner.median();
    let orphan = child(&|header| header.prev_blockhash = BlockHash::from_byte_array([7; 32]));
    let mut idle = child(&|_| ());
    without_work(&mut idle);
    let bits =
        |bits| child(&|header: &mut Header| header.bits = CompactTarget::from_consensus(bits));
    // No hash meets these, so they are not mined.
    let mut negative = tip;
    negative.prev_blockhash = tip.block_hash();
    negative.time += 60;
    negative.bits = CompactTarget::from_consensus(0x2080_0001);
    let at = |time| miner.child(time, |_| ());
    let mut easier = negative;
    easier.bits = CompactTarget::from_consensus(0x2100_ffff);
    for (rule, what, header) in [
        (Rule::HeaderLink, "an orphan", orphan),
        (Rule::HeaderWork, "no work", idle),
        (Rule::HeaderRetarget, "an easier target", easier),
        (Rule::HeaderRetarget, "a harder target", bits(0x207f_fffe)),
        (Rule::HeaderRetarget, "a negative target", negative),
        (Rule::HeaderWork, "the median's time", at(median)),
        (Rule::HeaderWork, "a time before", at(median - 10_000)),
        (
            Rule::HeaderWork,
            "more than two hours to come",
            at(now + 7_200 + 600),
        ),
        (Rule::HeaderWork, "the last second there is", at(u32::MAX)),
    ] {
        federation.refuses(rule, what, one(&header));
    }
    // A good one, then a bad one: then none of them counts.
    let good = child(&|_| ());
    let mut bad = good;
    bad.prev_blockhash = good.block_hash();
    bad.time += 60;
    without_work(&mut bad);
    federation.refuses(
        Rule::HeaderWork,
        "a bad one behind a good one",
        request(vec![encode(&good), encode(&bad)]),
    );
    let mut gap = bad;
    gap.prev_blockhash = BlockHash::from_byte_array([8; 32]);
    grind(&mut gap);
    federation.refuses(
        Rule::HeaderLink,
        "a gap",
        request(vec![encode(&good), encode(&gap)]),
    );
    federation.refuses(
        Rule::HeaderLink,
        "in the wrong order",
        request(vec![encode(&good), encode(&tip)]),
    );
    let reply = federation.signer.ask(request(vec![]));
    federation.stands_at_the_tip(&reply);
    federation.serves();
    federation.bury(1);
    federation.feed();
}

/// A fork below the depth that the policy allows, with ever so much work; and forks with less work than the chain.
pub(crate) fn private_forks_too_deep_or_too_light() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.max_reorg_blocks = 12,
        ..Setup::default()
    });
    federation.honest.grow(2);
    let fork = |federation: &Federation, below: u32, blocks: u32| {
        let mut miner = federation.miner.fork(TIP - below);
        for _block in 0..blocks {
            miner.mine(miner.tip().time + 60, 9);
        }
        miner.bytes(TIP - below + 1, TIP - below + blocks)
    };
    for below in [13, 14, 50, 140] {
        let headers = fork(&federation, below, below + 200);
        federation.refuses(Rule::ReorgDepth, "a deep fork", request(headers));
    }
    // As much work as what it would replace, or less: the first seen stays, and nobody is refused.
    for (below, blocks) in [(12, 12), (12, 1), (1, 1), (3, 2)] {
        let headers = fork(&federation, below, blocks);
        let reply = federation.signer.ask(request(headers));
        federation.stands_at_the_tip(&reply);
    }
    let mut deeper = fork(&federation, 13, 40);
    deeper.drain(..1);
    federation.refuses(
        Rule::HeaderLink,
        "a deep fork without its root",
        request(deeper),
    );
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// A fork that the policy's depth admits and that leaves the checkpoint out.
pub(crate) fn private_forks_below_the_checkpoint() {
    let mut federation = Federation::new();
    for below in [TIP - CHECKPOINT + 1, TIP - CHECKPOINT + 40] {
        let mut fork = federation.miner.fork(TIP - below);
        for _block in 0..below + 100 {
            fork.mine(fork.tip().time + 60, 9);
        }
        let headers = fork.bytes(TIP - below + 1, fork.height());
        federation.refuses(Rule::ReorgDepth, "without the checkpoint", request(headers));
    }
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// Difficulty that fell, on an old tip, to what an attacker can mine: officers named what it has not been below.
pub(crate) fn headers_easier_than_the_policys_floor() {
    let mut federation = Federation::without_headers(&Setup {
        policy: |policy| {
            policy.header_floor_target = alys_protocol::spec::Target::new([0x0f; 32]);
        },
        ..Setup::default()
    });
    let opened = federation.headers(0, CHECKPOINT);
    assert!(matches!(opened, Reply::Bitcoin(_)), "{opened:?}");
    for (from, to) in [(CHECKPOINT + 1, CHECKPOINT + 1), (1, TIP)] {
        let headers = federation.miner.bytes(from, to);
        federation.refuses(
            Rule::HeaderWork,
            "at regtest's difficulty",
            request(headers),
        );
    }
    federation.serves();
}

/// A private fork with little work a day, shown to an eclipsed signer, and a deposit on it: the pace gives it away. Then
/// the honest chain, which has more work, takes its place.
pub(crate) fn a_cheap_private_fork_with_a_deposit() {
    let mut federation = Federation::with(&Setup {
        tip_age: 36 * 1_500,
        ..Setup::default()
    });
    federation.honest.grow(2);
    let public = federation.miner.clone();
    // A fork of the last block: 36 blocks, one every 25 minutes, where 20 would pass.
    federation.miner = public.fork(TIP - 1);
    for _block in 0..30 {
        federation
            .miner
            .mine(federation.miner.tip().time + 1_500, 9);
    }
    let transactions = vec![coinbase(), federation.deposit(1, 400_000_000)];
    let root = merkle_root(&transactions);
    let header = federation
        .miner
        .child(federation.miner.tip().time + 1_500, |header| {
            header.merkle_root = TxMerkleNode::from_byte_array(root);
        });
    federation.miner.headers.push(header);
    let block = BitcoinBlock {
        transactions,
        height: federation.miner.height(),
        hash: header.block_hash(),
    };
    for _block in 0..5 {
        federation
            .miner
            .mine(federation.miner.tip().time + 1_500, 9);
    }
    federation.feed();
    let mint = federation.mint(&block, &[1]);
    let (_, vote) = federation.minting(&mint);
    federation.refuses_vote(Rule::HeaderPace, "a deposit on a slow chain", &vote);
    federation.serves();
    federation.miner = public;
    for _block in 0..80 {
        federation.miner.mine(federation.miner.tip().time + 600, 0);
    }
    let headers = federation.miner.bytes(TIP, federation.miner.height());
    let reply = federation.signer.ask(request(headers));
    federation.stands_at_the_tip(&reply);
    let mint = federation.mint(&block, &[1]);
    let (_, vote) = federation.minting(&mint);
    federation.refuses_vote(
        Rule::DepositDepth,
        "the deposit of the fork that lost",
        &vote,
    );
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// Bitcoin is reorganised below a deposit that was minted, which is then in a block again.
pub(crate) fn a12_deposits_minted_again_after_a_reorganisation() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let public = federation.miner.clone();
    let deposit = federation.deposit(1, 5_000_000);
    let block = federation.deposited(&[5_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    let first = std::mem::replace(&mut federation.miner, public);
    // Longer, and the deposit is two blocks above where it was.
    federation.bury(2);
    let again = federation.mine(vec![coinbase(), deposit]);
    federation.bury(20);
    federation.feed();
    let mut twice = federation.mint(&again, &[1]);
    for (rule, what, cursor) in [
        (
            Rule::DepositOrder,
            "in its new block",
            again.cursor(WHOLE_BLOCK),
        ),
        (Rule::DepositOrder, "up to its place", again.cursor(2)),
        (Rule::Counters, "back below the old block", block.cursor(1)),
    ] {
        twice.cursor = cursor;
        let (_, request) = federation.minting(&twice);
        federation.refuses_vote(rule, what, &request);
    }
    // Nothing is minted until Bitcoin comes back to the block of the cursor; votes go on.
    federation.serves();
    federation.miner = first;
    federation.bury(40);
    federation.feed();
    let block = federation.deposited(&[1_000_000]);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}

/// Headers withheld, then released in steps: no mint until the tip is at the clock, and no burst after.
pub(crate) fn headers_withheld_and_released_in_steps() {
    let mut federation = Federation::with(&Setup {
        tip_age: 40_000,
        ..Setup::default()
    });
    federation.honest.grow(2);
    let block = federation.deposited(&[1_000_000]);
    let mut steps = 0;
    // The deposit is buried, but the newest header is hours old.
    while unix_now() - u64::from(federation.miner.tip().time) > 10_800 {
        let mint = federation.mint(&block, &[1]);
        let (_, vote) = federation.minting(&mint);
        federation.refuses_vote(Rule::HeaderPace, "a deposit under an old tip", &vote);
        // Votes that mint nothing go on.
        federation.serves();
        federation
            .miner
            .mine(federation.miner.tip().time + 1_000, 0);
        federation.feed();
        steps += 1;
    }
    assert!(steps > 20);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
    assert!(matches!(federation.headers(1, 1), Reply::Bitcoin(_)));
}
