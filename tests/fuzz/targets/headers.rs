//! Bitcoin headers fed to the light client: what it takes over links up, has its work, and never gives up the checkpoint.
#![no_main]

use alys_fuzz::bitcoin_kit::{LATE, Miner, grind};
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::{HeaderChain, Headers, LightClient, encode};
use bitcoin::block::Header;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const CHECKPOINT: u32 = 150;

static START: LazyLock<(Miner, LightClient, HeaderChain)> = LazyLock::new(|| {
    let mut miner = Miner::regtest(CHECKPOINT);
    miner.grow(20, 0);
    let (client, chain) = miner.fed(CHECKPOINT, 10);
    (miner, client, chain)
});

// Six bytes make a header: which one it follows, how its time, bits and salt differ, and whether its work is done.
fuzz_target!(|bytes: &[u8]| {
    let (miner, client, start) = &*START;
    let mut chain = start.clone();
    let mut made: Vec<Header> = miner.headers[140..].to_vec();
    let mut batch = Vec::new();
    for change in bytes.chunks_exact(6).take(40) {
        let [parent, time, bits, salt, work, flush] = change else {
            unreachable!();
        };
        let below = made[made.len() - 1 - usize::from(*parent) % made.len()];
        let mut header = below;
        header.prev_blockhash = below.block_hash();
        header.time = below
            .time
            .wrapping_add(u32::from(*time) * 40)
            .wrapping_sub(200);
        header.nonce = u32::from(*salt);
        // What a laptop can mine, whatever the header below says.
        header.bits = miner.tip().bits;
        if *bits > 250 {
            header.bits = bitcoin::CompactTarget::from_consensus(u32::from(*bits) << 21);
        } else if *work < 250 {
            grind(&mut header);
        }
        made.push(header);
        batch.push(encode(&header));
        if *flush > 128 {
            judge(client, &mut chain, &batch);
            batch.clear();
        }
    }
    judge(client, &mut chain, &batch);
});

fn judge(
    client: &LightClient,
    chain: &mut HeaderChain,
    batch: &[alys_protocol::signer::BitcoinHeaderBytes],
) {
    let before = chain.tip().unwrap();
    let Ok(Some(update)) = client.judge(chain, batch, Some(LATE)) else {
        return;
    };
    chain.apply(&update).unwrap();
    let tip = chain.tip().unwrap();
    // Regtest's work is the same everywhere, so more work is more height, and a fork is at most ten deep.
    assert!(tip.height > before.height);
    assert!(update.first().get() + 10 > before.height.get());
    assert_eq!(
        chain.hash(BtcHeight::new(CHECKPOINT)),
        Some(client.checkpoint().hash)
    );
    let mut height = tip.height;
    while let (Some(header), Some(below)) = (chain.header(height), height.checked_sub(1)) {
        assert!(header.target().is_met_by(header.block_hash()));
        if let Some(parent) = chain.header(below) {
            assert_eq!(header.prev_blockhash, parent.block_hash());
        }
        height = below;
    }
    // What was taken over is what a restart finds.
    assert_eq!(client.load(&chain.stored().unwrap()).as_ref(), Ok(&*chain));
}
