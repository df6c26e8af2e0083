//! Whole blocks, as nodes exchange and store them. Signers never see one.

use crate::bls::BlsSignature;
use crate::body::Body;
use crate::bytes::BlockId;
use crate::certificate::Certificate;
use crate::execution::ExecutionPayload;
use crate::header::Header;
use serde::{Deserialize, Serialize};

/// A block: header, what consensus decides, and the execution payload whose hash the header carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The body under `header.body_root`.
    pub body: Body,
    /// The payload whose block hash is `header.execution_hash`.
    pub payload: ExecutionPayload,
}

impl Block {
    /// The block's id.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }
}

/// A block with its leader's signature, as gossiped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The proposed block.
    pub block: Block,
    /// The leader's signature over [`Header::proposal_message`].
    pub signature: BlsSignature,
}

/// A block for a peer that catches up; its own certificate is given where the peer may not have its child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncBlock {
    /// The block and its leader's signature.
    pub proposal: Proposal,
    /// Its certificate, if the sender has it.
    pub certificate: Option<Certificate>,
}
