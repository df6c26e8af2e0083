//! BTC goes in, moves, is finalised by merged mining, and comes out.

use super::{Balances, Summary, friend, resident_memory, user};
use crate::cluster::{Cluster, NodeClient};
use crate::evm::Call;
use alloy_primitives::{Address as EvmAlloyAddress, U256};
use alloy_sol_types::SolCall as _;
use alys_contracts::{BRIDGE_EVM_ADDRESS, abi, demo_token_creation_code};
use alys_execution::eth::BlockRef;
use alys_protocol::units::{BurnSequence, Sats, SideHeight, WEI_PER_SAT, Wei};
use alys_rpc::NodeRpcClient as _;
use alys_rpc::types::PegOutStage;
use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const DEPOSIT: Sats = Sats::new(200_000_000);
const TRANSFER: Sats = Sats::new(10_000_000);
/// Steps take seconds to a minute; the limit is for a machine that does much else.
const LIMIT: Duration = Duration::from_secs(300);
const TRANSFER_GAS: u64 = 21_000;
const TOKEN_GAS: u64 = 100_000;
const DEPLOY_GAS: u64 = 2_000_000;
const BURN_GAS: u64 = 300_000;

/// Times the steps and says them.
struct Steps {
    seconds: BTreeMap<String, f64>,
    since: Instant,
    count: usize,
}

impl Steps {
    fn new(start: Duration) -> Self {
        Self {
            seconds: BTreeMap::from([("00 start".to_owned(), seconds(start))]),
            since: Instant::now(),
            count: 0,
        }
    }

