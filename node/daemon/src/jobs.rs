//! Work that takes time, done beside the driver: validation, building, signing. Each job ends in one [`Done`].

mod evidence;

pub(crate) use evidence::ApprovePlan;

use crate::bitcoin_side::BitcoinSide;
use crate::execution::Execution;
use crate::header_feed::HeaderFeed;
use alys_chain::{
    Advance, BlockRuleError, Choices, Class, CursorPlace, Facts, Parent, PegState, PowPlan,
    Settlement, batch_to_record, burns_of_block, check_block, draft,
};
use alys_execution::receipt::{Receipt, receipt_proof};
use alys_execution::{Heads, PayloadStatus, execution_header_rlp};
use alys_mining::templates::Share;
use alys_net::PeerId;
use alys_protocol::block::{Block, Proposal, SyncBlock};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId, HistoryRoot};
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::header::Header;
use alys_protocol::peg::{BatchRecord, Burn};
use alys_protocol::signer::{BurnEvidence, PegOutRequest, SchnorrSignature, TrieProof};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, MemberId, SideHeight, Slot};
use alys_signer_client::SignerClient;
use alys_store::Store;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What jobs work with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) chain: Arc<Chain>,
    pub(crate) store: Store,
    pub(crate) execution: Arc<Execution>,
    pub(crate) bitcoin: Arc<BitcoinSide>,
    pub(crate) signer: Option<Arc<SignerClient>>,
    /// What keeps that signer's Bitcoin headers.
    pub(crate) headers: Option<Arc<HeaderFeed>>,
}

/// The end of a job.
pub(crate) enum Done {
    Validated {
        id: BlockId,
        outcome: anyhow::Result<Validation>,
    },
    Built {
        slot: Slot,
        outcome: anyhow::Result<Box<Proposal>>,
    },
    Approved {
        id: BlockId,
        outcome: anyhow::Result<Approval>,
    },
    Synced {
        peer: PeerId,
        outcome: anyhow::Result<Vec<SyncBlock>>,
    },
    HeadsSet(anyhow::Result<()>),
    BitcoinSeen(anyhow::Result<CursorPlace>),
    HeadersFed(anyhow::Result<()>),
    Shares {
        batch: BatchId,
        outcome: anyhow::Result<Vec<SchnorrSignature>>,
    },
    Broadcast {
        batch: BatchId,
        outcome: anyhow::Result<()>,
    },
}

/// What validation found.
pub(crate) enum Validation {
    Valid(Box<Validated>),
    Invalid(String),
    Undecided(String),
}

/// A valid block's effects.
pub(crate) struct Validated {
    pub(crate) peg: PegState,
    pub(crate) burns: Vec<BurnEvidence>,
    pub(crate) settled: Vec<Settlement>,
}

/// The parent of a block to validate or to build.
#[derive(Clone)]
pub(crate) struct ParentPoint {
    pub(crate) id: BlockId,
    pub(crate) header: Header,
    pub(crate) peg: PegState,
    pub(crate) implied_final: SideHeight,
}

impl ParentPoint {
    fn as_parent(&self) -> Parent<'_> {
        Parent {
            id: self.id,
            header: &self.header,
            peg: &self.peg,
            implied_final: self.implied_final,
        }
    }
}

