//! The bindings agree with the artefacts, the predeploy with the storage layout, the decoder with the ABI encoder.

use crate::abi::{Bridge, DemoToken};
use crate::{
    BRIDGE_ADDRESS, BridgeParameters, DecodeError, PEG_OUT_REQUESTED_TOPIC, ParameterError,
    PegOutRequested, bridge_predeploy, decode_bridge_log, decode_peg_out_requested,
    demo_token_creation_code,
};
use alloy_primitives::{Address, B256, Bytes, U256, b256, hex, keccak256};
use alloy_sol_types::{SolCall, SolEvent};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{BurnSequence, Sats};
use bitcoin::{Network, ScriptBuf};
use proptest::prelude::*;

const BRIDGE_ARTEFACT: &str = include_str!("../artifacts/Bridge.json");
const DEMO_TOKEN_ARTEFACT: &str = include_str!("../artifacts/DemoToken.json");

fn artefact(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn parameters() -> BridgeParameters {
    BridgeParameters {
        network: Network::Regtest,
        federation_script: [&[0x51, 0x20][..], &[0xab; 32]].concat(),
        min_pegout_sats: Sats::new(0x0102_0304),
        max_pegout_sats: Sats::new(0x1122_3344_5566),
    }
}

fn payable_scripts() -> Vec<Vec<u8>> {
    vec![
        [&hex!("76a914")[..], &[1; 20], &hex!("88ac")].concat(),
        [&hex!("a914")[..], &[2; 20], &hex!("87")].concat(),
        [&hex!("0014")[..], &[3; 20]].concat(),
        [&hex!("0020")[..], &[4; 32]].concat(),
        [&hex!("5120")[..], &[5; 32]].concat(),
    ]
}

/// A log, by alloy's encoder.
fn log(sequence: u64, sender: Address, script: &[u8], sats: u64) -> (Vec<B256>, Vec<u8>) {
    let event = Bridge::PegOutRequested {
        sequence,
        sender,
        scriptPubKey: Bytes::copy_from_slice(script),
        sats,
    };
    let log = event.encode_log_data();
    (log.topics().to_vec(), log.data.to_vec())
}

fn valid_log() -> (Vec<B256>, Vec<u8>) {
    log(7, Address::repeat_byte(9), &payable_scripts()[0], 5_000)
}

#[test]
fn bindings_hold_the_code_of_the_artefacts() {
    for (text, code) in [
        (BRIDGE_ARTEFACT, &Bridge::DEPLOYED_BYTECODE),
        (DEMO_TOKEN_ARTEFACT, &DemoToken::DEPLOYED_BYTECODE),
    ] {
        let artefact = artefact(text);
        assert_eq!(artefact["deployedBytecode"], code.to_string());
        assert_eq!(
            artefact["deployedBytecodeHash"],
            keccak256(code).to_string()
        );
    }
    let token = artefact(DEMO_TOKEN_ARTEFACT);
    assert_eq!(token["bytecode"], DemoToken::BYTECODE.to_string());
}

#[test]
fn genesis_holds_the_code_of_the_artefact() {
    let account = bridge_predeploy(&parameters()).unwrap().genesis_account();
    assert_eq!(
        account["code"],
        artefact(BRIDGE_ARTEFACT)["deployedBytecode"]
    );
    assert_eq!(account["nonce"], "0x1");
    assert_eq!(account["balance"], "0x0");
}

#[test]
fn abi_is_the_one_that_others_rely_on() {
    assert_eq!(
        Bridge::requestPegOutCall::SIGNATURE,
        "requestPegOut(string)"
    );
    assert_eq!(
        Bridge::requestPegOutToScriptCall::SIGNATURE,
        "requestPegOutToScript(bytes)"
    );
    assert_eq!(
        Bridge::PegOutRequested::SIGNATURE,
        "PegOutRequested(uint64,address,bytes,uint64)"
    );
    assert_eq!(
        PEG_OUT_REQUESTED_TOPIC,
        keccak256("PegOutRequested(uint64,address,bytes,uint64)")
    );
}

#[test]
fn storage_layout_is_the_one_that_genesis_writes() {
    let layout: Vec<_> = artefact(BRIDGE_ARTEFACT)["storageLayout"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            let text = |name: &str| field[name].as_str().unwrap().to_owned();
            (
                text("label"),
                text("slot"),
                field["offset"].as_u64().unwrap(),
                text("type"),
            )
        })
        .collect();
    let expected = [
        ("nextSequence", "0", 0, "t_uint64"),
        ("totalBurnedSats", "0", 8, "t_uint64"),
        ("federationScript", "1", 0, "t_bytes_storage"),
        ("network", "2", 0, "t_enum(BitcoinNetwork)"),
        ("minPegOutSats", "2", 1, "t_uint64"),
        ("maxPegOutSats", "2", 9, "t_uint64"),
    ]
    .map(|(label, slot, offset, kind)| (label.into(), slot.into(), offset, kind.into()));
    assert_eq!(layout, expected);
}

