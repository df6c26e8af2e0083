//! The federation's wallet, derived a second way: by miniscript from the descriptor (design 9).
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{checksum, descriptor};
use alys_protocol::spec::Chain;
use bitcoin::Network;
use bitcoin::XOnlyPublicKey;
use kit::{chain, schnorr, spec};
use miniscript::{DefiniteDescriptorKey, Descriptor};

#[test]
fn the_descriptor_gives_the_same_address_as_the_protocol() {
    let descriptor: Descriptor<DefiniteDescriptorKey> = descriptor(chain()).parse().unwrap();
    assert_eq!(
        descriptor.script_pubkey(),
        *chain().wallet().script_pubkey()
    );
    assert_eq!(
        descriptor.address(Network::Regtest).unwrap(),
        chain().wallet().address(Network::Regtest).unwrap()
    );
}

#[test]
fn the_descriptors_leaves_are_the_protocols_scripts() {
    let text = descriptor(chain());
    let body = text.split('#').next().unwrap();
    let Descriptor::Tr(tr) = body.parse::<Descriptor<XOnlyPublicKey>>().unwrap() else {
        panic!("no taproot descriptor: {text}");
    };
    let leaves: Vec<_> = tr.leaves().map(|leaf| leaf.compute_script()).collect();
    assert_eq!(
        leaves,
        [
            chain().wallet().federation_script().clone(),
            chain().wallet().recovery_script().clone()
        ]
    );
    assert_eq!(*tr.internal_key(), chain().wallet().internal_key());
}

#[test]
fn other_keys_thresholds_and_timelocks_give_other_addresses() {
    let address = |spec| {
        let chain = Chain::new(spec).unwrap();
        let descriptor: Descriptor<DefiniteDescriptorKey> = descriptor(&chain).parse().unwrap();
        let found = descriptor.address(Network::Regtest).unwrap();
        assert_eq!(found, chain.wallet().address(Network::Regtest).unwrap());
        found
    };
    let mut timelock = spec();
    timelock.bitcoin.recovery_timelock_blocks += 1;
    let mut recovery = spec();
    recovery.bitcoin.recovery_threshold = 1;
    let mut key = spec();
    key.bitcoin.recovery_keys[0] = schnorr(104);
    let mut addresses = vec![
        address(spec()),
        address(timelock),
        address(recovery),
        address(key),
    ];
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4);
}

#[test]
fn checksums_are_bip_380s() {
    // Test vectors of BIP-380.
    assert_eq!(checksum("raw(deadbeef)").unwrap(), "89f8spxm");
    assert_eq!(checksum("raw(Ü)"), None);
}
