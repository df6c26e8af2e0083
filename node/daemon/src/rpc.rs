//! The JSON-RPC's answers, from the driver's snapshot and the store.

use crate::driver::Command;
use crate::execution::Execution;
use crate::view::View;
use alys_chain::{Origin, fee_distribution};
use alys_mining::aux_block::{AuxBlock, display_hash, parse_display_hash};
use alys_net::NetworkHandle;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::header::Header;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, GWEI_PER_SAT, MemberId, SideHeight};
use alys_rpc::types::{
    BlockInfo, BlockPlace, DepositAddress, NodeStatus, PegOutStage, PegOutStatus, PegStatus,
    PendingBatch, QueuedPow, UnattributableOutput,
};
use alys_rpc::{Health, NodeRpcServer};
use alys_store::Store;
use alys_store::schema::{Blocks, Certificates, FinalChain, Payments};
use bitcoin::hashes::Hash as _;
use hex::FromHex as _;
use jsonrpsee::core::{RpcResult, async_trait};
use jsonrpsee::types::ErrorObjectOwned;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Program and version.
pub(crate) const SOFTWARE: &str = concat!("alys-node/", env!("CARGO_PKG_VERSION"));

/// JSON-RPC error codes of ours.
const INTERNAL: i32 = -32603;
const INVALID: i32 = -32602;
const REFUSED: i32 = -32001;

/// Answers the JSON-RPC.
pub(crate) struct Api {
    pub(crate) chain: Arc<Chain>,
    pub(crate) store: Store,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) network: NetworkHandle,
    pub(crate) execution: Arc<Execution>,
    pub(crate) member: Option<MemberId>,
    pub(crate) fee_recipient: Option<EvmAddress>,
}

fn error(code: i32, text: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, text, None::<()>)
}

fn internal(fault: impl std::fmt::Display) -> ErrorObjectOwned {
    error(INTERNAL, fault.to_string())
}

/// Whether the node does its work, for `/health`.
pub(crate) fn health(view: &View) -> Health {
    if view.problems.is_empty() {
        Health::Good
    } else {
        Health::Bad(view.problems.clone())
    }
}

/// The block at a height of the head's chain, if that is above the newest final block. At and below it the final chain
/// has all there are, genesis aside: walking down for a height that is not there would read the whole chain.
fn above_final<E>(
    final_height: SideHeight,
    head: (BlockId, Header),
    height: SideHeight,
    mut header_of: impl FnMut(BlockId) -> Result<Option<Header>, E>,
) -> Result<Option<BlockId>, E> {
    let (mut id, mut header) = head;
    if height <= final_height || height > header.height {
        return Ok(None);
    }
    while header.height > height {
        id = header.parent;
        match header_of(id)? {
            Some(parent) => header = parent,
            None => return Ok(None),
        }
    }
    Ok((header.height == height).then_some(id))
}

impl Api {
    fn view(&self) -> View {
        self.view.borrow().clone()
    }

    fn block_info(&self, id: BlockId) -> RpcResult<Option<BlockInfo>> {
        let Some(proposal) = self.store.get::<Blocks>(&id).map_err(internal)? else {
            return Ok(None);
        };
        let view = self.view();
        let block = proposal.block;
        let header = &block.header;
        let certificate = self.store.get::<Certificates>(&id).map_err(internal)?;
        let at_height = self
            .store
            .get::<FinalChain>(&header.height)
            .map_err(internal)?;
        let is_final = at_height == Some(id);
        Ok(Some(BlockInfo {
            id,
            height: header.height,
            slot: header.slot,
            timestamp: block.payload.timestamp,
            leader: self.chain.roster().leader(header.slot),
            parent: header.parent,
            execution_hash: header.execution_hash,
            certified: certificate.is_some(),
            approved_by: certificate
                .map(|certificate| certificate.members().collect())
                .unwrap_or_default(),
            r#final: is_final,
            pow_final: is_final && header.height <= view.pow_final.1,
            bitcoin_height: header.bitcoin.height,
            transactions: block.payload.transactions.len(),
            withdrawals: block.payload.withdrawals.len(),
            has_pow_record: block.body.pow.is_some(),
            batch: block
                .body
                .batch
                .as_ref()
                .map(|record| record.id(self.chain.id())),
        }))
    }

