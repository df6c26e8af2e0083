//! `alys-bitcoin` against real Bitcoin nodes on regtest.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use alys_bitcoin::devnet::{DevnetNode, DevnetWallet};
use alys_bitcoin::{
    BitcoinClient, BlockCache, BlockEvent, BlockPosition, BlockStream, BlockSubmission, Broadcast,
    BroadcastError, Credentials, FeePolicy, FeeSource, MempoolVerdict, NodeMismatch, RpcError,
};
use alys_protocol::units::{BtcHeight, SatsPerKvb};
use alys_tests::bitcoin_node::{BitcoinNode, NodeOptions};
use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, BlockHash, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Txid, Witness, block,
};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that these tests wait for takes longer, unless it never happens.
const LIMIT: Duration = Duration::from_secs(60);
/// So long that a test which passes in less cannot owe it to the fallback poll.
const NO_FALLBACK: Duration = Duration::from_secs(30);
/// For reorganisations to a chain that is not higher, which only the fallback poll notices.
const SOON: Duration = Duration::from_millis(300);

struct Bench {
    node: BitcoinNode,
    devnet: DevnetNode,
    wallet: DevnetWallet,
    address: Address,
    dir: TempDir,
}

impl Bench {
    async fn start(options: NodeOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let node = BitcoinNode::start(dir.path(), options).await.unwrap();
        let devnet = node.devnet().unwrap();
        let wallet = devnet.wallet("bench").await.unwrap();
        let address = wallet.new_address().await.unwrap();
        Self {
            node,
            devnet,
            wallet,
            address,
            dir,
        }
    }

    /// With coins that can be spent.
    async fn funded(options: NodeOptions) -> Self {
        let bench = Self::start(options).await;
        bench.generate(103).await;
        bench
    }

    fn client(&self) -> &BitcoinClient {
        self.node.client()
    }

    async fn generate(&self, blocks: u32) -> Vec<BlockHash> {
        // Blocks of the same height, time and address would be the same block.
        let address = self.wallet.new_address().await.unwrap();
        self.devnet.generate(blocks, &address).await.unwrap()
    }

    /// The best chain's hashes by height.
    async fn chain(&self) -> Vec<BlockHash> {
        let tip = self.client().tip().await.unwrap().height;
        let headers = self.client().headers(BtcHeight::ZERO, tip).await.unwrap();
        headers
            .unwrap()
            .iter()
            .map(|info| info.position.hash)
            .collect()
    }
}

async fn genesis(client: &BitcoinClient) -> BlockPosition {
    let height = BtcHeight::ZERO;
    let hash = client.block_hash(height).await.unwrap().unwrap();
    BlockPosition { height, hash }
}

/// Believes a stream, checking that each event fits the ones before.
struct Consumer {
    stream: BlockStream,
    chain: Vec<BlockHash>,
    disconnected: usize,
}

impl Consumer {
    async fn from_genesis(client: &BitcoinClient, longest_wait: Duration) -> Self {
        let start = genesis(client).await;
        Self {
            stream: BlockStream::new(client.clone(), start, longest_wait),
            chain: vec![start.hash],
            disconnected: 0,
        }
    }

    async fn next(&mut self) -> BlockEvent {
        let event = tokio::time::timeout(LIMIT, self.stream.next()).await;
        let event = event.unwrap().unwrap();
        match &event {
            BlockEvent::Connected(connected) => {
                assert_eq!(connected.position.height.get() as usize, self.chain.len());
                assert_eq!(Some(&connected.header().prev_blockhash), self.chain.last());
                assert!(connected.block.check_merkle_root());
                self.chain.push(connected.position.hash);
            }
            BlockEvent::Disconnected(left) => {
                assert_eq!(left.height.get() as usize, self.chain.len() - 1);
                assert_eq!(self.chain.pop(), Some(left.hash));
                self.disconnected += 1;
            }
        }
        event
    }

    /// Follows until the tip is this block.
    async fn until(&mut self, tip: BlockHash) {
        while self.chain.last() != Some(&tip) {
            self.next().await;
        }
    }
}