/// Validates a block fully: rules, Bitcoin, execution, burns.
pub(crate) async fn validate(
    tools: &Tools,
    proposal: &Proposal,
    parent: &ParentPoint,
    ancestors: &BTreeMap<SideHeight, BlockId>,
) -> anyhow::Result<Validation> {
    let chain = &tools.chain;
    let block = &proposal.block;
    let header = &block.header;
    let bitcoin = if header.bitcoin == parent.header.bitcoin {
        None
    } else {
        match tools
            .bitcoin
            .facts(chain, &parent.peg, &header.bitcoin)
            .await
        {
            Ok(facts) => facts,
            Err(error) => return Ok(Validation::Undecided(format!("{error:#}"))),
        }
    };
    let vault_balance = match &block.body.pow {
        None => None,
        Some(_) => Some(
            tools
                .execution
                .vault_balance(chain, parent.header.execution_hash)
                .await?,
        ),
    };
    let facts = Facts {
        bitcoin: bitcoin.as_ref(),
        vault_balance,
        ancestor: &|height| ancestors.get(&height).copied(),
    };
    let checked = match check_block(chain, &parent.as_parent(), block, &facts) {
        Ok(checked) => checked,
        Err(error) => return Ok(verdict(&error)),
    };
    match tools.execution.execute(&tools.store, proposal).await? {
        PayloadStatus::Valid => {}
        PayloadStatus::Invalid { reason, .. } => {
            return Ok(Validation::Invalid(format!("execution: {reason}")));
        }
        PayloadStatus::Syncing | PayloadStatus::Accepted => {
            return Ok(Validation::Undecided(
                "the execution client lacks an ancestor".to_owned(),
            ));
        }
    }
    let receipts = tools
        .execution
        .receipts(header.execution_hash, block.payload.receipts_root)
        .await?;
    let settled = checked.settled.clone();
    let burns = match burns(chain, &parent.peg, block, &receipts) {
        Ok(burns) => burns,
        // The contract cannot cause such receipts: this is no ordinary invalid block, and nobody may sign it.
        Err(error) => return Ok(Validation::Invalid(format!("burns: {error}"))),
    };
    let evidence = burns
        .iter()
        .map(|burn| burn_evidence(chain, block, burn, &receipts))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let peg = match checked.finish(&block.payload, burns) {
        Ok(peg) => peg,
        Err(error) => return Ok(Validation::Invalid(format!("burns: {error}"))),
    };
    Ok(Validation::Valid(Box::new(Validated {
        peg,
        burns: evidence,
        settled,
    })))
}

fn verdict(error: &BlockRuleError) -> Validation {
    match error.class() {
        Class::Invalid => Validation::Invalid(error.to_string()),
        Class::Retry => Validation::Undecided(error.to_string()),
    }
}

fn burns(
    chain: &Chain,
    parent: &PegState,
    block: &Block,
    receipts: &[Receipt],
) -> Result<Vec<Burn>, alys_chain::BurnError> {
    let receipts: Vec<_> = receipts
        .iter()
        .map(|receipt| alys_chain::Receipt {
            succeeded: receipt.succeeded,
            logs: receipt
                .logs
                .iter()
                .map(|log| alys_chain::Log {
                    address: log.address,
                    topics: &log.topics,
                    data: &log.data,
                })
                .collect(),
        })
        .collect();
    burns_of_block(
        chain,
        parent,
        block.header.height,
        block.id(),
        block.payload.transactions.len(),
        &receipts,
    )
}

/// A burn with its receipt's proof; the history is added when a batch needs it.
fn burn_evidence(
    chain: &Chain,
    block: &Block,
    burn: &Burn,
    receipts: &[Receipt],
) -> anyhow::Result<BurnEvidence> {
    let place = receipts.iter().enumerate().find_map(|(index, receipt)| {
        let log = receipt.logs.iter().position(|log| {
            log.address == chain.spec().execution.bridge
                && alys_chain::decode_peg_out_requested(&log.topics, &log.data)
                    .is_ok_and(|(sequence, ..)| sequence == burn.sequence)
        })?;
        Some((index, log))
    });
    let (index, log) = place.context("a burn is in no receipt")?;
    Ok(BurnEvidence {
        burn: burn.clone(),
        header: block.header.clone(),
        history: None,
        execution_header: BoundedVec::new(execution_header_rlp(
            &block.payload,
            block.header.parent,
        ))?,
        transaction_index: u32::try_from(index)?,
        log_index: u32::try_from(log)?,
        receipt: trie_proof(receipt_proof(receipts, index)?)?,
    })
}

fn trie_proof(nodes: Vec<Vec<u8>>) -> anyhow::Result<TrieProof> {
    let nodes = nodes
        .into_iter()
        .map(BoundedVec::new)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(BoundedVec::new(nodes)?)
}

/// What a leader starts from.
pub(crate) struct BuildPlan {
    pub(crate) slot: Slot,
    pub(crate) parent: ParentPoint,
    pub(crate) parent_certificate: Option<Certificate>,
    pub(crate) history_root: HistoryRoot,
    pub(crate) share: Option<Share>,
    pub(crate) heads: Heads,
    /// Members' signers would not approve a block that consumes Bitcoin: see [`crate::driver::patience`].
    pub(crate) hold_cursor: bool,
    /// Nor one that records a batch.
    pub(crate) hold_batch: bool,
    /// Batches to replace at the present fee rate, if that has risen; the one to try first comes first.
    pub(crate) stuck: Vec<BatchId>,
}

