//! Two embedded clients and a chain: one builds, the other validates.
#![allow(clippy::unwrap_used)]

mod common;

use alloy_primitives::keccak256;
use alys_execution::eth::{BlockRef, EthError, LogFilter};
use alys_execution::genesis::{WITHDRAWAL_REQUESTS, genesis_block_hash};
use alys_execution::receipt::{receipt_proof, verify_receipt_proof};
use alys_execution::{Heads, PayloadStatus, execution_header_rlp};
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::units::{ChainId, SideHeight, Wei};
use common::*;

const GWEI: u128 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_blocks_with_mints_transfers_and_contracts() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let builder = Node::start(folders[0].path()).await;
    let validator = Node::start(folders[1].path()).await;
    builder
        .execution
        .engine()
        .exchange_capabilities()
        .await
        .unwrap();
    assert_eq!(
        builder.client.genesis_hash(),
        genesis_block_hash(&genesis()).unwrap()
    );
    assert_eq!(
        builder.eth.chain_id().await.unwrap(),
        ChainId::new(CHAIN_ID)
    );

    let rich = Wallet::new(1);
    let (minted, paid) = (EvmAddress::new([0x11; 20]), EvmAddress::new([0x22; 20]));
    let genesis = builder.client.genesis_hash();
    let mut tip = Tip::genesis(&builder);
    let mut chain = vec![tip];
    let mut tips = 0u128;
    for round in 0..20u64 {
        // Nonce 2k pays, 2k + 1 deploys (first) or calls the contract.
        let pay = rich.transaction(2 * round, Some(paid), 5, &[]);
        let use_contract = match round {
            0 => rich.transaction(1, None, 0, &emitter()),
            _ => rich.transaction(2 * round + 1, Some(rich.contract(1)), 0, &[]),
        };
        let hash = builder.eth.send_raw_transaction(&pay).await.unwrap();
        assert_eq!(hash, transaction_hash(&pay));
        builder
            .eth
            .send_raw_transaction(&use_contract)
            .await
            .unwrap();

        let mints = vec![tip.withdrawal(0, minted, 10), tip.withdrawal(1, VAULT, 1)];
        let payload = tip.build(&builder, mints.clone()).await;
        assert_eq!(payload.transactions.len(), 2);
        assert_eq!(payload.withdrawals.to_vec(), mints);
        assert_eq!(payload.gas_limit, 30_000_000);
        let rlp = execution_header_rlp(&payload, tip.side_id());
        assert_eq!(payload.block_hash.to_bytes(), keccak256(rlp).0);

        for node in [&builder, &validator] {
            validate(node, &payload, &tip).await;
            // Validated, not canonical: what a node stores before it votes has to be readable now.
            let receipts = node
                .eth
                .block_receipts(payload.block_hash, payload.receipts_root)
                .await
                .unwrap();
            assert!(receipts.iter().all(|receipt| receipt.succeeded));
            assert_eq!(
                receipts.last().unwrap().cumulative_gas_used,
                payload.gas_used
            );
            let proof = receipt_proof(&receipts, 1).unwrap();
            assert!(verify_receipt_proof(
                payload.receipts_root,
                1,
                &receipts[1],
                &proof
            ));
            let vault = node
                .eth
                .account(VAULT, payload.block_hash, payload.state_root)
                .await
                .unwrap();
            let at_hash = node
                .eth
                .balance(VAULT, BlockRef::Hash(payload.block_hash))
                .await
                .unwrap();
            assert_eq!(vault.balance, at_hash);
            let block = node
                .eth
                .block(BlockRef::Hash(payload.block_hash))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (block.state_root, block.parent),
                (payload.state_root, tip.hash)
            );
            assert_eq!(block.parent_beacon_block_root, tip.side_id());
            assert_eq!(
                node.eth
                    .block(BlockRef::Latest)
                    .await
                    .unwrap()
                    .unwrap()
                    .hash,
                tip.hash
            );
        }
        // A tip of 1 gwei per gas goes to the vault.
        tips += u128::from(payload.gas_used) * GWEI;

        tip = Tip::of(&payload);
        chain.push(tip);
        let back = |blocks: usize| chain[chain.len().saturating_sub(1 + blocks)].hash;
        for node in [&builder, &validator] {
            let heads = Heads {
                latest: tip.hash,
                safe: back(1),
                finalized: back(5),
            };
            node.execution.set_heads(heads).await.unwrap();
            node.execution.set_heads(heads).await.unwrap();
            let hash = async |block| node.eth.block(block).await.unwrap().unwrap().hash;
            assert_eq!(hash(BlockRef::Latest).await, tip.hash);
            assert_eq!(hash(BlockRef::Safe).await, back(1));
            assert_eq!(hash(BlockRef::Finalized).await, back(5));
            assert_eq!(
                hash(BlockRef::Height(SideHeight::new(round + 1))).await,
                tip.hash
            );
        }
        let receipt = validator
            .eth
            .transaction_receipt(hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((receipt.block_hash, receipt.gas_used), (tip.hash, 21_000));
    }

    for node in [&builder, &validator] {
        let balance = async |account| {
            node.eth
                .balance(account, BlockRef::Latest)
                .await
                .unwrap()
                .get()
        };
        assert_eq!(balance(minted).await, 20 * 10 * GWEI);
        assert_eq!(balance(paid).await, 20 * 5);
        assert_eq!(balance(VAULT).await, 20 * GWEI + tips);
        assert_eq!(
            node.eth
                .transaction_count(rich.address(), BlockRef::Latest)
                .await
                .unwrap(),
            40
        );
        assert_eq!(
            node.eth
                .balance(minted, BlockRef::Height(SideHeight::new(3)))
                .await
                .unwrap()
                .get(),
            30 * GWEI
        );
        let filter = LogFilter {
            address: Some(rich.contract(1)),
            event: Some(EVENT),
            from: SideHeight::new(1),
            to: SideHeight::new(20),
        };
        let logs = node.eth.logs(&filter).await.unwrap();
        assert_eq!(logs.len(), 19);
        assert_eq!(
            (logs[0].data.len(), logs[0].data[31], logs[0].block_hash),
            (32, 42, chain[2].hash)
        );
        let none = LogFilter {
            event: Some(Digest::ZERO),
            ..filter
        };
        assert_eq!(node.eth.logs(&none).await.unwrap(), []);
        // An account that does not exist is proven not to.
        let block = node.eth.block(BlockRef::Latest).await.unwrap().unwrap();
        let nobody = node
            .eth
            .account(EvmAddress::new([0x99; 20]), tip.hash, block.state_root)
            .await
            .unwrap();
        assert_eq!((nobody.balance, nobody.nonce), (Wei::ZERO, 0));
        // The right account under the wrong root is not.
        let stale = node
            .eth
            .account(VAULT, chain[19].hash, block.state_root)
            .await;
        assert!(matches!(stale, Err(EthError::Unproven { .. })), "{stale:?}");
        let stale = node
            .eth
            .block_receipts(chain[1].hash, block.receipts_root)
            .await;
        assert!(matches!(stale, Err(EthError::Unproven { .. })), "{stale:?}");
    }
    assert_eq!(
        validator.client.head().await.unwrap(),
        (SideHeight::new(20), tip.hash)
    );
    assert_ne!(genesis, tip.hash);
    builder.stop().await;
    validator.stop().await;
}

