//! A toy side chain: a leader that drafts, a validator that checks, and an execution layer that only adds up.

use super::bitcoin_chain::Bitcoin;
use super::{BRIDGE, MINER, chain, event_data, share};
use alys_chain::{
    Applied, BlockRuleError, Checked, Choices, EvmSupply, Facts, Log, NoBatch,
    PEG_OUT_REQUESTED_TOPIC, Parent, PayloadAttributes, PegState, PowPlan, Receipt, Supply, apply,
    burns_of_block, check_block, draft, next_batch, plan_advance, replacement,
};
use alys_protocol::block::Block;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId, Digest, EvmAddress, ExecutionHash, HistoryRoot};
use alys_protocol::execution::{ExecutionPayload, LogsBloom};
use alys_protocol::header::Header;
use alys_protocol::peg::BatchRecord;
use alys_protocol::units::{BurnSequence, SatsPerKvb, SideHeight, Slot, Wei};
use bitcoin::ScriptBuf;
use bitcoin::hashes::{Hash as _, sha256};

/// A burn to put into a block: script and satoshi.
#[derive(Debug, Clone)]
pub struct BurnRequest {
    pub script: ScriptBuf,
    pub sats: u64,
}

/// The execution layer's sums after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evm {
    pub withdrawn: u128,
    pub base_fees: u128,
    pub burned: u128,
    pub vault: u128,
}

#[derive(Clone)]
pub struct Entry {
    pub id: BlockId,
    pub header: Header,
    pub block: Option<Block>,
    pub peg: PegState,
    pub evm: Evm,
    pub burns: Vec<alys_protocol::peg::Burn>,
}

/// What the leader does in its slot.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub burns: Vec<BurnRequest>,
    pub fee_rate: Option<SatsPerKvb>,
    pub replaces: Option<BatchId>,
    pub skips: Vec<BurnSequence>,
    pub pow: bool,
    pub slots: u64,
    /// Priority fees in wei that the block's transactions pay.
    pub tips: u128,
    pub gas_used: u64,
}

#[derive(Clone)]
pub struct Side {
    pub entries: Vec<Entry>,
}

pub fn payload(attributes: &PayloadAttributes, gas_used: u64, salt: &[u8]) -> ExecutionPayload {
    let mut bytes = postcard_like(attributes);
    bytes.extend_from_slice(salt);
    ExecutionPayload {
        parent_hash: attributes.parent,
        fee_recipient: attributes.fee_recipient,
        state_root: Digest::ZERO,
        receipts_root: Digest::ZERO,
        logs_bloom: LogsBloom::ZERO,
        prev_randao: attributes.prev_randao,
        block_number: attributes.height,
        gas_limit: super::GAS_LIMIT,
        gas_used,
        timestamp: attributes.timestamp,
        extra_data: BoundedVec::empty(),
        base_fee_per_gas: Wei::new(7),
        block_hash: ExecutionHash::new(sha256::Hash::hash(&bytes).to_byte_array()),
        transactions: BoundedVec::empty(),
        withdrawals: BoundedVec::new(attributes.withdrawals.clone()).unwrap(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
    }
}

fn postcard_like(attributes: &PayloadAttributes) -> Vec<u8> {
    format!("{attributes:?}").into_bytes()
}

pub struct OwnedLog {
    pub address: EvmAddress,
    pub topics: Vec<Digest>,
    pub data: Vec<u8>,
}

/// The log that the bridge emits.
pub fn bridge_log(sequence: u64, script: &[u8], sats: u64) -> OwnedLog {
    let mut word = [0u8; 32];
    word[24..].copy_from_slice(&sequence.to_be_bytes());
    let mut sender = [0u8; 32];
    sender[12..].copy_from_slice(&[0x5e; 20]);
    OwnedLog {
        address: BRIDGE,
        topics: vec![
            PEG_OUT_REQUESTED_TOPIC,
            Digest::new(word),
            Digest::new(sender),
        ],
        data: event_data(script, sats),
    }
}

pub fn receipt(logs: &[OwnedLog]) -> Receipt<'_> {
    Receipt {
        succeeded: true,
        logs: logs
            .iter()
            .map(|log| Log {
                address: log.address,
                topics: &log.topics,
                data: &log.data,
            })
            .collect(),
    }
}

impl Side {
    pub fn new() -> Self {
        Self {
            entries: vec![Entry {
                id: chain().genesis_id(),
                header: chain().genesis().clone(),
                block: None,
                peg: PegState::genesis(chain()),
                evm: Evm::default(),
                burns: Vec::new(),
            }],
        }
    }

    pub fn tip(&self) -> &Entry {
        self.entries.last().unwrap()
    }

    pub fn peg(&self) -> &PegState {
        &self.tip().peg
    }

    /// In this toy, every block but the tip is final.
    pub fn implied_final(&self) -> SideHeight {
        self.tip().header.height.saturating_sub(1)
    }

