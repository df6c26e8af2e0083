//! The methods. Names are those that Alys users and pools know.

use crate::types::{BlockInfo, DepositAddress, NodeStatus, PegOutStatus, PegStatus, QueuedPow};
use alys_mining::aux_block::AuxBlock;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::units::{BurnSequence, SideHeight};
use jsonrpsee::core::RpcResult;
use jsonrpsee::proc_macros::rpc;

/// The node's JSON-RPC.
#[rpc(server, client)]
pub trait NodeRpc {
    /// The certified head.
    #[method(name = "getheadblock")]
    async fn head_block(&self) -> RpcResult<BlockInfo>;

    /// The block at a height of the head's chain.
    #[method(name = "getblockbyheight")]
    async fn block_by_height(&self, height: SideHeight) -> RpcResult<Option<BlockInfo>>;

    /// The block with an id.
    #[method(name = "getblockbyhash")]
    async fn block_by_hash(&self, id: BlockId) -> RpcResult<Option<BlockInfo>>;

    /// Where the node stands.
    #[method(name = "getnodestatus")]
    async fn node_status(&self) -> RpcResult<NodeStatus>;

    /// Where to send BTC so that `account` is credited.
    #[method(name = "getdepositaddress")]
    async fn deposit_address(&self, account: Option<EvmAddress>) -> RpcResult<DepositAddress>;

    /// The peg's ledger at the head.
    #[method(name = "getpegstatus")]
    async fn peg_status(&self) -> RpcResult<PegStatus>;

    /// Where one burn's payment stands; nothing where there is no such burn.
    #[method(name = "getpegout")]
    async fn peg_out(&self, sequence: BurnSequence) -> RpcResult<Option<PegOutStatus>>;

    /// Opens a merged-mining template that pays `address`.
    #[method(name = "createauxblock")]
    async fn create_aux_block(&self, address: EvmAddress) -> RpcResult<AuxBlock>;

    /// Hands in work for a template; true where it was taken.
    #[method(name = "submitauxblock")]
    async fn submit_aux_block(&self, hash: String, auxpow: String) -> RpcResult<bool>;

    /// Without arguments a template that pays the configured address; with two, as `submitauxblock`.
    #[method(name = "getauxblock")]
    async fn aux_block(
        &self,
        hash: Option<String>,
        auxpow: Option<String>,
    ) -> RpcResult<serde_json::Value>;

    /// The share that waits for the next block, if any.
    #[method(name = "getqueuedpow")]
    async fn queued_pow(&self) -> RpcResult<Option<QueuedPow>>;
}