/// Two certified blocks may compete for a height: reads by hash must tell them apart, and no transaction gets lost.
#[tokio::test(flavor = "multi_thread")]
async fn competing_blocks_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let to = EvmAddress::new([0x33; 20]);
    let tip = extend(&node, Tip::genesis(&node), vec![]).await;

    let empty = tip.build(&node, vec![tip.withdrawal(0, to, 1)]).await;
    let pay = Wallet::new(1).transaction(0, Some(to), 7, &[]);
    let hash = node.eth.send_raw_transaction(&pay).await.unwrap();
    let paying = tip.build(&node, vec![tip.withdrawal(0, to, 2)]).await;
    assert_eq!(
        (empty.transactions.len(), paying.transactions.len()),
        (0, 1)
    );
    validate(&node, &empty, &tip).await;
    validate(&node, &paying, &tip).await;

    follow(&node, paying.block_hash).await;
    for (block, wei, receipts) in [(&empty, GWEI, 0), (&paying, 2 * GWEI + 7, 1)] {
        assert_eq!(
            node.eth
                .balance(to, BlockRef::Hash(block.block_hash))
                .await
                .unwrap()
                .get(),
            wei
        );
        let account = node
            .eth
            .account(to, block.block_hash, block.state_root)
            .await
            .unwrap();
        assert_eq!(account.balance.get(), wei);
        let found = node
            .eth
            .block_receipts(block.block_hash, block.receipts_root)
            .await
            .unwrap();
        assert_eq!(found.len(), receipts);
        assert_eq!(
            node.eth
                .block(BlockRef::Hash(block.block_hash))
                .await
                .unwrap()
                .unwrap()
                .hash,
            block.block_hash
        );
    }
    // ethrex would run the call on the canonical block instead.
    let call = node
        .eth
        .call(to, &[], BlockRef::Hash(empty.block_hash))
        .await
        .unwrap_err()
        .to_string();
    assert!(call.contains("not on the canonical chain"), "{call}");
    assert!(node.eth.transaction_receipt(hash).await.unwrap().is_some());

    // The other one wins: the transaction waits again, and the next block has it.
    follow(&node, empty.block_hash).await;
    assert!(node.eth.transaction_receipt(hash).await.unwrap().is_none());
    let next = Tip::of(&empty).build(&node, vec![]).await;
    assert_eq!(next.transactions.len(), 1);
    node.stop().await;
}