    /// What the miner would be paid if the next block carried a record, in satoshi, rounded down (design 7).
    ///
    /// The vault goes on filling until the work is found, so this is what is there now. Unknown is 0: the work is
    /// worth the same without this figure, which pools only show.
    async fn miner_share(&self) -> u64 {
        let head = self.view().head.1;
        let share = async {
            let vault = self
                .execution
                .vault_balance(&self.chain, head.execution_hash)
                .await?;
            let members = self.chain.roster().len();
            let shares = fee_distribution(vault, head.fees_distributed, members)?;
            anyhow::Ok(shares.miner.get() / GWEI_PER_SAT)
        };
        share.await.unwrap_or_else(|error| {
            tracing::debug!("coinbasevalue is not known: {error:#}");
            0
        })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
    ) -> RpcResult<T> {
        let (reply, answer) = oneshot::channel();
        let stopping = || error(INTERNAL, "the node is stopping");
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| stopping())?;
        answer
            .await
            .map_err(|_| stopping())?
            .map_err(|reason| error(REFUSED, reason))
    }
}

#[async_trait]
impl NodeRpcServer for Api {
    async fn head_block(&self) -> RpcResult<BlockInfo> {
        let id = self.view().head.0;
        self.block_info(id)?
            .ok_or_else(|| error(REFUSED, "the chain has no block above genesis yet"))
    }

    async fn block_by_height(&self, height: SideHeight) -> RpcResult<Option<BlockInfo>> {
        // Before the look at the final chain, which grows.
        let view = self.view();
        if let Some(id) = self.store.get::<FinalChain>(&height).map_err(internal)? {
            return self.block_info(id);
        }
        let found = above_final(view.final_block.1.height, view.head, height, |id| {
            let proposal = self.store.get::<Blocks>(&id).map_err(internal)?;
            RpcResult::Ok(proposal.map(|proposal| proposal.block.header))
        })?;
        match found {
            Some(id) => self.block_info(id),
            None => Ok(None),
        }
    }

    async fn block_by_hash(&self, id: BlockId) -> RpcResult<Option<BlockInfo>> {
        self.block_info(id)
    }

    async fn node_status(&self) -> RpcResult<NodeStatus> {
        let view = self.view();
        let addresses = self.network.listen_addresses().await.map_err(internal)?;
        let spec = self.chain.spec();
        let head_slot = view.head.1.slot.get();
        let slots = head_slot.saturating_sub(spec.slots.genesis.get());
        let place = |id, height| BlockPlace { height, id };
        Ok(NodeStatus {
            software: SOFTWARE.to_owned(),
            chain: spec.name.clone(),
            chain_id: spec.chain_id,
            spec: self.chain.digest(),
            epoch: spec.epoch,
            member: self.member,
            head: place(view.head.0, view.head.1.height),
            r#final: place(view.final_block.0, view.final_block.1.height),
            pow_final: place(view.pow_final.0, view.pow_final.1),
            pow_count: view.head.1.pow.count,
            slot: view.slot,
            missed_slots: slots.saturating_sub(view.head.1.height.get()),
            peers: view.peers,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            evm_rpc: self.execution.rpc_url().to_owned(),
            problems: view.problems,
        })
    }

    async fn deposit_address(&self, account: Option<EvmAddress>) -> RpcResult<DepositAddress> {
        let spec = self.chain.spec();
        let address = self
            .chain
            .wallet()
            .address(spec.bitcoin.network)
            .map_err(internal)?;
        Ok(DepositAddress {
            address: address.to_string(),
            op_return: account.map(|account| alys_mining::aux_block::hex(account.as_bytes())),
            min_sats: spec.deposits.min_sats,
            confirmations: spec.deposits.confirmations,
        })
    }

