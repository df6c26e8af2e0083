//! What others see of this node: the snapshot for the JSON-RPC and the heads that peers are told.

use super::Driver;
use crate::view::{PegOutView, View};
use alys_net::Heads;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;

/// Slots without a certified block after which the node says so.
const STALL_SLOTS: u64 = 5;

impl Driver {
    fn header_or_genesis(&self, id: BlockId) -> Header {
        self.consensus
            .tree()
            .header(id)
            .unwrap_or_else(|| self.tools.chain.genesis())
            .clone()
    }

    pub(super) fn publish_view(&mut self) {
        let tree = self.consensus.tree();
        let (head, final_block) = (tree.head(), tree.final_block());
        let head_header = self.header_or_genesis(head.id);
        let behind = self.slot().get().saturating_sub(head_header.slot.get());
        self.problem(
            "progress",
            (behind > STALL_SLOTS).then(|| "no certified block for more than 5 slots".to_owned()),
        );
        metrics::gauge!("alys_peers").set(self.sync.count() as f64);
        metrics::gauge!("alys_slots_behind").set(behind as f64);
        let final_header = self.header_or_genesis(final_block.id);
        let pow = final_header.pow;
        let pow_id = if pow.height.get() == 0 {
            self.tools.chain.genesis_id()
        } else {
            pow.id
        };
        let Some(peg) = self.ledgers.get(&head.id).cloned() else {
            return;
        };
        let queued = self.queued_share();
        let view = View {
            head: (head.id, head_header),
            final_block: (final_block.id, final_header),
            pow_final: (pow_id, pow.height),
            slot: self.slot(),
            peg,
            pegouts: self
                .pegouts
                .pending
                .iter()
                .map(|(id, pegout)| {
                    let seen = PegOutView {
                        shares: pegout.shares.keys().copied().collect(),
                        broadcast: pegout.broadcast,
                    };
                    (*id, seen)
                })
                .collect(),
            queued,
            peers: self.sync.count(),
            peg_halt: self.footing.halt().map(ToString::to_string),
            problems: self.problems.values().cloned().collect(),
        };
        // Fails only while the node stops.
        let _ = self.view.send(view);
    }

    /// Tells peers where this node stands.
    pub(super) fn tell_heads(&self) {
        let tree = self.consensus.tree();
        let (head, final_block) = (tree.head(), tree.final_block());
        let heads = Heads {
            certified_height: head.height.get(),
            certified_id: head.id.to_bytes(),
            final_height: final_block.height.get(),
            final_id: final_block.id.to_bytes(),
            pow_final_height: self.header_or_genesis(final_block.id).pow.height.get(),
        };
        let network = self.network.clone();
        tokio::spawn(async move {
            // Fails only after the network task ended, which its event channel reports.
            let _ = network.set_heads(heads).await;
        });
    }
}
