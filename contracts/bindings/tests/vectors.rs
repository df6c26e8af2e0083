//! Vectors for the Solidity tests, made by code that knows nothing of Solidity: addresses by rust-bitcoin, and the
//! predeploy as genesis gets it. Forge reads the committed files; this test says that they are still what Rust makes.
//!
//! `ALYS_WRITE_VECTORS=1 cargo test -p alys-contracts --test vectors` writes them anew.

#![allow(
    clippy::unwrap_used,
    reason = "clippy allows it in tests, and these are their helpers"
)]

use alloy_primitives::hex;
use alys_contracts::{BridgeParameters, bridge_predeploy};
use alys_protocol::units::Sats;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Address, Network, PubkeyHash, ScriptHash, WitnessProgram, WitnessVersion};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Addresses of each type and network. The first is all zeros, the second all ones, the rest are hashes.
const PER_TYPE: usize = 12;

fn bytes<const N: usize>(seed: &str, index: usize) -> [u8; N] {
    match index {
        0 => [0; N],
        1 => [0xff; N],
        // Starts with zeros: Base58 writes them apart.
        2 => std::array::from_fn(|place| u8::from(place + 1 == N)),
        _ => {
            let hash = sha256::Hash::hash(format!("alys vector {seed} {index}").as_bytes());
            std::array::from_fn(|place| hash.as_byte_array()[place])
        }
    }
}

/// Any program, also a taproot key that is no point: the address does not care.
fn segwit(version: WitnessVersion, program: &[u8], network: Network) -> Address {
    Address::from_witness_program(WitnessProgram::new(version, program).unwrap(), network)
}

fn addresses(network: Network) -> Vec<Address> {
    (0..PER_TYPE)
        .flat_map(|index| {
            let pubkey_hash = PubkeyHash::from_byte_array(bytes("p2pkh", index));
            let script_hash = ScriptHash::from_byte_array(bytes("p2sh", index));
            [
                Address::p2pkh(pubkey_hash, network),
                Address::p2sh_from_hash(script_hash, network),
                segwit(WitnessVersion::V0, &bytes::<20>("p2wpkh", index), network),
                segwit(WitnessVersion::V0, &bytes::<32>("p2wsh", index), network),
                segwit(WitnessVersion::V1, &bytes::<32>("p2tr", index), network),
            ]
        })
        .collect()
}

fn address_vectors() -> Value {
    let of = |network| {
        let addresses = addresses(network);
        json!({
            "addresses": addresses.iter().map(Address::to_string).collect::<Vec<_>>(),
            "scripts": addresses
                .iter()
                .map(|address| hex::encode_prefixed(address.script_pubkey()))
                .collect::<Vec<_>>(),
        })
    };
    json!({
        "mainnet": of(Network::Bitcoin),
        "testnet": of(Network::Testnet),
        "regtest": of(Network::Regtest),
    })
}

fn predeploy_vector() -> Value {
    let parameters = BridgeParameters {
        network: Network::Regtest,
        federation_script: segwit(
            WitnessVersion::V1,
            &bytes::<32>("p2tr", 9),
            Network::Regtest,
        )
        .script_pubkey()
        .into_bytes(),
        min_pegout_sats: Sats::new(20_000),
        max_pegout_sats: Sats::new(500_000_000),
    };
    let predeploy = bridge_predeploy(&parameters).unwrap();
    json!({
        "address": predeploy.address.to_string(),
        "slots": predeploy.storage.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "values": predeploy.storage.values().map(ToString::to_string).collect::<Vec<_>>(),
        "network": 3,
        "federationScript": hex::encode_prefixed(&parameters.federation_script),
        "minPegOutSats": parameters.min_pegout_sats.get(),
        "maxPegOutSats": parameters.max_pegout_sats.get(),
    })
}

fn check(name: &str, vectors: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../test/vectors")
        .join(name);
    let expected = format!("{vectors:#}\n");
    if std::env::var_os("ALYS_WRITE_VECTORS").is_some() {
        let mut file = File::create(&path).unwrap();
        file.write_all(expected.as_bytes()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "contracts/test/vectors/{name} is not what Rust makes: run this test with ALYS_WRITE_VECTORS=1 and commit"
    );
}

#[test]
fn address_vectors_are_current() {
    check("addresses.json", &address_vectors());
}

#[test]
fn predeploy_vector_is_current() {
    check("predeploy.json", &predeploy_vector());
}
