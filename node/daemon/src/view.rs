//! What the driver lets the JSON-RPC see: a snapshot after each event.

use alys_chain::PegState;
use alys_mining::templates::Share;
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::header::Header;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the node stands.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) head: (BlockId, Header),
    pub(crate) final_block: (BlockId, Header),
    /// The newest block that a final block's record finalises.
    pub(crate) pow_final: (BlockId, SideHeight),
    pub(crate) slot: Slot,
    pub(crate) peg: PegState,
    pub(crate) pegouts: BTreeMap<BatchId, PegOutView>,
    pub(crate) queued: Option<Arc<Share>>,
    pub(crate) peers: usize,
    /// Why the peg stands still on this node, if it does.
    pub(crate) peg_halt: Option<String>,
    pub(crate) problems: Vec<String>,
}

/// Where a batch's signing stands.
#[derive(Clone)]
pub(crate) struct PegOutView {
    pub(crate) shares: Vec<MemberId>,
    pub(crate) broadcast: bool,
}