    fn done(&mut self, name: &str, detail: &str) {
        self.count += 1;
        let took = seconds(self.since.elapsed());
        self.since = Instant::now();
        println!("[{:>5.1} s] {name}: {detail}", took);
        self.seconds
            .insert(format!("{:02} {name}", self.count), took);
    }
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// Does the round trip on a running cluster with a miner. `start` is how long its start took.
///
/// # Errors
/// - where a step fails, takes too long, or a process dies.
pub async fn round_trip(cluster: &mut Cluster, start: Duration) -> anyhow::Result<Summary> {
    let node = cluster.node(0)?;
    let (user, friend) = (user(cluster)?, friend(cluster)?);
    let payout = cluster.wallet().await?.new_address_of("bech32").await?;
    let mut steps = Steps::new(start);

    let genesis_slot = cluster.chain().spec().slots.genesis;
    let begin = cluster
        .wait("the first block that all agree on", LIMIT, async || {
            let head = node.rpc.head_block().await?;
            Ok((head.slot > genesis_slot).then_some(head))
        })
        .await?;
    let first_head = begin.height;
    let first = cluster
        .wait("a block of this run", LIMIT, async || {
            let head = node.rpc.head_block().await?;
            Ok((head.height > first_head).then_some(head))
        })
        .await?;
    steps.done(
        "blocks",
        &format!("block {} is certified", first.height.get()),
    );
    // Its address is new.
    let before = balances(cluster, &node, 0).await?;
    let user_before = node.eth.balance(user.address(), BlockRef::Latest).await?;

    let deposit = cluster.deposit(DEPOSIT, user.address().as_bytes()).await?;
    let deposit_txid = deposit.compute_txid();
    println!(
        "    {} sat go to {} in {deposit_txid}",
        DEPOSIT.get(),
        cluster.federation()?
    );
    let confirmations = cluster.chain().spec().deposits.confirmations;
    let bitcoin = cluster.bitcoin().client().clone();
    cluster
        .wait("the deposit's confirmations", LIMIT, async || {
            let status = bitcoin.transaction(deposit_txid, None).await?;
            let depth = status.map_or(0, |status| status.confirmations);
            Ok((depth >= confirmations).then_some(()))
        })
        .await?;
    steps.done("deposit", &format!("{confirmations} confirmations"));
    let head = node.rpc.head_block().await?.height;
    cluster
        .wait("the mint", LIMIT, async || {
            let balance = node.eth.balance(user.address(), BlockRef::Latest).await?;
            Ok((balance > user_before).then_some(()))
        })
        .await?;
    let mint_block = mint_block(&node, &user.address(), user_before, head).await?;
    steps.done(
        "mint",
        &format!("{} sat in block {mint_block}", DEPOSIT.get()),
    );

    let transfer = Call {
        to: Some(friend.address()),
        value: TRANSFER.to_wei(),
        data: Vec::new(),
        gas: TRANSFER_GAS,
    };
    let receipts = cluster.transact(&user, &[transfer]).await?;
    let transfer_block = receipts.first().context("no receipt")?.block_number.get();
    steps.done(
        "transfer",
        &format!("{} sat in block {transfer_block}", TRANSFER.get()),
    );

    let nonce = user.nonce(&node.eth).await?;
    let token = user.contract(nonce);
    let supply = U256::from(1_000_000u64) * U256::from(10u64).pow(U256::from(18u64));
    let deploy = Call {
        to: None,
        value: Wei::ZERO,
        data: demo_token_creation_code(supply).to_vec(),
        gas: DEPLOY_GAS,
    };
    let amount = U256::from(42u64);
    let recipient = EvmAlloyAddress::new(friend.address().to_bytes());
    let send = Call {
        to: Some(token),
        value: Wei::ZERO,
        data: abi::DemoToken::transferCall {
            to: recipient,
            value: amount,
        }
        .abi_encode(),
        gas: TOKEN_GAS,
    };
    let earlier = token_balance(&node, token, recipient)
        .await
        .unwrap_or_default();
    cluster.transact(&user, &[deploy, send]).await?;
    let later = token_balance(&node, token, recipient).await?;
    ensure!(
        later == earlier + amount,
        "expected a token balance of {amount}, found {later}"
    );
    steps.done(
        "ERC-20",
        &format!("deployed at {token}, transferred, balance {later}"),
    );

    let balance = node.eth.balance(user.address(), BlockRef::Latest).await?;
    // The bridge takes whole satoshi only, and at most so many at once.
    let most = cluster.chain().spec().pegout.max_sats.get();
    let half = u64::try_from(balance.get() / 2 / WEI_PER_SAT)?.min(most);
    let burn = Call {
        to: Some(BRIDGE_EVM_ADDRESS),
        value: Sats::new(half).to_wei(),
        data: abi::Bridge::requestPegOutCall {
            bitcoinAddress: payout.to_string(),
        }
        .abi_encode(),
        gas: BURN_GAS,
    };
    let receipts = cluster.transact(&user, &[burn]).await?;
    let receipt = receipts.first().context("no receipt")?;
    let sequence = burn_sequence(receipt)?;
    let burn_block = receipt.block_number;
    steps.done(
        "burn",
        &format!(
            "{half} sat to {payout}, sequence {} in block {}",
            sequence.get(),
            burn_block.get()
        ),
    );

    cluster
        .wait("proof of work over the burn", LIMIT, async || {
            let status = node.status().await?;
            Ok((status.pow_final.height >= burn_block).then_some(()))
        })
        .await?;
    steps.done(
        "PoW finality",
        &format!("block {} is PoW-final", burn_block.get()),
    );

    let txid = cluster
        .wait("the batch's broadcast", LIMIT, async || {
            let found = node.rpc.peg_out(sequence).await?;
            Ok(found
                .filter(|found| found.stage >= PegOutStage::Broadcast)
                .and_then(|found| found.txid))
        })
        .await?;
    steps.done("broadcast", &format!("Bitcoin transaction {txid}"));
    cluster
        .wait("the payment's settlement", LIMIT, async || {
            let found = node.rpc.peg_out(sequence).await?;
            Ok(found.filter(|found| found.stage == PegOutStage::Settled))
        })
        .await?;
    let settled = node
        .rpc
        .peg_out(sequence)
        .await?
        .and_then(|found| found.txid);
    // A replacement may have been the one that confirmed.
    let txid = settled.unwrap_or(txid);
    let payment = bitcoin
        .transaction(txid.parse()?, None)
        .await?
        .with_context(|| format!("Bitcoin does not know {txid}"))?;
    let pegout_confirmations = payment.confirmations;
    ensure!(
        pegout_confirmations > 0,
        "{txid} is settled and not confirmed"
    );
    let script = payout.script_pubkey();
    let outputs = payment.transaction.output.iter();
    let paid = outputs
        .filter(|output| output.script_pubkey == script)
        .map(|output| output.value.to_sat())
        .sum();
    let after = balances(cluster, &node, paid).await?;
    ensure!(
        paid > 0,
        "{txid} is confirmed, and {payout} received nothing"
    );
    steps.done(
        "settled",
        &format!("{paid} sat on {payout}, {pegout_confirmations} confirmations"),
    );

    let status = node.status().await?;
    let head = node.rpc.head_block().await?;
    let slots = head.slot.get().saturating_sub(first.slot.get());
    let blocks = head.height.get().saturating_sub(first.height.get());
    let nodes = cluster.running_nodes()?;
    Ok(Summary {
        certified_height: status.head.height.get(),
        final_height: status.r#final.height.get(),
        pow_final_height: status.pow_final.height.get(),
        missed_slots: status.missed_slots,
        missed_slots_this_run: slots.saturating_sub(blocks),
        deposit_txid: deposit_txid.to_string(),
        mint_block,
        transfer_block,
        token: token.to_string(),
        burn_sequence: sequence.get(),
        burn_block: burn_block.get(),
        pegout_txid: txid,
        pegout_confirmations,
        pegout_paid_sats: paid,
        seconds: steps.seconds,
        balances_before: before,
        balances_after: after,
        resident_kib: resident_memory(cluster)?,
        block_intervals: None,
        chain_id: cluster.chain_id().get(),
        federation_address: cluster.federation()?.to_string(),
        payout_address: payout.to_string(),
        user_address: user.address().to_string(),
        user_private_key: user.private_key(),
        node_rpc: nodes.iter().map(|node| node.rpc_url.clone()).collect(),
        evm_rpc: nodes.iter().map(|node| node.evm_url.clone()).collect(),
        bitcoin_rpc: cluster.bitcoin().config().url,
    })
}

/// The sequence in a burn's receipt: the event's first indexed argument.
///
/// # Errors
/// - where the bridge wrote no such event.
pub fn burn_sequence(receipt: &alys_execution::receipt::Receipt) -> anyhow::Result<BurnSequence> {
    let log = receipt
        .logs
        .iter()
        .find(|log| log.address == BRIDGE_EVM_ADDRESS);
    let topic = log
        .and_then(|log| log.topics.get(1))
        .context("the bridge wrote no event")?;
    let bytes = topic
        .as_bytes()
        .last_chunk::<8>()
        .context("the topic is too short")?;
    Ok(BurnSequence::new(u64::from_be_bytes(*bytes)))
}

/// The first block after `from` at which the account holds more.
async fn mint_block(
    node: &NodeClient,
    account: &alys_protocol::bytes::EvmAddress,
    before: Wei,
    from: SideHeight,
) -> anyhow::Result<u64> {
    let head = node.rpc.head_block().await?.height;
    // It may have been minted while the confirmations were counted.
    let from = from.get().saturating_sub(10).max(1);
    for height in from..=head.get() {
        let at = BlockRef::Height(SideHeight::new(height));
        if node.eth.balance(*account, at).await? > before {
            return Ok(height);
        }
    }
    anyhow::bail!("no block up to {} minted the deposit", head.get())
}

async fn token_balance(
    node: &NodeClient,
    token: alys_protocol::bytes::EvmAddress,
    holder: EvmAlloyAddress,
) -> anyhow::Result<U256> {
    let call = abi::DemoToken::balanceOfCall { account: holder }.abi_encode();
    let answer = node.eth.call(token, &call, BlockRef::Latest).await?;
    Ok(abi::DemoToken::balanceOfCall::abi_decode_returns(&answer)?)
}

async fn balances(
    cluster: &Cluster,
    node: &NodeClient,
    payout_sats: u64,
) -> anyhow::Result<Balances> {
    let (user, friend) = (user(cluster)?, friend(cluster)?);
    let balance = async |account| node.eth.balance(account, BlockRef::Latest).await;
    Ok(Balances {
        user_wei: balance(user.address()).await?.get().to_string(),
        friend_wei: balance(friend.address()).await?.get().to_string(),
        federation_sats: node.peg().await?.held_sats.get(),
        payout_sats,
    })
}