    pub fn parent(&self) -> Parent<'_> {
        let tip = self.tip();
        Parent {
            id: tip.id,
            header: &tip.header,
            peg: &tip.peg,
            implied_final: self.implied_final(),
        }
    }

    pub fn ancestor(&self, height: SideHeight) -> Option<BlockId> {
        self.entries
            .get(height.get() as usize)
            .map(|entry| entry.id)
    }

    fn pow_plan(&self) -> Option<PowPlan> {
        let start = self.ancestor(self.tip().header.pow.height.saturating_add(1))?;
        let end_height = self.implied_final();
        if end_height <= self.tip().header.pow.height {
            return None;
        }
        let end = self.ancestor(end_height)?;
        Some(PowPlan {
            record: share(start, end, MINER),
            end_height,
            end,
            vault_balance: Wei::new(self.tip().evm.vault),
        })
    }

    /// The leader's block on the tip.
    pub fn propose(&self, bitcoin: &Bitcoin, step: &Step) -> Block {
        let tip = self.tip();
        let slot = Slot::new(tip.header.slot.get() + step.slots.max(1));
        let scanned = bitcoin.scan(&tip.peg, bitcoin.tip()).unwrap();
        let advance = plan_advance(chain(), &tip.peg, bitcoin.tip(), &scanned).unwrap();
        let batch = self.batch(&advance.consumed.state, slot, step).ok();
        let choices = Choices {
            parent_certificate: None,
            advance,
            batch,
            pow: if step.pow { self.pow_plan() } else { None },
        };
        let draft = draft(chain(), &self.parent(), slot, HistoryRoot::ZERO, choices).unwrap();
        let salt = format!("{:?}", step.burns);
        let payload = payload(&draft.attributes, step.gas_used, salt.as_bytes());
        draft.into_block(payload)
    }

    fn batch(&self, peg: &PegState, slot: Slot, step: &Step) -> Result<BatchRecord, NoBatch> {
        let rate = step.fee_rate.unwrap_or_default();
        match step.replaces {
            Some(replaces) => replacement(chain(), peg, replaces, slot, rate),
            None => next_batch(
                chain(),
                peg,
                self.tip().header.pow.height,
                slot,
                rate,
                &step.skips,
            ),
        }
    }

    /// What a validator with its own Bitcoin node says of a block on the tip.
    pub fn check(&self, bitcoin: &Bitcoin, block: &Block) -> Result<Checked, BlockRuleError> {
        let view = bitcoin.facts(self.peg(), &block.header.bitcoin);
        let facts = Facts {
            bitcoin: view.as_ref(),
            vault_balance: Some(Wei::new(self.tip().evm.vault)),
            ancestor: &|height| self.ancestor(height),
        };
        check_block(chain(), &self.parent(), block, &facts)
    }

    /// One block: proposed, checked, executed, applied; a rebuild must give the same ledger.
    pub fn step(&mut self, bitcoin: &Bitcoin, step: &Step) -> Checked {
        let block = self.propose(bitcoin, step);
        let checked = self.check(bitcoin, &block).unwrap();
        let logs: Vec<OwnedLog> = (checked.peg().next_sequence().get()..)
            .zip(&step.burns)
            .map(|(sequence, burn)| bridge_log(sequence, burn.script.as_bytes(), burn.sats))
            .collect();
        let receipts = [receipt(&logs)];
        let burns = burns_of_block(
            chain(),
            checked.peg(),
            block.header.height,
            block.id(),
            1,
            &receipts,
        )
        .unwrap();
        let peg = checked
            .clone()
            .finish(&block.payload, burns.clone())
            .unwrap();
        let tip = self.tip();
        let applied = apply(chain(), &tip.header, &tip.peg, &block, burns.clone()).unwrap();
        let Applied { state, mints, .. } = applied;
        assert_eq!((&state, &mints), (&peg, &checked.mints));
        let bytes = peg.encode().unwrap();
        assert_eq!(PegState::decode(&bytes).unwrap(), peg);
        let withdrawn: u128 = block
            .payload
            .withdrawals
            .iter()
            .map(|withdrawal| withdrawal.amount.to_wei().get())
            .sum();
        let burned: u64 = step.burns.iter().map(|burn| burn.sats).sum();
        let evm = Evm {
            withdrawn: tip.evm.withdrawn + withdrawn,
            base_fees: tip.evm.base_fees + 7 * u128::from(step.gas_used),
            burned: tip.evm.burned + u128::from(burned) * 10_000_000_000,
            vault: tip.evm.vault + step.tips,
        };
        self.entries.push(Entry {
            id: block.id(),
            header: block.header.clone(),
            block: Some(block),
            peg,
            evm,
            burns,
        });
        checked
    }

    pub fn supply(&self) -> Supply {
        let Entry { evm, header, .. } = self.tip();
        self.peg().supply(&EvmSupply {
            total: Wei::new(evm.withdrawn - evm.base_fees - evm.burned),
            fees_distributed: header.fees_distributed,
        })
    }
}
