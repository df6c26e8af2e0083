//! What the signer is shown when it is asked to approve a block.

use super::Driver;
use crate::jobs::{self, Done};
use alys_consensus::Input;
use alys_execution::execution_header_rlp;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::signer::ApproveRequest;

impl Driver {
    pub(super) fn ask_signer(&mut self, id: BlockId) -> Vec<Input> {
        let refused = vec![Input::SignerRefused(id)];
        let (Some(member), Some(_)) = (self.member, &self.tools.signer) else {
            return refused;
        };
        let request = match self.approve_request(id) {
            Ok(request) => request,
            Err(error) => {
                self.problem(
                    "signer",
                    Some(format!("no request for the signer: {error:#}")),
                );
                return refused;
            }
        };
        let tools = self.tools.clone();
        self.spawn(async move {
            let outcome = jobs::approve(&tools, id, member, request).await;
            Done::Approved { id, outcome }
        });
        Vec::new()
    }

    fn approve_request(&self, id: BlockId) -> anyhow::Result<ApproveRequest> {
        let tree = self.consensus.tree();
        let missing = || anyhow::anyhow!("block {id} or its parent was forgotten");
        let proposal = self.proposals.get(&id).ok_or_else(missing)?;
        let block = &proposal.block;
        let parent = tree.header(block.header.parent).ok_or_else(missing)?;
        let history = tree.history(block.header.parent).ok_or_else(missing)?;
        Ok(ApproveRequest {
            header: block.header.clone(),
            body: block.body.clone(),
            parent: parent.clone(),
            parent_history: history.clone(),
            ancestors: BoundedVec::new(self.two_below(parent))?,
            execution_header: BoundedVec::new(execution_header_rlp(
                &block.payload,
                block.header.parent,
            ))?,
            withdrawals: BoundedVec::new(block.payload.withdrawals.to_vec())?,
            deposits: BoundedVec::empty(),
            fees: None,
            pow: None,
        })
    }

    /// The parent and the grandparent of a header, as far as they exist.
    fn two_below(&self, header: &Header) -> Vec<Header> {
        let mut found = Vec::new();
        let mut below = header.clone();
        while found.len() < 2 && below.height.get() > 0 {
            let known = self.consensus.tree().header(below.parent).cloned();
            let next = known.or_else(|| {
                crate::chain_index::header(&self.tools.chain, &self.tools.store, below.parent).ok()
            });
            match next {
                Some(next) => {
                    found.push(next.clone());
                    below = next;
                }
                None => break,
            }
        }
        found
    }
}