#[tokio::test]
async fn a12_stream_skips_nothing_when_a_block_is_invalidated_and_reconsidered() {
    let bench = Bench::start(NodeOptions::default()).await;
    let first = bench.generate(20).await;
    let mut consumer = Consumer::from_genesis(bench.client(), SOON).await;
    consumer.until(first[19]).await;

    // Seven blocks leave, one comes: lower than before, and yet the best chain.
    bench.devnet.invalidate_block(first[13]).await.unwrap();
    let second = bench.generate(1).await;
    consumer.until(second[0]).await;
    assert_eq!((consumer.chain.len() - 1, consumer.disconnected), (14, 7));
    assert_eq!(consumer.chain, bench.chain().await);

    bench.generate(3).await;
    bench.devnet.reconsider_block(first[13]).await.unwrap();
    let more = bench.generate(1).await;
    consumer.until(more[0]).await;
    assert_eq!(consumer.chain, bench.chain().await);
    assert_eq!(consumer.chain[20], first[19]);
}

#[tokio::test]
async fn a12_stream_follows_a_reorganisation_between_two_nodes() {
    let listening = NodeOptions {
        listen: true,
        ..NodeOptions::default()
    };
    let (ours, theirs) = tokio::join!(
        Bench::start(listening),
        Bench::start(NodeOptions::default())
    );
    let address = ours.node.p2p_address().to_string();
    theirs.devnet.add_peer(&address).await.unwrap();
    let common = theirs.generate(5).await;
    let mut consumer = Consumer::from_genesis(ours.client(), NO_FALLBACK).await;
    consumer.until(common[4]).await;

    for bench in [&ours, &theirs] {
        bench.devnet.set_network_active(false).await.unwrap();
    }
    let lost = ours.generate(30).await;
    let kept = theirs.generate(31).await;
    consumer.until(lost[29]).await;
    for bench in [&ours, &theirs] {
        bench.devnet.set_network_active(true).await.unwrap();
    }
    // Asking once more is quicker than waiting for the node's own next attempt.
    let _ = theirs.devnet.connect_once(&address).await;
    consumer.until(kept[30]).await;
    assert_eq!(consumer.disconnected, 30);
    assert_eq!(consumer.chain, theirs.chain().await);
}

#[tokio::test]
async fn new_blocks_wake_the_stream_without_the_fallback_poll() {
    let bench = Bench::start(NodeOptions::default()).await;
    let mut consumer = Consumer::from_genesis(bench.client(), NO_FALLBACK).await;
    assert_eq!(consumer.stream.next_available().await.unwrap(), None);
    for _ in 0..3 {
        let (_, mined) = tokio::join!(consumer.next(), async {
            // Let the stream's question arrive first: it is held until this call is answered.
            bench.client().tip().await.unwrap();
            bench.generate(1).await;
            Instant::now()
        });
        let late = mined.elapsed();
        assert!(
            late < Duration::from_secs(5),
            "woken {late:?} after the block"
        );
    }
    assert_eq!(consumer.chain, bench.chain().await);
}

#[tokio::test]
async fn stream_survives_stop_and_kill_with_a_new_cookie() {
    let mut bench = Bench::start(NodeOptions::default()).await;
    let before = bench.generate(10).await;
    let mut consumer = Consumer::from_genesis(bench.client(), NO_FALLBACK).await;
    consumer.until(before[4]).await;
    let cookie = bench.dir.path().join("regtest/.cookie");
    for end in [End::Stop, End::FlushAndKill, End::Kill] {
        let old_cookie = std::fs::read(&cookie).unwrap();
        match end {
            End::Stop => bench.node.stop().await.unwrap(),
            End::FlushAndKill => {
                bench.devnet.flush().await.unwrap();
                bench.node.kill().await.unwrap();
            }
            End::Kill => bench.node.kill().await.unwrap(),
        }
        // The stream meets the dead node, and does not give up.
        let waiting = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await;
        assert!(waiting.is_err());
        bench.node.restart().await.unwrap();
        assert_ne!(std::fs::read(&cookie).unwrap(), old_cookie);
        let more = bench.generate(10).await;
        consumer.until(more[9]).await;
        // A killed node may have lost blocks that it had not written yet, and made others at their heights.
        assert!(end == End::Kill || consumer.disconnected == 0);
        assert_eq!(consumer.chain, bench.chain().await);
    }
}

#[derive(PartialEq)]
enum End {
    Stop,
    FlushAndKill,
    Kill,
}

