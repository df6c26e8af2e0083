//! What a signer is shown so that it can prove to itself what it approves: deposits, the vault and the mined range.
//!
//! The same for a block of our own and for one of another leader.

use super::{Tools, trie_proof};
use crate::chain_index::{History, header};
use alys_chain::{DepositProver, MAX_PROOF_BYTES, PegState, deposits, proofs_fit};
use alys_execution::eth::Account;
use alys_execution::execution_header_rlp;
use alys_protocol::block::Block;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BlockId;
use alys_protocol::signer::{ApproveRequest, DepositProof, FeesProof, PowEvidence};
use alys_protocol::units::SideHeight;
use alys_store::schema::Blocks;
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;

/// A request that still lacks what must be looked up.
pub(crate) struct ApprovePlan {
    /// The request, with no deposits, fees and proof of work yet.
    pub(crate) request: ApproveRequest,
    /// The ledger after the parent.
    pub(crate) parent_peg: PegState,
    /// The block's ancestors down to the tree's root; none where it has no proof-of-work record.
    pub(crate) recent: BTreeMap<SideHeight, BlockId>,
}

impl ApprovePlan {
    /// Whether the block consumes Bitcoin.
    pub(super) fn moves_cursor(&self) -> bool {
        self.request.header.bitcoin != self.request.parent.bitcoin
    }
}

/// Looks up what the request lacks.
///
/// # Errors
/// - where Bitcoin node, execution client or store do not give it.
pub(super) async fn complete(tools: &Tools, plan: ApprovePlan) -> anyhow::Result<ApproveRequest> {
    let deposits = deposit_proofs(tools, &plan)
        .await
        .context("proofs of deposits")?;
    let mined = plan.request.body.pow.is_some();
    let fees = if mined {
        let proof = vault_proof(tools, plan.request.header.parent).await;
        Some(proof.context("proof of the vault")?)
    } else {
        None
    };
    Ok(ApproveRequest {
        deposits: BoundedVec::new(deposits)?,
        fees,
        pow: pow_evidence(tools, &plan).context("proof of the mined range")?,
        ..plan.request
    })
}

async fn deposit_proofs(tools: &Tools, plan: &ApprovePlan) -> anyhow::Result<Vec<DepositProof>> {
    let ApproveRequest { header, body, .. } = &plan.request;
    let numbers = deposits(
        &tools.chain,
        &plan.parent_peg,
        &header.bitcoin,
        &body.consumed,
    )?;
    let mut proofs = DepositProofs::default();
    let mut latest: Option<DepositProver> = None;
    for number in numbers {
        let place = usize::try_from(number)?;
        let consumed = body.consumed.get(place).context("no such transaction")?;
        let prover = match latest.take().filter(|at| at.block() == consumed.block) {
            Some(prover) => prover,
            None => DepositProver::new(&*tools.bitcoin.block(consumed.block).await?)?,
        };
        proofs.add(&prover, number, consumed.index)?;
        latest = Some(prover);
    }
    Ok(proofs.found)
}

/// Proofs for one request: no more than one block may need, whatever was taken for valid.
#[derive(Default)]
struct DepositProofs {
    found: Vec<DepositProof>,
    bytes: usize,
}

impl DepositProofs {
    fn add(&mut self, prover: &DepositProver, number: u32, index: u32) -> anyhow::Result<()> {
        self.bytes = self.bytes.saturating_add(prover.proof_bytes());
        if !proofs_fit(self.found.len().saturating_add(1), self.bytes) {
            bail!(
                "expected at most {MAX_PROOF_BYTES} bytes, found {} up to transaction {number}",
                self.bytes
            );
        }
        self.found.push(prover.prove(number, index)?);
        Ok(())
    }
}

/// The vault's account after a block.
async fn vault_proof(tools: &Tools, at: BlockId) -> anyhow::Result<FeesProof> {
    let proposal = tools
        .store
        .get::<Blocks>(&at)?
        .with_context(|| format!("block {at} is not stored"))?;
    let payload = &proposal.block.payload;
    let account = tools
        .execution
        .vault_account(&tools.chain, payload.block_hash, payload.state_root)
        .await?;
    fees_proof(&proposal.block, account)
}

fn fees_proof(parent: &Block, vault: Account) -> anyhow::Result<FeesProof> {
    let header = execution_header_rlp(&parent.payload, parent.header.parent);
    Ok(FeesProof {
        execution_header: BoundedVec::new(header)?,
        account: trie_proof(vault.proof)?,
    })
}

/// The range's ends in the history of the block that carries the record.
fn pow_evidence(tools: &Tools, plan: &ApprovePlan) -> anyhow::Result<Option<PowEvidence>> {
    let (chain, store) = (&tools.chain, &tools.store);
    let ApproveRequest {
        header: carrier,
        parent,
        body,
        ..
    } = &plan.request;
    let Some(record) = &body.pow else {
        return Ok(None);
    };
    let history = History {
        chain_id: chain.id(),
        store,
        recent: &plan.recent,
    };
    let prove = |height, id| {
        let proof = history.proof(carrier.height, height)?;
        // The store may have moved on to another branch while the ids were on their way.
        proof.verify(chain.id(), carrier.history_root, carrier.height, height, id)?;
        anyhow::Ok(proof)
    };
    let end = header(chain, store, carrier.pow.id)?;
    let first = parent.pow.height.saturating_add(1);
    Ok(Some(PowEvidence {
        end_history: prove(end.height, carrier.pow.id)?,
        start_history: prove(first, record.start)?,
        end,
    }))
}

#[cfg(test)]
mod tests;
