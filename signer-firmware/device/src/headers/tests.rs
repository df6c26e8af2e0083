//! Beside the core's own ring in memory.
#![allow(unreachable_pub, missing_docs, reason = "test code")]

#[path = "../../../../signer/core/tests/bitcoin_kit/mod.rs"]
mod bitcoin_kit;

use super::*;
use alys_firmware_sim::{Board, SimFlash};
use alys_signer_core::btc::{HeaderChain, LightClient};
use bitcoin_kit::Miner;

const REGION: Range<u32> = 0..50 * SECTOR;

struct Both<'a> {
    client: LightClient,
    flash: &'a RefCell<SimFlash>,
    headers: FlashHeaders<'a, SimFlash>,
    model: HeaderChain,
}

impl Both<'_> {
    fn feed(&mut self, miner: &Miner, from: u32, to: u32) {
        let bytes = miner.bytes(from, to);
        let update = self.client.judge(&self.headers, &bytes, None).unwrap();
        let expected = self.client.judge(&self.model, &bytes, None).unwrap();
        assert_eq!(update, expected);
        let update = update.unwrap();
        self.model.apply(&update).unwrap();
        let map = self.headers.append(&update).unwrap();
        self.headers.take(map);
    }

    /// The newest headers are the same, now and after a start.
    fn compare(&self, newest: u32) {
        let map = self.headers.map().clone();
        let loaded = FlashHeaders::load(self.flash, &REGION, map);
        let tip = self.model.tip().unwrap();
        for headers in [&self.headers, &loaded] {
            assert_eq!(headers.tip(), Some(tip));
            assert_eq!(headers.header(tip.height.saturating_add(1)), None);
            for below in 0..newest {
                let height = tip.height.saturating_sub(below);
                assert_eq!(
                    headers.header(height),
                    self.model.header(height),
                    "{height}"
                );
            }
        }
    }
}

fn both<'a>(flash: &'a RefCell<SimFlash>, miner: &Miner) -> Both<'a> {
    Both {
        client: miner.client(150, 1008),
        flash,
        headers: FlashHeaders::load(flash, &REGION, HeaderMap::default()),
        model: HeaderChain::default(),
    }
}

#[test]
fn the_ring_goes_round() {
    let flash = Board::new().flash();
    let miner = Miner::regtest(11_000);
    let mut both = both(&flash, &miner);
    both.feed(&miner, 0, 500);
    both.compare(501);
    let mut from = 501;
    while from <= miner.height() {
        let to = miner.height().min(from + 599);
        both.feed(&miner, from, to);
        both.compare(u32::try_from(RING_HEADERS).unwrap().min(to + 1));
        from = to + 1;
    }
    assert_eq!(both.headers.map().segments.len(), 1);
}

#[test]
fn branches_replace_each_other() {
    let flash = Board::new().flash();
    let mut miner = Miner::regtest(5_400);
    let mut both = both(&flash, &miner);
    both.feed(&miner, 0, 500);
    for from in (501..=5_400).step_by(490) {
        both.feed(&miner, from, from + 489);
    }
    for (salt, depth) in [(1u8, 1u32), (2, 7), (3, 300), (4, 2), (5, 40)] {
        let fork = miner.height() - depth;
        miner = miner.fork(fork);
        miner.grow(depth + 3, salt);
        both.feed(&miner, fork + 1, miner.height());
        both.compare(3_500);
    }
    // A deep branch takes the shallower ones with it: the first segment, and those of 300 and 40 are left.
    assert_eq!(both.headers.map().segments.len(), 3);
}

#[test]
fn what_was_written_and_never_named_is_passed_over() {
    let flash = Board::new().flash();
    let miner = Miner::regtest(700);
    let mut both = both(&flash, &miner);
    both.feed(&miner, 0, 400);
    let bytes = miner.bytes(401, 500);
    let update = both.client.judge(&both.headers, &bytes, None).unwrap();
    // Power goes before the head is written.
    let _never_named = both.headers.append(&update.unwrap()).unwrap();
    both.compare(401);
    both.feed(&miner, 401, 700);
    both.compare(701);
    assert_eq!(both.headers.map().segments.len(), 2);
}
