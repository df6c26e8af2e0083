//! Every satoshi is explained: what the federation holds on Bitcoin, by what circulates on the side chain.
//!
//! The equation is that of `alys_chain::Supply`; here its parts come from outside of the node's ledger as far as they
//! can: balances, withdrawals and base fees are read from the execution client.

use crate::cluster::{Cluster, NodeClient, fee_accounts};
use crate::wait::wait_until;
use alys_execution::eth::BlockRef;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::WEI_PER_SAT;
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::{BlockInfo, PegStatus};
use anyhow::{Context as _, ensure};
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::http_client::HttpClientBuilder;
use serde_json::{Value, json};
use std::time::Duration;

/// Between two blocks there is time enough to read both; the limit is for a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);

/// The balance sheet at one block, in wei.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceSheet {
    /// Side height.
    pub height: u64,
    /// The federation's outputs.
    pub held: i128,
    /// What can be spent on the side chain.
    pub circulating: i128,
    /// Burned, and not paid by a confirmed batch yet.
    pub owed: i128,
    /// Base fees burned.
    pub base_fees: i128,
    /// Outputs that credit nobody.
    pub unattributable: i128,
    /// What burners paid for Bitcoin fees less what these were.
    pub fee_rounding: i128,
}

/// Reads the balance sheet at the head and checks it against the ledger, the execution client, and Bitcoin's own set of
/// unspent outputs. No Bitcoin block may come meanwhile, and no batch may be in flight. `accounts` are all accounts that may hold something, other than
/// members', the miner's, the vault and the bridge.
///
/// # Errors
/// - where a satoshi is not explained, or an account holds something that is not among those named;
/// - where Bitcoin holds another amount than the ledger says;
/// - where the node cannot be asked.
pub async fn check_supply(
    cluster: &Cluster,
    node: &NodeClient,
    accounts: &[EvmAddress],
) -> anyhow::Result<BalanceSheet> {
    let (head, peg) = at_one_head(node).await?;
    let execution = &cluster.chain().spec().execution;
    let mut holders = fee_accounts(cluster.chain())?;
    holders.extend(accounts);
    holders.push(execution.vault);
    let block = BlockRef::Hash(head.execution_hash);
    let mut balances = 0i128;
    for holder in holders {
        balances += wei(node.eth.balance(holder, block).await?.get())?;
    }
    let bridge = wei(node.eth.balance(execution.bridge, block).await?.get())?;
    let flows = flows(node, head.height.get()).await?;

    let burned = sats(peg.burned_sats.get());
    ensure!(
        bridge == burned,
        "the bridge holds {bridge} wei, burned are {burned}"
    );
    let reported: i128 = peg.base_fees_wei.parse()?;
    ensure!(
        reported == flows.base_fees,
        "base fees: the ledger says {reported} wei, the blocks {}",
        flows.base_fees
    );
    let issued = flows.withdrawals - flows.base_fees;
    ensure!(
        balances + bridge == issued,
        "all known accounts hold {} wei, issued are {issued}",
        balances + bridge
    );
    // Withdrawals mint deposits, and pay fees that stay in the vault for ever besides.
    let fees_distributed = flows.withdrawals - sats(peg.minted_sats.get());
    ensure!(fees_distributed >= 0, "less withdrawn than minted: {peg:?}");
    let settled = sats(peg.settled_sats.get());
    let sheet = BalanceSheet {
        height: head.height.get(),
        held: sats(peg.held_sats.get()),
        circulating: balances - fees_distributed,
        owed: burned - settled,
        base_fees: flows.base_fees,
        unattributable: sats(peg.unattributable_sats.get()),
        fee_rounding: settled - sats(peg.paid_out_sats.get()) - sats(peg.bitcoin_fees_sats.get()),
    };
    let explained = sheet.circulating
        + sheet.owed
        + sheet.base_fees
        + sheet.unattributable
        + sheet.fee_rounding;
    ensure!(
        sheet.held == explained,
        "held {} wei, explained {explained}: {sheet:?}",
        sheet.held
    );
    let on_bitcoin = unspent_up_to(cluster, &peg).await?;
    ensure!(
        peg.held_sats.get() == on_bitcoin,
        "the ledger holds {} sat, Bitcoin {on_bitcoin} sat up to height {}",
        peg.held_sats.get(),
        peg.bitcoin_height.get()
    );
    Ok(sheet)
}

/// What Bitcoin itself says that the federation's script holds, as far as the ledger has read Bitcoin.
async fn unspent_up_to(cluster: &Cluster, peg: &PegStatus) -> anyhow::Result<u64> {
    ensure!(
        peg.pending.is_empty(),
        "expected no batch in flight, found {:?}",
        peg.pending
    );
    let script = cluster.chain().wallet().script_pubkey().to_hex_string();
    let client = cluster.bitcoin().client();
    let scan = client.scan_unspent(&[format!("raw({script})")]).await?;
    let read = scan
        .outputs
        .iter()
        .filter(|output| output.height <= peg.bitcoin_height);
    Ok(read.map(|output| output.output.value.to_sat()).sum())
}

/// Head and ledger of the same block, which the execution client has as its newest, too: it hears of a head after the node
/// has it.
async fn at_one_head(node: &NodeClient) -> anyhow::Result<(BlockInfo, PegStatus)> {
    let evm = HttpClientBuilder::default().build(&node.evm_url)?;
    let what = "ledger and execution client at one head";
    wait_until(
        what,
        LIMIT,
        || Ok(()),
        async || {
            let before = node.rpc.head_block().await?;
            let peg = node.peg().await?;
            let latest = [json!("latest"), json!(false)].to_vec();
            let latest: Value = evm.request("eth_getBlockByNumber", latest).await?;
            let head = latest["hash"].as_str() == Some(before.execution_hash.to_string().as_str());
            let same = head && node.rpc.head_block().await?.id == before.id;
            Ok(same.then_some((before, peg)))
        },
    )
    .await
}

struct Flows {
    withdrawals: i128,
    base_fees: i128,
}

/// What entered and left the execution layer from genesis to `height`.
async fn flows(node: &NodeClient, height: u64) -> anyhow::Result<Flows> {
    let client = HttpClientBuilder::default().build(&node.evm_url)?;
    let mut flows = Flows {
        withdrawals: 0,
        base_fees: 0,
    };
    for number in 1..=height {
        let parameters = [json!(format!("{number:#x}")), json!(false)];
        let block: Value = client
            .request("eth_getBlockByNumber", parameters.to_vec())
            .await?;
        let context = || format!("block {number}: {block}");
        let base_fee = quantity(&block["baseFeePerGas"]).with_context(context)?;
        let gas_used = quantity(&block["gasUsed"]).with_context(context)?;
        flows.base_fees += base_fee * gas_used;
        let withdrawals = block["withdrawals"].as_array().with_context(context)?;
        for withdrawal in withdrawals {
            let gwei = quantity(&withdrawal["amount"]).with_context(context)?;
            flows.withdrawals += gwei * 1_000_000_000;
        }
    }
    Ok(flows)
}

fn quantity(value: &Value) -> anyhow::Result<i128> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    Ok(i128::from_str_radix(text.context("no quantity")?, 16)?)
}

fn wei(amount: u128) -> anyhow::Result<i128> {
    Ok(i128::try_from(amount)?)
}

fn sats(amount: u64) -> i128 {
    i128::from(amount) * WEI_PER_SAT as i128
}