    async fn peg_status(&self) -> RpcResult<PegStatus> {
        let view = self.view();
        let peg = &view.peg;
        let totals = peg.totals();
        let pending = peg.families().values().flat_map(|family| {
            family.members.iter().map(|member| {
                let seen = view.pegouts.get(&member.batch);
                PendingBatch {
                    id: member.batch,
                    txid: member.txid.to_string(),
                    first_burn: family.first_burn,
                    next_burn: family.next_burn(),
                    fee_rate_sats_per_kvb: member.fee_rate,
                    shares: seen.map(|seen| seen.shares.clone()).unwrap_or_default(),
                    broadcast: seen.is_some_and(|seen| seen.broadcast),
                }
            })
        });
        let unattributable = peg.utxos().iter().filter_map(|(outpoint, utxo)| {
            let reason = match utxo.origin {
                Origin::Unattributable(reason) => format!("{reason:?}"),
                Origin::UnrecordedSpend => "UnrecordedSpend".to_owned(),
                Origin::Deposit | Origin::Change => return None,
            };
            Some(UnattributableOutput {
                outpoint: outpoint.to_string(),
                value_sats: utxo.value,
                reason,
            })
        });
        Ok(PegStatus {
            bitcoin_height: peg.cursor().height,
            held_sats: peg
                .held()
                .ok_or_else(|| internal("the held value does not fit"))?,
            utxos: peg.utxos().len(),
            minted_sats: totals.minted,
            unattributable_sats: totals.unattributable,
            burned_sats: totals.burned,
            settled_sats: totals.settled,
            skipped_sats: totals.skipped,
            paid_out_sats: totals.paid_out,
            bitcoin_fees_sats: totals.bitcoin_fees,
            base_fees_wei: totals.base_fees.to_string(),
            next_burn: peg.next_burn(),
            next_sequence: peg.next_sequence(),
            pending: pending.collect(),
            halted: view.peg_halt.clone(),
            unattributable: unattributable.collect(),
        })
    }

    async fn peg_out(&self, sequence: BurnSequence) -> RpcResult<Option<PegOutStatus>> {
        let view = self.view();
        let peg = &view.peg;
        if sequence >= peg.next_sequence() {
            return Ok(None);
        }
        let at = |stage, txid| {
            Ok(Some(PegOutStatus {
                sequence,
                stage,
                txid,
            }))
        };
        if let Some(burn) = peg.queue().find(|burn| burn.sequence == sequence) {
            let payable = burn.height <= view.pow_final.1;
            let stage = if payable {
                PegOutStage::Queued
            } else {
                PegOutStage::Burned
            };
            return at(stage, None);
        }
        let family = peg
            .families()
            .values()
            .find(|family| (family.first_burn..family.next_burn()).contains(&sequence));
        if family.is_some_and(|family| family.skipped.contains(&sequence)) {
            return at(PegOutStage::Skipped, None);
        }
        if let Some(newest) = family.and_then(|family| family.members.last()) {
            let broadcast = view
                .pegouts
                .get(&newest.batch)
                .is_some_and(|seen| seen.broadcast);
            let stage = if broadcast {
                PegOutStage::Broadcast
            } else {
                PegOutStage::Recorded
            };
            return at(stage, Some(newest.txid.to_string()));
        }
        let txid = self
            .store
            .get::<Payments>(&sequence)
            .map_err(internal)?
            .map(|txid| bitcoin::Txid::from_byte_array(txid).to_string());
        match txid {
            Some(txid) => at(PegOutStage::Settled, Some(txid)),
            // In a settled batch, and not among its payments.
            None => at(PegOutStage::Skipped, None),
        }
    }

    async fn create_aux_block(&self, address: EvmAddress) -> RpcResult<AuxBlock> {
        let block = self
            .ask(|reply| Command::CreateAuxBlock { address, reply })
            .await?;
        Ok(AuxBlock {
            coinbasevalue: self.miner_share().await,
            ..block
        })
    }