#[tokio::test]
async fn broadcast_is_idempotent() {
    let bench = Bench::funded(NodeOptions {
        txindex: true,
        ..NodeOptions::default()
    })
    .await;
    let client = bench.client();
    let script = bench.address.script_pubkey();
    let payment = TxOut {
        value: Amount::from_sat(100_000),
        script_pubkey: script.clone(),
    };
    let transaction = bench.wallet.sign_outputs(&[payment]).await.unwrap();
    let txid = transaction.compute_txid();

    assert_eq!(client.mempool_entry(txid).await.unwrap(), None);
    assert_eq!(client.transaction(txid, None).await.unwrap(), None);
    let verdict = client.test_mempool_accept(&transaction).await.unwrap();
    let MempoolVerdict::Accepted { vsize, fee } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(vsize, transaction.vsize() as u64);

    let first = client.broadcast(&transaction).await.unwrap();
    let again = client.broadcast(&transaction).await.unwrap();
    assert_eq!(
        (first, again),
        (Broadcast::Accepted, Broadcast::AlreadyInMempool)
    );
    let entry = client.mempool_entry(txid).await.unwrap().unwrap();
    assert_eq!((entry.vsize, entry.fee), (vsize, fee));
    assert_eq!((entry.ancestors, entry.descendants), (1, 1));
    let waiting = client.transaction(txid, None).await.unwrap().unwrap();
    assert_eq!((waiting.block, waiting.confirmations), (None, 0));

    let block = bench.generate(1).await[0];
    assert_eq!(
        client.broadcast(&transaction).await.unwrap(),
        Broadcast::AlreadyConfirmed
    );
    for found in [
        client.transaction(txid, None).await.unwrap().unwrap(),
        client
            .transaction(txid, Some(block))
            .await
            .unwrap()
            .unwrap(),
    ] {
        assert_eq!((found.block, found.confirmations), (Some(block), 1));
        assert_eq!(found.transaction, transaction);
    }

    // Confirmed and all of its outputs spent: only the index can tell.
    let everything = bench.wallet.balance().await.unwrap();
    bench.wallet.sweep(&script).await.unwrap();
    assert!(everything > Amount::ZERO);
    bench.generate(1).await;
    for vout in 0..transaction.output.len() as u32 {
        let found = client.unspent_output(OutPoint { txid, vout }, false).await;
        assert_eq!(found.unwrap(), None);
    }
    assert_eq!(
        client.broadcast(&transaction).await.unwrap(),
        Broadcast::AlreadyConfirmed
    );
}

#[tokio::test]
async fn refusals_of_a_broadcast_are_typed() {
    let bench = Bench::funded(NodeOptions::default()).await;
    let client = bench.client();
    let script = bench.address.script_pubkey();
    let pay = |sats| {
        [TxOut {
            value: Amount::from_sat(sats),
            script_pubkey: script.clone(),
        }]
    };

    let nowhere = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint {
                txid: Txid::from_byte_array([7; 32]),
                vout: 0,
            },
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            ..TxIn::default()
        }],
        output: pay(1000).to_vec(),
    };
    let refusal = client.broadcast(&nowhere).await.unwrap_err();
    assert!(
        matches!(refusal, BroadcastError::InputsMissing { .. }),
        "{refusal}"
    );
    let verdict = client.test_mempool_accept(&nowhere).await.unwrap();
    assert!(
        matches!(verdict, MempoolVerdict::Rejected { .. }),
        "{verdict:?}"
    );

    // Two payments from the same coin at the same rate: the second cannot replace the first.
    let first = bench.wallet.sign_outputs(&pay(100_000)).await.unwrap();
    let mut second = first.clone();
    let coin = first.input[0].previous_output;
    while second.compute_txid() == first.compute_txid() || second.input[0].previous_output != coin {
        second = bench.wallet.sign_outputs(&pay(100_001)).await.unwrap();
    }
    client.broadcast(&first).await.unwrap();
    let refusal = client.broadcast(&second).await.unwrap_err();
    assert!(
        matches!(refusal, BroadcastError::Conflict { .. }),
        "{refusal}"
    );

    let mut cheap = bench.wallet.sign_outputs(&pay(100_000)).await.unwrap();
    let mut in_value = Amount::ZERO;
    for input in &cheap.input {
        let coin = client.unspent_output(input.previous_output, false).await;
        in_value += coin.unwrap().unwrap().output.value;
    }
    // All but one satoshi goes back.
    let rest: Amount = cheap.output[..1].iter().map(|output| output.value).sum();
    cheap.output[1].value = in_value - rest - Amount::from_sat(1);
    let cheap = bench.wallet.sign(&cheap).await.unwrap();
    let refusal = client.broadcast(&cheap).await.unwrap_err();
    assert!(
        matches!(refusal, BroadcastError::FeeTooLow { .. }),
        "{refusal}"
    );
}

