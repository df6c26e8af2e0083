//! What the signer is shown when it is asked to approve a block.

use super::Driver;
use crate::jobs::{self, ApprovePlan, Done};
use alys_chain::BatchVote;
use alys_consensus::Input;
use alys_execution::execution_header_rlp;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::signer::ApproveRequest;
use alys_protocol::units::SideHeight;
use anyhow::bail;
use std::collections::BTreeMap;

impl Driver {
    pub(super) fn ask_signer(&mut self, id: BlockId) -> Vec<Input> {
        let refused = vec![Input::SignerRefused(id)];
        let (Some(member), Some(_)) = (self.member, &self.tools.signer) else {
            return refused;
        };
        // Consensus has gone on to this block.
        self.pegouts.unasked = None;
        let plan = match self.approve_plan(id) {
            Ok(Some(plan)) => plan,
            Ok(None) => {
                self.pegouts.unasked = Some(id);
                return Vec::new();
            }
            Err(error) => {
                self.problem(
                    "signer",
                    Some(format!("no request for the signer: {error:#}")),
                );
                return refused;
            }
        };
        let tools = self.tools.clone();
        self.spawn(
            async move {
                let outcome = jobs::approve(&tools, id, member, plan).await;
                Done::Approved { id, outcome }
            },
            move |error| Done::Approved {
                id,
                outcome: Err(error),
            },
        );
        Vec::new()
    }

    /// Asks about the block that waits for firm ground, if that is known now.
    pub(super) fn ask_signer_again(&mut self) -> anyhow::Result<()> {
        let tree = self.consensus.tree();
        let waits = self.pegouts.unasked.filter(|id| tree.contains(*id));
        if let Some(id) = waits {
            for input in self.ask_signer(id) {
                self.step(input)?;
            }
        }
        Ok(())
    }

    /// What the signer is shown of a block; none where the block records a batch and has to wait for firm ground.
    fn approve_plan(&self, id: BlockId) -> anyhow::Result<Option<ApprovePlan>> {
        let tree = self.consensus.tree();
        let missing = || anyhow::anyhow!("block {id} or its parent was forgotten");
        let proposal = self.proposals.get(&id).ok_or_else(missing)?;
        let block = &proposal.block;
        if block.body.batch.is_some() {
            match self.footing.batch_vote() {
                BatchVote::Ask => {}
                BatchVote::Wait => return Ok(None),
                BatchVote::Refuse(halt) => bail!("block {id} records a batch: {halt}"),
            }
        }
        let parent_id = block.header.parent;
        let parent = tree.header(parent_id).ok_or_else(missing)?;
        let history = tree.history(parent_id).ok_or_else(missing)?;
        let request = ApproveRequest {
            header: block.header.clone(),
            body: block.body.clone(),
            parent: parent.clone(),
            parent_history: history.clone(),
            ancestors: BoundedVec::new(self.two_below(parent))?,
            execution_header: BoundedVec::new(execution_header_rlp(&block.payload, parent_id))?,
            withdrawals: BoundedVec::new(block.payload.withdrawals.to_vec())?,
            deposits: BoundedVec::empty(),
            fees: None,
            pow: None,
        };
        Ok(Some(ApprovePlan {
            parent_peg: self.ledgers.get(&parent_id).ok_or_else(missing)?.clone(),
            recent: match &block.body.pow {
                Some(_) => self.down_to_root(parent_id),
                None => BTreeMap::new(),
            },
            request,
        }))
    }

    /// The ids from a block down to the tree's root, by height.
    fn down_to_root(&self, tip: BlockId) -> BTreeMap<SideHeight, BlockId> {
        let tree = self.consensus.tree();
        let mut found = BTreeMap::new();
        let mut id = tip;
        while let Some(header) = tree.header(id) {
            found.insert(header.height, id);
            id = header.parent;
        }
        found
    }

    /// The parent and the grandparent of a header, as far as they exist.
    fn two_below(&self, header: &Header) -> Vec<Header> {
        let mut found = Vec::new();
        let mut below = header.clone();
        while found.len() < 2 && below.height.get() > 0 {
            let Ok(next) = self.header(below.parent) else {
                break;
            };
            found.push(next.clone());
            below = next;
        }
        found
    }
}
