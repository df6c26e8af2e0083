//! Coins go in and out, and what credits nobody is listed.

use crate::bench::{Bench, fast, paid_to};
use alys_protocol::units::Sats;
use alys_rpc::types::UnattributableOutput;
use bitcoin::Transaction;
use std::collections::BTreeSet;

#[tokio::test]
async fn coins_go_in_by_every_encoding_and_come_out_in_one_batch() {
    let mut bench = Bench::start(fast()).await;
    let (raw, hex) = (bench.account("raw"), bench.account("hex"));
    bench.more_blocks(0, 1).await;
    let (first, second, third) = (
        Sats::new(100_000_000),
        Sats::new(50_000_000),
        Sats::new(12_345),
    );
    let digits = raw.address().to_string();
    let encodings = [
        (first, raw.address().as_bytes().to_vec()),
        (second, hex.address().to_string().into_bytes()),
        (third, digits.trim_start_matches("0x").as_bytes().to_vec()),
    ];
    let mut deposits = Vec::new();
    for (amount, data) in &encodings {
        deposits.push(bench.cluster.deposit(*amount, data).await.unwrap());
    }
    bench.mine(3).await;
    // In one Bitcoin block.
    let client = bench.cluster.bitcoin().client().clone();
    let mut blocks = BTreeSet::new();
    for deposit in &deposits {
        let status = client.transaction(deposit.compute_txid(), None).await;
        blocks.insert(status.unwrap().unwrap().block.unwrap());
    }
    assert_eq!(blocks.len(), 1, "the deposits are in different blocks");
    let all = Sats::checked_sum([first, second, third]).unwrap();
    for index in 0..4 {
        bench.minted(index, all).await;
    }
    let twice = first.saturating_add(third.get());
    bench.credited(0, raw.address(), twice).await;
    bench.credited(0, hex.address(), second).await;

    // Out again, to a P2WPKH and a P2TR address, in one batch: both burns are handed in together.
    let (p2wpkh, p2tr) = (
        bench.new_address("bech32").await,
        bench.new_address("bech32m").await,
    );
    let (one, other) = (Sats::new(20_000_000), Sats::new(30_000_001));
    let sequences = bench.burn(&raw, &[(&p2wpkh, one), (&p2tr, other)]).await;
    bench.cluster.start_miner(0).await.unwrap();
    let payment = bench.settled(0, sequences[0]).await;
    assert_eq!(
        bench.settled(0, sequences[1]).await.compute_txid(),
        payment.compute_txid(),
        "the burns are in different batches"
    );
    // Each pays its share of the fee, and nothing else is missing.
    for (address, burned) in [(&p2wpkh, one), (&p2tr, other)] {
        let paid = paid_to(&payment, address);
        assert!(
            paid <= burned.get() && paid + 50_000 > burned.get(),
            "{paid} of {burned:?}"
        );
        assert_eq!(bench.payments_to(address).await, [paid]);
    }
    bench.finish().await;
}

#[tokio::test]
async fn what_credits_nobody_is_listed_and_counted() {
    let mut bench = Bench::start(fast()).await;
    let user = bench.account("user");
    let account = user.address().to_bytes();
    bench.more_blocks(0, 1).await;
    let cluster = &bench.cluster;
    let pay = async |amounts: &[u64], data: &[&[u8]]| -> Transaction {
        let amounts: Vec<_> = amounts.iter().copied().map(Sats::new).collect();
        cluster.pay_federation(&amounts, data).await.unwrap()
    };
    let minimum = cluster.chain().spec().deposits.min_sats.get();
    let (good, small) = (minimum, minimum - 1);
    let nobody = pay(&[70_001], &[]).await;
    let malformed = pay(&[70_002], &[&account[1..]]).await;
    let below = pay(&[small], &[&account]).await;
    // Of this one a part counts.
    let mixed = pay(&[good, small], &[&account]).await;
    bench.mine(1).await;
    // Nodes do not relay two OP_RETURNs, but miners may take them.
    let (amount, data): ([_; 1], [&[u8]; 2]) = ([Sats::new(70_003)], [&account, &account]);
    let two = [cluster.sign_for_federation(&amount, &data).await.unwrap()];
    let address = bench.new_address("bech32m").await;
    let mined = cluster.bitcoin().generate_block(&address, &two).await;
    mined.unwrap();
    bench.mine(2).await;

    let listed = |transaction: &Transaction, vout, value, reason: &str| UnattributableOutput {
        outpoint: format!("{}:{vout}", transaction.compute_txid()),
        value_sats: Sats::new(value),
        reason: reason.to_owned(),
    };
    let mut expected = [
        listed(&nobody, 0, 70_001, "NoRecipient"),
        listed(&malformed, 0, 70_002, "MalformedRecipient"),
        listed(&two[0], 0, 70_003, "ManyRecipients"),
        listed(&below, 0, small, "BelowMinimum"),
        listed(&mixed, 1, small, "BelowMinimum"),
    ];
    expected.sort_by(|one, other| one.outpoint.cmp(&other.outpoint));
    let sum = Sats::checked_sum(expected.iter().map(|output| output.value_sats));
    for index in 0..4 {
        bench.minted(index, Sats::new(good)).await;
        let mut peg = bench.peg(index).await;
        peg.unattributable
            .sort_by(|one, other| one.outpoint.cmp(&other.outpoint));
        assert_eq!(peg.unattributable, expected);
        assert_eq!(Some(peg.unattributable_sats), sum);
        assert_eq!(peg.halted, None);
    }
    let good = Sats::new(good);
    bench.credited(0, user.address(), good).await;
    bench.finish().await;
}