#[tokio::test]
async fn fees_fall_back_on_a_young_chain() {
    let bench = Bench::start(NodeOptions::default()).await;
    let rate = SatsPerKvb::new;
    let policy = FeePolicy::new(rate(1_000), rate(12_345), rate(100_000), 6).unwrap();
    let found = bench.client().fee_estimate(&policy).await.unwrap();
    assert_eq!(
        (found.rate, found.source),
        (rate(12_345), FeeSource::Fallback)
    );
}

#[tokio::test]
async fn a_node_of_another_network_is_refused() {
    let bench = Bench::start(NodeOptions::default()).await;
    let mut config = bench.node.config();
    config.network = Network::Signet;
    let client = BitcoinClient::new(config).unwrap();
    for _ in 0..2 {
        let error = client.tip().await.unwrap_err();
        assert!(
            matches!(
                &error,
                RpcError::WrongNode { mismatch: NodeMismatch::Network { expected: Network::Signet, found }, .. }
                    if found == "regtest"
            ),
            "{error}"
        );
        assert!(!error.is_unreachable());
    }
    assert!(DevnetNode::new(client).is_err());
    let identity = bench.client().verify().await.unwrap();
    assert_eq!(identity.network, Network::Regtest);
    assert!(!identity.pruned);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown() {
    let bench = Bench::start(NodeOptions::default()).await;
    let secret = "correct-horse-battery-staple";
    let path = bench.dir.path().join("password");
    #[allow(
        clippy::disallowed_methods,
        reason = "a file for this test, not durable state"
    )]
    std::fs::write(&path, secret).unwrap();
    let mut config = bench.node.config();
    config.attempts = 2;
    config.credentials = Credentials::PasswordFile {
        user: "alys".into(),
        path,
    };
    let client = BitcoinClient::new(config.clone()).unwrap();
    let error = client.tip().await.unwrap_err();
    assert!(matches!(error, RpcError::Unauthorized { .. }), "{error}");
    let shown = format!("{error} {error:?} {client:?} {config:?}");
    assert!(!shown.contains(secret), "{shown}");
}