/// Builds a block, and has the signer sign it.
pub(crate) async fn build(tools: &Tools, plan: BuildPlan) -> anyhow::Result<Box<Proposal>> {
    let chain = &tools.chain;
    let parent = &plan.parent;
    let (advance, batch) = peg_progress(tools, &plan).await?;
    let pow = match plan.share {
        None => None,
        Some(share) => Some(PowPlan {
            end_height: share.template.range.end_height,
            end: share.template.range.end,
            record: share.record,
            vault_balance: tools
                .execution
                .vault_balance(chain, parent.header.execution_hash)
                .await?,
        }),
    };
    let choices = Choices {
        parent_certificate: plan.parent_certificate,
        advance,
        batch,
        pow,
    };
    let draft = draft(
        chain,
        &parent.as_parent(),
        plan.slot,
        plan.history_root,
        choices,
    )?;
    let payload = tools
        .execution
        .build(draft.attributes.clone(), plan.heads)
        .await?;
    let block = draft.into_block(payload);
    let signer = tools.signer.as_ref().context("this node has no signer")?;
    let signature = signer.sign_proposal(&block.header).await?;
    Ok(Box::new(Proposal { block, signature }))
}

/// How far the block goes over Bitcoin, and its batch.
async fn peg_progress(
    tools: &Tools,
    plan: &BuildPlan,
) -> anyhow::Result<(Advance, Option<BatchRecord>)> {
    let (chain, peg) = (&tools.chain, &plan.parent.peg);
    let stays = || alys_chain::plan_advance(chain, peg, peg.cursor().height, &[]);
    if plan.hold_cursor {
        // No batch either, which might pay from coins that only a consumed block brings.
        return Ok((stays()?, None));
    }
    match tools.bitcoin.plan(chain, peg).await {
        Ok(advance) if plan.hold_batch => Ok((advance, None)),
        Ok(advance) => {
            let batch = choose_batch(tools, &advance.consumed.state, plan).await;
            Ok((advance, batch))
        }
        Err(error) => {
            // A block without progress of the peg is better than none. No batch either: coins that Bitcoin does not
            // have any more must not be paid out.
            tracing::warn!("no progress of the peg in slot {}: {error:#}", plan.slot);
            Ok((stays()?, None))
        }
    }
}

/// The batch to record, if any.
async fn choose_batch(tools: &Tools, state: &PegState, plan: &BuildPlan) -> Option<BatchRecord> {
    let waits = state.queue().len() > 0 || !plan.stuck.is_empty() || !state.utxos().is_empty();
    if !waits {
        return None;
    }
    let rate = match tools.bitcoin.fee_rate().await {
        Ok(rate) => rate,
        Err(error) => {
            tracing::warn!("no batch without a fee rate: {error:#}");
            return None;
        }
    };
    let pow_final = plan.parent.header.pow.height;
    let skips = agreed_skips(tools, state).await;
    batch_to_record(
        &tools.chain,
        state,
        &plan.stuck,
        pow_final,
        plan.slot,
        rate,
        &skips,
    )
    .ok()
}

/// Burns that the officers of this node's signer agreed to skip. Whether those of the others did, their approvals tell.
async fn agreed_skips(tools: &Tools, state: &PegState) -> Vec<BurnSequence> {
    let Some(signer) = tools.signer.as_ref().filter(|_| state.queue().len() > 0) else {
        return Vec::new();
    };
    match signer.status().await {
        Ok(status) => status.skips.into_inner(),
        Err(error) => {
            tracing::warn!("no burn is skipped, as the signer does not answer: {error}");
            Vec::new()
        }
    }
}

/// Gathers what the signer needs to see of a block, and asks it to approve.
pub(crate) async fn approve(
    tools: &Tools,
    id: BlockId,
    member: MemberId,
    plan: ApprovePlan,
) -> anyhow::Result<Approval> {
    let signer = tools.signer.as_ref().context("this node has no signer")?;
    if let Some(headers) = &tools.headers
        && plan.moves_cursor()
    {
        headers.feed().await?;
    }
    let request = evidence::complete(tools, plan)
        .await
        .context("it was not asked, as its evidence is incomplete")?;
    let signature = signer.approve(request).await?;
    Ok(Approval {
        block: id,
        member,
        signature,
    })
}

/// Asks the signer for its shares of a batch.
pub(crate) async fn sign_peg_out(
    tools: &Tools,
    request: PegOutRequest,
) -> anyhow::Result<Vec<SchnorrSignature>> {
    let signer = tools.signer.as_ref().context("this node has no signer")?;
    Ok(signer.sign_peg_out(request).await?)
}