/// Anyone may call the contracts of EIP-7002 and EIP-7251; no request may come of it, or no block could be approved.
#[tokio::test(flavor = "multi_thread")]
async fn validator_requests_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let mut tip = extend(&node, Tip::genesis(&node), vec![]).await;
    let attempt = Wallet::new(1).transaction(0, Some(WITHDRAWAL_REQUESTS), ETHER, &[1; 56]);
    let hash = node.eth.send_raw_transaction(&attempt).await.unwrap();
    for _ in 0..3 {
        tip = extend(&node, tip, vec![]).await;
    }
    assert!(
        !node
            .eth
            .transaction_receipt(hash)
            .await
            .unwrap()
            .unwrap()
            .succeeded
    );
    assert_eq!(
        node.eth
            .balance(WITHDRAWAL_REQUESTS, BlockRef::Latest)
            .await
            .unwrap(),
        Wei::ZERO
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path()).await;
    let tip = Tip::genesis(&node);
    let good = tip.build(&node, vec![tip.withdrawal(0, VAULT, 1)]).await;
    let status = async |payload: &_, root| node.execution.validate(payload, root).await.unwrap();

    // A header that is not its hash's: another root, another withdrawal.
    let wrong = status(&good, alys_protocol::bytes::BlockId::new([9; 32])).await;
    assert!(matches!(wrong, PayloadStatus::Invalid { .. }), "{wrong:?}");
    let mut payload = good.clone();
    payload.withdrawals = vec![tip.withdrawal(0, VAULT, 2)].try_into().unwrap();
    assert!(matches!(
        status(&payload, tip.side_id()).await,
        PayloadStatus::Invalid { .. }
    ));

    // A sound header whose state is not what comes of executing it: only the client can see that.
    payload.block_hash = alys_execution::header::execution_block_hash(&payload, tip.side_id());
    match status(&payload, tip.side_id()).await {
        PayloadStatus::Invalid { latest_valid, .. } => assert_eq!(latest_valid, Some(tip.hash)),
        other => panic!("{other:?}"),
    }
    // A blob, or a parent that is not there.
    let mut payload = good.clone();
    payload.blob_gas_used = 131_072;
    assert!(matches!(
        status(&payload, tip.side_id()).await,
        PayloadStatus::Invalid { .. }
    ));
    let mut payload = good.clone();
    payload.parent_hash = alys_protocol::bytes::ExecutionHash::new([5; 32]);
    payload.block_hash = alys_execution::header::execution_block_hash(&payload, tip.side_id());
    assert_eq!(
        status(&payload, tip.side_id()).await,
        PayloadStatus::Syncing
    );

    let heads = Heads {
        latest: payload.block_hash,
        safe: tip.hash,
        finalized: tip.hash,
    };
    let error = node.execution.set_heads(heads).await.unwrap_err();
    assert!(
        matches!(error, alys_execution::ExecutionError::NotReady { .. }),
        "{error}"
    );
    let error = node
        .execution
        .build_payload(&Tip::of(&payload).request(vec![]), tip.hash, tip.hash)
        .await
        .unwrap_err();
    assert!(
        matches!(error, alys_execution::ExecutionError::NotReady { .. }),
        "{error}"
    );
    // All that changed nothing.
    assert_eq!(status(&good, tip.side_id()).await, PayloadStatus::Valid);
    node.stop().await;
}
