//! Bitcoin headers fed to the light client, beside the plain rules over the whole chain: what it takes over links up, has
//! its work, and never gives up the checkpoint.

use crate::bitcoin_kit::{LATE, Miner, grind};
use crate::reached::Reached;
use crate::sequence::header_rules;
use alys_protocol::signer::BitcoinHeaderBytes;
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::{HeaderChain, Headers, LightClient, encode};
use bitcoin::CompactTarget;
use bitcoin::block::Header;
use std::sync::LazyLock;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &["extended", "reorganised"];

const CHECKPOINT: u32 = 150;

static START: LazyLock<(Miner, LightClient, HeaderChain)> = LazyLock::new(|| {
    let mut miner = Miner::regtest(CHECKPOINT);
    miner.grow(20, 0);
    let (client, chain) = miner.fed(CHECKPOINT, 10);
    (miner, client, chain)
});

/// Six bytes make a header: which one it follows, how its time, bits and salt differ, and whether its work is done.
pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let (miner, client, start) = &*START;
    let mut chain = start.clone();
    let mut best = miner.headers.clone();
    let mut made: Vec<Header> = miner.headers[140..].to_vec();
    let mut batch = Vec::new();
    for change in bytes.chunks_exact(6).take(40) {
        let [parent, time, bits, salt, work, flush] = change else {
            unreachable!();
        };
        let below = made[made.len() - 1 - usize::from(*parent) % made.len()];
        let mut header = below;
        header.prev_blockhash = below.block_hash();
        let later = below.time.wrapping_add(u32::from(*time) * 40);
        header.time = later.wrapping_sub(200);
        header.nonce = u32::from(*salt);
        // What a laptop can mine, whatever the header below says.
        header.bits = miner.tip().bits;
        if *bits > 250 {
            header.bits = CompactTarget::from_consensus(u32::from(*bits) << 21);
        } else if *work < 250 {
            grind(&mut header);
        }
        made.push(header);
        batch.push(header);
        if *flush > 128 {
            judge(client, &mut chain, &mut best, &batch, &mut reached);
            batch.clear();
        }
    }
    judge(client, &mut chain, &mut best, &batch, &mut reached);
    reached
}

fn judge(
    client: &LightClient,
    chain: &mut HeaderChain,
    best: &mut Vec<Header>,
    batch: &[Header],
    reached: &mut Reached,
) {
    let before = chain.tip().unwrap();
    let encoded: Vec<BitcoinHeaderBytes> = batch.iter().map(encode).collect();
    let judged = client.judge(chain, &encoded, Some(LATE));
    let expected = header_rules::judge(best, client.checkpoint(chain).hash, batch, LATE.get());
    let update = match (judged, expected) {
        (Ok(Some(update)), Ok(Some(longer))) => {
            *best = longer;
            update
        }
        (Ok(None), Ok(None)) => return,
        (Err(refusal), Err(broken)) => {
            assert!(
                broken.contains(&refusal.rule),
                "{refusal}; the oracle has {broken:?}"
            );
            return;
        }
        (judged, expected) => panic!("{judged:?}; the oracle has {expected:?}"),
    };
    chain.apply(&update).unwrap();
    let tip = chain.tip().unwrap();
    assert_eq!(tip.hash, best[best.len() - 1].block_hash());
    let extended = chain.hash(before.height) == Some(before.hash);
    reached.note(if extended { "extended" } else { "reorganised" });
    // Regtest's work is the same everywhere, so more work is more height, and a fork is at most ten deep.
    assert!(tip.height > before.height);
    assert!(update.first().get() + 10 > before.height.get());
    let checkpoint = chain.hash(BtcHeight::new(CHECKPOINT));
    assert_eq!(checkpoint, Some(client.checkpoint(chain).hash));
    let mut height = tip.height;
    while let (Some(header), Some(below)) = (chain.header(height), height.checked_sub(1)) {
        assert!(header.target().is_met_by(header.block_hash()));
        if let Some(parent) = chain.header(below) {
            assert_eq!(header.prev_blockhash, parent.block_hash());
        }
        height = below;
    }
    // What was taken over is what a restart finds.
    assert_eq!(
        client.load(None, &chain.stored().unwrap()).as_ref(),
        Ok(&*chain)
    );
}
