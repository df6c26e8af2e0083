//! What a tree starts from.

use crate::tree::BlockRef;
use crate::tree::error::RestoreError;
use crate::verified::VerifiedCertificate;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use serde::{Deserialize, Serialize};

/// A block, with all that its descendants' rules need to know of the chain below it. A node stores it with each final
/// block, and starts the next time from the newest ([`BlockTree::restore`](crate::BlockTree::restore)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The block's header.
    pub header: Header,
    /// The history that bags to the header's `history_root`.
    pub history: Peaks,
    /// Blocks in consecutive slots with parent links that end here, genesis not counted; 3 stands for more, too.
    pub run: u8,
    /// F of the block: the newest final block that its chain up to its parent implies.
    pub implied_final: BlockRef,
}

impl Anchor {
    /// Genesis: final, and never part of a run.
    pub fn genesis(chain: &Chain) -> Self {
        Self {
            header: chain.genesis().clone(),
            history: Peaks::empty(),
            run: 0,
            implied_final: BlockRef {
                height: chain.genesis().height,
                id: chain.genesis_id(),
            },
        }
    }

    pub(super) fn check(
        &self,
        chain: &Chain,
        certificate: Option<&VerifiedCertificate>,
    ) -> Result<(), RestoreError> {
        let (header, spec) = (&self.header, chain.spec());
        let anchor = BlockRef {
            height: header.height,
            id: header.id(),
        };
        if header.chain_id != spec.chain_id || header.epoch != spec.epoch {
            return Err(RestoreError::Chain {
                expected_chain: spec.chain_id,
                expected_epoch: spec.epoch,
                chain: header.chain_id,
                epoch: header.epoch,
            });
        }
        if self.history.leaves() != header.height.get()
            || self.history.check_shape().is_err()
            || self.history.root(chain.id()) != header.history_root
        {
            return Err(RestoreError::History(header.height));
        }
        let is_genesis = anchor.id == chain.genesis_id();
        let below = self.implied_final.height < anchor.height;
        if !(below || is_genesis && self.implied_final == anchor) {
            return Err(RestoreError::ImpliedFinal {
                anchor,
                implied_final: self.implied_final,
            });
        }
        let found = certificate.map(VerifiedCertificate::block);
        if found != (!is_genesis).then_some(anchor.id) {
            return Err(RestoreError::Certificate { anchor, found });
        }
        Ok(())
    }
}
