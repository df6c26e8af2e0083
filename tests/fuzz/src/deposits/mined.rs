//! A Bitcoin block in the signer's chain of headers, and what design 8 makes of proofs of its transactions.

use super::{HEIGHT, Shown};
use crate::bitcoin_kit::{LATE, Miner};
use crate::blocks::Block;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::peg::{ConsumedTransaction, Cursor, decode_stripped};
use alys_protocol::signer::DepositProof;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use alys_signer_core::btc::{HeaderChain, Headers as _, LightClient};
use bitcoin::{BlockHash, Transaction};

/// The signer's chain with the block in it.
pub struct Mined<'a> {
    block: &'a Block,
    pub hash: BlockHash,
    below: BlockHash,
    confirmations: u32,
    pub headers: HeaderChain,
}

impl<'a> Mined<'a> {
    pub fn new(
        miner: &Miner,
        client: &LightClient,
        start: &HeaderChain,
        block: &'a Block,
        above: u32,
    ) -> Self {
        let mut fresh = miner.fork(HEIGHT - 1);
        let header = fresh.child(fresh.tip().time + 600, |header| {
            header.merkle_root = block.root()
        });
        fresh.headers.push(header);
        fresh.grow(above, 0);
        let mut headers = start.clone();
        let batch = fresh.bytes(HEIGHT, fresh.height());
        let update = client.judge(&headers, &batch, Some(LATE)).unwrap().unwrap();
        headers.apply(&update).unwrap();
        assert_eq!(headers.tip(), Some(fresh.tip_of()));
        Self {
            block,
            hash: header.block_hash(),
            below: miner.tip().block_hash(),
            confirmations: above + 1,
            headers,
        }
    }

    /// Design 8 in plain words: what is minted, or nothing where a part is not the true one.
    pub fn expected(
        &self,
        chain: &Chain,
        confirmations: u32,
        from: &Cursor,
        to: &Cursor,
        Shown { consumed, proofs }: &Shown,
    ) -> Option<Vec<(EvmAddress, Sats)>> {
        let known = |height: BtcHeight, hash| match height.get() {
            HEIGHT => hash == self.hash,
            height => height == HEIGHT - 1 && hash == self.below,
        };
        let positions = || consumed.iter().map(|one| (one.height.get(), one.index));
        let inside = positions().all(|at| {
            at >= (from.height.get(), from.next_tx) && at < (to.height.get(), to.next_tx)
        });
        let all: Vec<_> = positions().collect();
        let rising = all.windows(2).all(|pair| pair[0] < pair[1]);
        let in_order = proofs
            .windows(2)
            .all(|pair| pair[0].consumed < pair[1].consumed)
            && proofs
                .iter()
                .all(|proof| (proof.consumed as usize) < consumed.len());
        // The spec demands six confirmations of the cursor's block.
        let moves = from != to;
        let cursors = !moves
            || (known(from.height, from.hash)
                && known(to.height, to.hash)
                && self.confirmations >= 6);
        if !inside || !rising || !in_order || !cursors {
            return None;
        }
        proofs
            .iter()
            .map(|proof| {
                self.minted(
                    chain,
                    confirmations,
                    &consumed[proof.consumed as usize],
                    proof,
                )
            })
            .collect()
    }

    fn minted(
        &self,
        chain: &Chain,
        confirmations: u32,
        consumed: &ConsumedTransaction,
        proof: &DepositProof,
    ) -> Option<(EvmAddress, Sats)> {
        let place = consumed.index as usize;
        let (block, transaction) = (self.block, self.block.0.get(place)?);
        let true_one = block.consumed(HEIGHT, self.hash, place);
        let true_proof = block.proof(place, proof.consumed);
        let genuine = *consumed == true_one && *proof == true_proof;
        let deep = self.confirmations >= confirmations;
        if !genuine || !deep || place == 0 || true_one.bytes.len() == 64 {
            return None;
        }
        assert_eq!(
            decode_stripped(&consumed.bytes).unwrap().compute_txid(),
            transaction.compute_txid()
        );
        credited(chain, transaction)
    }
}

/// The address and the sum, where the transaction is a deposit.
fn credited(chain: &Chain, transaction: &Transaction) -> Option<(EvmAddress, Sats)> {
    let minimum = chain.spec().deposits.min_sats.get();
    let (mut sum, mut names) = (0u64, Vec::new());
    for output in &transaction.output {
        let (script, sats) = (output.script_pubkey.as_bytes(), output.value.to_sat());
        if script == chain.wallet().script_pubkey().as_bytes() && sats >= minimum {
            sum = sum.checked_add(sats)?;
        }
        if script.first() == Some(&0x6a) {
            names.push(script);
        }
    }
    let [name] = names.as_slice() else {
        return None;
    };
    let digits = match (name[1..].first()?, name.len()) {
        (0x14, 22) => {
            let raw: [u8; 20] = name[2..].try_into().unwrap();
            return (sum > 0).then(|| (EvmAddress::new(raw), Sats::new(sum)));
        }
        (0x28, 42) => &name[2..],
        (0x2a, 44) if name[2..].starts_with(b"0x") => &name[4..],
        _other => return None,
    };
    let text = std::str::from_utf8(digits).ok()?.to_lowercase();
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let raw: Vec<u8> = (0..40).step_by(2).map(byte).collect::<Option<_>>()?;
    (hex && sum > 0).then(|| (EvmAddress::new(raw.try_into().unwrap()), Sats::new(sum)))
}