#[tokio::test]
async fn the_circuit_opens_on_a_dead_node_and_closes_when_it_is_back() {
    use alys_bitcoin::breaker::BreakerState;
    let mut bench = Bench::start(NodeOptions::default()).await;
    bench.node.kill().await.unwrap();
    let client = bench.client().clone();
    let first = client.tip().await.unwrap_err();
    assert!(matches!(first, RpcError::Unreachable { .. }), "{first}");
    let refused = loop {
        match client.tip().await.unwrap_err() {
            refused @ RpcError::CircuitOpen { .. } => break refused,
            error => assert!(error.is_unreachable(), "{error}"),
        }
    };
    assert_eq!(client.circuit(), BreakerState::Open);
    // Refusals cost no time, unlike attempts with their retries.
    let started = Instant::now();
    assert!(client.tip().await.is_err());
    assert!(started.elapsed() < Duration::from_millis(100), "{refused}");

    // The node is back before the pause is over.
    bench.node.restart().await.unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        match client.tip().await {
            Ok(tip) => break assert_eq!(tip.height, BtcHeight::ZERO),
            Err(RpcError::CircuitOpen { retry_in, .. }) => {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(retry_in).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(client.circuit(), BreakerState::Closed);
}

#[tokio::test]
async fn confirmed_blocks_are_those_of_the_present_best_chain() {
    let bench = Bench::start(NodeOptions::default()).await;
    let cache = BlockCache::new(bench.client().clone(), 1 << 20);
    let hashes = bench.generate(10).await;
    let at = |height, confirmations| cache.confirmed_block(BtcHeight::new(height), confirmations);

    let found = at(5, 6).await.unwrap().unwrap();
    assert_eq!((found.position.hash, found.confirmations), (hashes[4], 6));
    assert_eq!(found.block.block_hash(), hashes[4]);
    assert_eq!(at(5, 7).await.unwrap(), None);
    assert_eq!(at(10, 0).await.unwrap().unwrap().confirmations, 1);
    assert_eq!(at(11, 1).await.unwrap(), None);

    // A cached block that left the best chain is not confirmed any more.
    bench.devnet.invalidate_block(hashes[4]).await.unwrap();
    assert_eq!(at(5, 1).await.unwrap(), None);
    let others = bench.generate(1).await;
    assert_eq!(at(5, 1).await.unwrap().unwrap().position.hash, others[0]);
    let left = bench.client().header(hashes[4]).await.unwrap().unwrap();
    assert_eq!(left.confirmations, None);
    assert!(cache.block(hashes[4]).await.unwrap().is_some());
    let unknown = BlockHash::from_byte_array([9; 32]);
    assert_eq!(cache.block(unknown).await.unwrap(), None);
    assert_eq!(bench.client().header(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn unspent_outputs_are_found_by_outpoint_and_by_descriptor() {
    let bench = Bench::funded(NodeOptions::default()).await;
    let client = bench.client();
    let script = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_byte_array([3; 32]));
    let amount = Amount::from_sat(123_456);
    let data = b"\x11\x22\x33".into();
    let paid = bench
        .wallet
        .send_with_data(script.clone(), amount, data)
        .await
        .unwrap();
    assert_eq!(paid.output[0].script_pubkey, script);
    assert_eq!(
        paid.output[1].script_pubkey.as_bytes(),
        b"\x6a\x03\x11\x22\x33"
    );
    let outpoint = OutPoint {
        txid: paid.compute_txid(),
        vout: 0,
    };
    let descriptors = [format!("raw({})", script.to_hex_string())];

    assert_eq!(client.unspent_output(outpoint, false).await.unwrap(), None);
    let waiting = client
        .unspent_output(outpoint, true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.confirmations, 0);
    assert!(
        client
            .scan_unspent(&descriptors)
            .await
            .unwrap()
            .outputs
            .is_empty()
    );

    let block = bench.generate(1).await[0];
    let found = client
        .unspent_output(outpoint, false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.best_block, found.confirmations), (block, 1));
    assert_eq!(found.output, paid.output[0]);
    let scan = client.scan_unspent(&descriptors).await.unwrap();
    assert_eq!(scan.at, client.tip().await.unwrap());
    assert_eq!(scan.outputs.len(), 1);
    assert_eq!(
        (scan.outputs[0].outpoint, scan.outputs[0].height),
        (outpoint, scan.at.height)
    );
    assert_eq!(scan.outputs[0].output, paid.output[0]);
}

#[tokio::test]
async fn blocks_are_made_from_templates() {
    let bench = Bench::funded(NodeOptions::default()).await;
    let client = bench.client();
    let amount = Amount::from_sat(50_000);
    let txid = bench.wallet.send_to(&bench.address, amount).await.unwrap();
    let template = client.block_template().await.unwrap();
    assert_eq!(template.parent, client.tip().await.unwrap().hash);
    let ids: Vec<_> = template
        .transactions
        .iter()
        .map(|entry| entry.txid)
        .collect();
    assert_eq!(ids, [txid]);

    let coinbase = Transaction {
        version: Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            script_sig: Builder::new()
                .push_int(i64::from(template.height.get()))
                .push_slice(b"alys")
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0u8; 32]]),
            ..TxIn::default()
        }],
        output: vec![
            TxOut {
                value: template.coinbase_value,
                script_pubkey: bench.address.script_pubkey(),
            },
            TxOut {
                value: Amount::ZERO,
                script_pubkey: template.witness_commitment.clone().unwrap(),
            },
        ],
    };
    let mut txdata = vec![coinbase];
    txdata.extend(
        template
            .transactions
            .iter()
            .map(|entry| entry.transaction.clone()),
    );
    let mut block = Block {
        header: block::Header {
            version: template.version,
            prev_blockhash: template.parent,
            merkle_root: bitcoin::TxMerkleNode::all_zeros(),
            time: template.current_time.max(template.min_time),
            bits: template.bits,
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    grind(&mut block);
    let mut wrong = block.clone();
    wrong.header.merkle_root = bitcoin::TxMerkleNode::all_zeros();
    grind(&mut wrong);

    let rejected = client.submit_block(&wrong).await.unwrap();
    assert!(
        matches!(rejected, BlockSubmission::Rejected { .. }),
        "{rejected:?}"
    );
    assert_eq!(
        client.submit_block(&block).await.unwrap(),
        BlockSubmission::Accepted
    );
    assert_eq!(
        client.submit_block(&block).await.unwrap(),
        BlockSubmission::AlreadyKnown
    );
    let tip = client.tip().await.unwrap();
    assert_eq!(tip.hash, block.block_hash());
    assert_eq!(tip.height, template.height);
    assert_eq!(client.block(tip.hash).await.unwrap(), Some(block));
}

fn grind(block: &mut Block) {
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
}