    async fn submit_aux_block(&self, hash: String, auxpow: String) -> RpcResult<bool> {
        let invalid =
            |what: &str, fault: &dyn std::fmt::Display| error(INVALID, format!("{what}: {fault}"));
        let hash = parse_display_hash(&hash).map_err(|fault| invalid("hash", &fault))?;
        let auxpow = Vec::from_hex(&auxpow).map_err(|fault| invalid("auxpow", &fault))?;
        self.ask(|reply| Command::SubmitAuxBlock {
            hash,
            auxpow,
            reply,
        })
        .await?;
        Ok(true)
    }

    async fn aux_block(
        &self,
        hash: Option<String>,
        auxpow: Option<String>,
    ) -> RpcResult<serde_json::Value> {
        match (hash, auxpow) {
            (Some(hash), Some(auxpow)) => {
                let taken = self.submit_aux_block(hash, auxpow).await?;
                Ok(serde_json::Value::Bool(taken))
            }
            (None, None) => {
                let address = self.fee_recipient.ok_or_else(|| {
                    error(
                        INVALID,
                        "this node has no mining.fee_recipient: use createauxblock with an address",
                    )
                })?;
                let block = self.create_aux_block(address).await?;
                serde_json::to_value(block).map_err(internal)
            }
            _one => Err(error(
                INVALID,
                "expected no arguments, or a hash and an auxpow",
            )),
        }
    }

    async fn queued_pow(&self) -> RpcResult<Option<QueuedPow>> {
        Ok(self.view().queued.map(|share| QueuedPow {
            hash: display_hash(share.template.hash.as_bytes()),
            end: BlockPlace {
                height: share.template.range.end_height,
                id: share.template.range.end,
            },
            fee_recipient: share.template.fee_recipient,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alys_protocol::bytes::{BodyRoot, ExecutionHash, HistoryRoot};
    use alys_protocol::header::PowState;
    use alys_protocol::peg::Cursor;
    use alys_protocol::units::{BtcHeight, ChainId, Epoch, PowCount, Slot, Wei};
    use std::convert::Infallible;

    fn id(height: u64) -> BlockId {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&height.to_le_bytes());
        BlockId::new(bytes)
    }

    fn header(height: u64) -> Header {
        Header {
            version: Header::VERSION,
            chain_id: ChainId::new(1),
            epoch: Epoch::new(0),
            height: SideHeight::new(height),
            slot: Slot::new(height),
            parent: id(height.saturating_sub(1)),
            history_root: HistoryRoot::ZERO,
            execution_hash: ExecutionHash::ZERO,
            bitcoin: Cursor {
                height: BtcHeight::new(0),
                hash: bitcoin::BlockHash::from_byte_array([0; 32]),
                next_tx: 0,
            },
            next_burn: BurnSequence::new(0),
            pow: PowState {
                count: PowCount::ZERO,
                height: SideHeight::ZERO,
                id: BlockId::ZERO,
            },
            fees_distributed: Wei::ZERO,
            body_root: BodyRoot::ZERO,
        }
    }

    #[test]
    fn a_height_is_looked_for_above_the_final_block_only() {
        let (head, last_final) = (100, 90);
        for (height, expected, reads) in [
            (0, None, 0),
            (last_final, None, 0),
            (last_final + 1, Some(id(last_final + 1)), 9),
            (head, Some(id(head)), 0),
            (head + 1, None, 0),
            (u64::MAX, None, 0),
        ] {
            let mut read = 0;
            let found = above_final(
                SideHeight::new(last_final),
                (id(head), header(head)),
                SideHeight::new(height),
                |asked| {
                    read += 1;
                    let height = head - read;
                    assert_eq!(asked, id(height));
                    Ok::<_, Infallible>(Some(header(height)))
                },
            );
            assert_eq!((found, read), (Ok(expected), reads), "height {height}");
        }
    }
}