#[test]
fn storage_is_exact() {
    let storage = bridge_predeploy(&parameters()).unwrap().storage;
    // 0xb10e...: keccak256 of the word 1.
    let expected = [
        (
            b256!("0000000000000000000000000000000000000000000000000000000000000001"),
            b256!("0000000000000000000000000000000000000000000000000000000000000045"),
        ),
        (
            b256!("0000000000000000000000000000000000000000000000000000000000000002"),
            b256!("0000000000000000000000000000000000112233445566000000000102030403"),
        ),
        (
            b256!("b10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6"),
            b256!("5120abababababababababababababababababababababababababababababab"),
        ),
        (
            b256!("b10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf7"),
            b256!("abab000000000000000000000000000000000000000000000000000000000000"),
        ),
    ];
    assert_eq!(storage.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn parameters_that_no_bridge_may_have_are_refused() {
    let refused = |change: fn(&mut BridgeParameters)| {
        let mut parameters = parameters();
        change(&mut parameters);
        bridge_predeploy(&parameters).unwrap_err()
    };
    assert_eq!(
        refused(|p| p.federation_script = vec![0x51]),
        ParameterError::FederationScript(ScriptBuf::from_bytes(vec![0x51]))
    );
    assert_eq!(
        refused(|p| p.min_pegout_sats = Sats::ZERO),
        ParameterError::ZeroMinimum
    );
    assert_eq!(
        refused(|p| p.max_pegout_sats = Sats::new(1)),
        ParameterError::MaximumBelowMinimum {
            minimum: Sats::new(0x0102_0304),
            maximum: Sats::new(1),
        }
    );
    let beyond = Sats::new(21_000_000 * 100_000_000 + 1);
    assert_eq!(
        refused(|p| p.max_pegout_sats = Sats::new(21_000_000 * 100_000_000 + 1)),
        ParameterError::MaximumAboveMoney(beyond)
    );
}

#[test]
fn demo_token_is_created_with_its_supply() {
    let code = demo_token_creation_code(U256::from(0x1234));
    let (creation, argument) = code.split_at(code.len() - 32);
    assert_eq!(creation, &DemoToken::BYTECODE[..]);
    assert_eq!(argument, U256::from(0x1234).to_be_bytes::<32>());
}

#[test]
fn decodes_every_template() {
    for script in payable_scripts() {
        let (topics, data) = log(u64::MAX, Address::repeat_byte(0xfe), &script, u64::MAX);
        assert_eq!(
            decode_peg_out_requested(&topics, &data).unwrap(),
            PegOutRequested {
                sequence: BurnSequence::MAX,
                sender: EvmAddress::new([0xfe; 20]),
                script_pubkey: ScriptBuf::from_bytes(script),
                amount: Sats::MAX,
            }
        );
    }
}

#[test]
fn a3_another_contracts_event_is_no_burn() {
    let (topics, data) = valid_log();
    let forged = decode_bridge_log(Address::repeat_byte(0x66), &topics, &data);
    assert_eq!(forged, Ok(None));
    assert!(
        decode_bridge_log(BRIDGE_ADDRESS, &topics, &data)
            .unwrap()
            .is_some()
    );
}

#[test]
fn other_topics_are_refused() {
    let (topics, data) = valid_log();
    let refused = |topics: &[B256]| decode_peg_out_requested(topics, &data).unwrap_err();
    assert_eq!(refused(&[]), DecodeError::TopicCount(0));
    assert_eq!(refused(&topics[..2]), DecodeError::TopicCount(2));
    let wide = B256::with_last_byte(1)
        | b256!("0000000000000000000000000000000000000000000000010000000000000000");
    assert_eq!(
        refused(&[B256::ZERO, topics[1], topics[2]]),
        DecodeError::Signature(B256::ZERO)
    );
    assert_eq!(
        refused(&[topics[0], wide, topics[2]]),
        DecodeError::Sequence(wide)
    );
    let wide = B256::repeat_byte(1);
    assert_eq!(
        refused(&[topics[0], topics[1], wide]),
        DecodeError::Sender(wide)
    );
}

#[test]
fn a7_other_data_is_refused_without_panic() {
    let (topics, data) = valid_log();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = data.clone();
        change(&mut data);
        decode_peg_out_requested(&topics, &data).unwrap_err()
    };
    let all_ones = B256::repeat_byte(0xff);
    let length = |expected, found| DecodeError::DataLength { expected, found };
    assert_eq!(refused(&|d| d.clear()), length(96, 0));
    assert_eq!(refused(&|d| d.truncate(127)), length(128, 127));
    assert_eq!(refused(&|d| d.extend([0; 32])), length(128, 160));
    assert_eq!(
        refused(&|d| d[..32].fill(0xff)),
        DecodeError::Offset(all_ones)
    );
    assert_eq!(
        refused(&|d| d[32..64].fill(0xff)),
        DecodeError::Amount(all_ones)
    );
    assert_eq!(
        refused(&|d| d[64..96].fill(0xff)),
        DecodeError::ScriptLength(all_ones)
    );
    assert_eq!(
        refused(&|d| d[95] = 35),
        DecodeError::ScriptLength(B256::with_last_byte(35))
    );
    assert_eq!(
        refused(&|d| d[127] = 1),
        DecodeError::Padding(vec![0, 0, 0, 0, 0, 0, 1])
    );
    assert!(matches!(refused(&|d| d[96] = 0), DecodeError::Script(_)));
}

proptest! {
    /// Whatever is accepted is what alloy's encoder writes for it: there is one encoding only.
    #[test]
    fn a7_accepted_means_canonical(
        position in 0_usize..256,
        flip in 1_u8..,
        cut in 0_usize..=192,
        template in 0_usize..5,
    ) {
        let (topics, mut data) = log(3, Address::repeat_byte(4), &payable_scripts()[template], 6);
        let position = position % data.len();
        data[position] ^= flip;
        data.truncate(cut.max(position + 1));
        if let Ok(event) = decode_peg_out_requested(&topics, &data) {
            let again = log(
                event.sequence.get(),
                Address::from(event.sender.to_bytes()),
                event.script_pubkey.as_bytes(),
                event.amount.get(),
            );
            prop_assert_eq!((topics, data), again);
        }
    }

    #[test]
    fn a7_garbage_never_panics(topics in prop::collection::vec(any::<[u8; 32]>(), 0..5), data in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut topics: Vec<B256> = topics.into_iter().map(B256::from).collect();
        prop_assert!(decode_peg_out_requested(&topics, &data).is_err());
        if let Some(first) = topics.first_mut() {
            *first = PEG_OUT_REQUESTED_TOPIC;
            prop_assert!(decode_peg_out_requested(&topics, &data).is_err());
        }
    }
}
