//! Makes a Bitcoin block that commits to a bundle, searches its nonce, and shows the work as an AuxPoW.

use alys_bitcoin::{BlockTemplate, TemplateTransaction};
use alys_protocol::auxpow::{AuxPow, MerkleBranch, commitment};
use alys_protocol::bytes::BundleHash;
use alys_protocol::spec::Target;
use bitcoin::block::Header;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Witness,
    absolute, transaction,
};
use thiserror::Error;

/// A block to search.
#[derive(Debug, Clone)]
pub struct Candidate {
    block: Block,
    coinbase_branch: MerkleBranch,
}

/// A block whose nonce was found.
#[derive(Debug, Clone)]
pub struct Solved {
    /// The block; whether it meets Bitcoin's own difficulty is for its node to say.
    pub block: Block,
    /// The proof for the side chain.
    pub auxpow: AuxPow,
}

/// A template that makes no block.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The coinbase's script would be too long.
    #[error("the coinbase script cannot hold the commitment")]
    Script,
}

impl Candidate {
    /// Builds a block on `template` that pays `payout` and commits to `bundle`, if there is one.
    ///
    /// `extra_nonce` makes coinbases of one template differ.
    ///
    /// # Errors
    /// - [`BuildError::Script`] never for a 44-byte commitment.
    pub fn new(
        template: &BlockTemplate,
        payout: &ScriptBuf,
        bundle: Option<&BundleHash>,
        extra_nonce: u64,
    ) -> Result<Self, BuildError> {
        let coinbase = coinbase(template, payout, bundle, extra_nonce)?;
        let mut ids = vec![coinbase.compute_txid().to_byte_array()];
        ids.extend(
            template
                .transactions
                .iter()
                .map(|entry| entry.txid.to_byte_array()),
        );
        let coinbase_branch = MerkleBranch {
            hashes: first_branch(ids),
            index: 0,
        };
        let merkle_root = coinbase_branch.root(coinbase.compute_txid().to_byte_array());
        let transactions = template
            .transactions
            .iter()
            .map(|TemplateTransaction { transaction, .. }| transaction.clone());
        let block = Block {
            header: Header {
                version: template.version,
                prev_blockhash: template.parent,
                merkle_root: TxMerkleNode::from_byte_array(merkle_root),
                time: template.current_time.max(template.min_time),
                bits: template.bits,
                nonce: 0,
            },
            txdata: std::iter::once(coinbase).chain(transactions).collect(),
        };
        Ok(Self {
            block,
            coinbase_branch,
        })
    }

    /// Bitcoin's own target for this block, as a big-endian number.
    pub fn bitcoin_target(&self) -> Target {
        Target::new(self.block.header.target().to_be_bytes())
    }

    /// Tries up to `count` nonces from `first` until a hash is at most `target`.
    pub fn search(&self, target: &Target, first: u32, count: u32) -> Option<Solved> {
        let mut header = self.block.header;
        for nonce in (first..=u32::MAX).take(usize::try_from(count).unwrap_or(usize::MAX)) {
            header.nonce = nonce;
            let mut hash = header.block_hash().to_byte_array();
            hash.reverse();
            if Target::new(hash) <= *target {
                return self.solved(header);
            }
        }
        None
    }

    fn solved(&self, header: Header) -> Option<Solved> {
        let mut block = self.block.clone();
        block.header = header;
        let mut coinbase = block.txdata.first()?.clone();
        for input in &mut coinbase.input {
            input.witness.clear();
        }
        Some(Solved {
            auxpow: AuxPow {
                coinbase,
                block_hash: header.block_hash(),
                coinbase_branch: self.coinbase_branch.clone(),
                chain_branch: MerkleBranch {
                    hashes: Vec::new(),
                    index: 0,
                },
                parent: header,
            },
            block,
        })
    }
}

fn coinbase(
    template: &BlockTemplate,
    payout: &ScriptBuf,
    bundle: Option<&BundleHash>,
    extra_nonce: u64,
) -> Result<Transaction, BuildError> {
    let push =
        |bytes: &[u8]| PushBytesBuf::try_from(bytes.to_vec()).map_err(|_| BuildError::Script);
    let mut script_sig = Builder::new()
        .push_int(i64::from(template.height.get()))
        .push_slice(push(&extra_nonce.to_le_bytes())?);
    if let Some(bundle) = bundle {
        script_sig = script_sig.push_slice(push(&commitment(bundle))?);
    }
    let script_sig = script_sig.into_script();
    let mut output = vec![TxOut {
        value: template.coinbase_value,
        script_pubkey: payout.clone(),
    }];
    output.extend(template.witness_commitment.iter().map(|script| TxOut {
        value: Amount::ZERO,
        script_pubkey: script.clone(),
    }));
    Ok(Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            // BIP-141: the witness reserved value, 32 zero bytes.
            witness: Witness::from_slice(&[[0u8; 32]]),
        }],
        output,
    })
}

/// The Merkle branch of the first leaf.
fn first_branch(mut row: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
    let mut branch = Vec::new();
    while row.len() > 1 {
        branch.extend(row.get(1).copied());
        row = row
            .chunks(2)
            .filter_map(|pair| {
                let pair = [*pair.first()?, *pair.last()?];
                Some(sha256d::Hash::hash(pair.as_flattened()).to_byte_array())
            })
            .collect();
    }
    branch
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alys_protocol::units::BtcHeight;
    use bitcoin::{BlockHash, CompactTarget};

    fn template(transactions: usize) -> BlockTemplate {
        BlockTemplate {
            version: bitcoin::block::Version::TWO,
            parent: BlockHash::all_zeros(),
            height: BtcHeight::new(300),
            bits: CompactTarget::from_consensus(0x207f_ffff),
            min_time: 5,
            current_time: 7,
            coinbase_value: Amount::from_sat(5_000_000_000),
            witness_commitment: None,
            transactions: (0..transactions)
                .map(|number| {
                    let transaction = Transaction {
                        version: transaction::Version(number as i32),
                        lock_time: absolute::LockTime::ZERO,
                        input: Vec::new(),
                        output: Vec::new(),
                    };
                    TemplateTransaction {
                        txid: transaction.compute_txid(),
                        transaction,
                        fee: Amount::ZERO,
                    }
                })
                .collect(),
        }
    }

    /// A block on an empty regtest template that commits to `bundle`.
    pub(crate) fn solved_block(bundle: &BundleHash) -> Solved {
        let candidate = Candidate::new(&template(0), &ScriptBuf::new(), Some(bundle), 1).unwrap();
        candidate
            .search(&candidate.bitcoin_target(), 0, 1000)
            .unwrap()
    }

    #[test]
    fn blocks_of_any_size_are_valid_and_prove_their_bundle() {
        let bundle = BundleHash::new([9; 32]);
        for transactions in 0..9 {
            let candidate =
                Candidate::new(&template(transactions), &ScriptBuf::new(), Some(&bundle), 1)
                    .unwrap();
            let target = candidate.bitcoin_target();
            let solved = candidate.search(&target, 0, 1000).unwrap();
            assert!(solved.block.check_merkle_root());
            assert_eq!(solved.block.bip34_block_height(), Ok(300));
            assert_eq!(solved.auxpow.verify(5, &bundle, &target), Ok(()));
        }
    }

    #[test]
    fn the_search_gives_up_after_its_count() {
        let candidate = Candidate::new(&template(0), &ScriptBuf::new(), None, 1).unwrap();
        assert!(candidate.search(&Target::ZERO, 0, 10).is_none());
        assert!(candidate.search(&Target::ZERO, u32::MAX, 10).is_none());
    }
}
