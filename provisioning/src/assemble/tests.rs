use super::*;
use crate::parameters::{MemberParameters, REGTEST_CHAIN_ID, Regtest};
use alys_protocol::bls::SecretKey;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::BtcHeight;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Keypair, Secp256k1};

pub(crate) const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Public test keys.
pub(crate) fn card(seed: u8) -> MemberCard {
    let secp = Secp256k1::new();
    let schnorr = Keypair::from_seckey_slice(&secp, &[seed; 32]).unwrap();
    let bls = SecretKey::from_seed(&[seed; 32]).unwrap();
    MemberCard {
        bls: bls.public_key().to_bytes(),
        bls_possession: bls.prove_possession(),
        schnorr: SchnorrPublicKeyBytes::new(schnorr.x_only_public_key().0.serialize()),
    }
}

pub(crate) fn cards() -> BTreeMap<String, MemberCard> {
    NAMES
        .into_iter()
        .zip(1u8..)
        .map(|(name, seed)| (name.to_owned(), card(seed)))
        .collect()
}

pub(crate) fn options() -> Regtest {
    Regtest {
        chain_id: REGTEST_CHAIN_ID,
        genesis_ms: 1_700_000_000_000,
        start_height: BtcHeight::new(101),
        start_hash: BlockHash::from_byte_array([5; 32]),
        recovery_keys: (101..104).map(|seed| card(seed).schnorr).collect(),
        members: NAMES
            .into_iter()
            .zip(1u8..)
            .map(|(name, seed)| MemberParameters {
                name: name.to_owned(),
                fee_recipient: EvmAddress::new([seed; 20]),
            })
            .collect(),
        max_blocks_without_pow: 60,
    }
}

fn parameters() -> Parameters {
    Parameters::regtest(options())
}

fn refused(parameters: Parameters, cards: &BTreeMap<String, MemberCard>) -> String {
    assemble(parameters, cards).unwrap_err().to_string()
}

#[test]
fn the_devnet_is_a_chain_whose_genesis_hash_is_its_own() {
    let spec = assemble(parameters(), &cards()).unwrap();
    assert_eq!(spec.bitcoin.threshold, 3);
    assert_eq!(spec.members.len(), 4);
    assert_eq!(spec.members[2].name, "carol");
    assert_eq!(spec.members[2].schnorr, card(3).schnorr);
    assert_ne!(spec.execution.genesis_hash, ExecutionHash::ZERO);
    let chain = Chain::new(spec.clone()).unwrap();
    assert_eq!(genesis_hash(&chain).unwrap(), spec.execution.genesis_hash);
    // The same from the file that all get.
    let text = toml::to_string_pretty(&spec).unwrap();
    let read: ChainSpec = toml::from_str(&text).unwrap();
    assert_eq!(Chain::new(read).unwrap().digest(), chain.digest());
}

#[test]
fn what_genesis_holds_changes_its_hash() {
    let one = assemble(parameters(), &cards()).unwrap();
    let mut parameters = parameters();
    parameters.pegout.max_sats = alys_protocol::units::Sats::new(999_999_999);
    let other = assemble(parameters, &cards()).unwrap();
    assert_ne!(one.execution.genesis_hash, other.execution.genesis_hash);
}

#[test]
fn federations_of_other_sizes_are_made() {
    for size in [1, 2, 3, 5, 7] {
        let mut options = options();
        let names = (1..=size).map(|seed: u8| (format!("member-{seed}"), seed));
        options.members = names
            .clone()
            .map(|(name, seed)| MemberParameters {
                name,
                fee_recipient: EvmAddress::new([seed; 20]),
            })
            .collect();
        let cards = names.map(|(name, seed)| (name, card(seed))).collect();
        let size = usize::from(size);
        let spec = assemble(Parameters::regtest(options), &cards).unwrap();
        assert_eq!(spec.members.len(), size);
    }
}

#[test]
fn each_member_has_a_card_and_each_card_a_member() {
    let mut less = cards();
    less.remove("bob");
    assert!(refused(parameters(), &less).contains("card of member \"bob\", found none"));
    let mut more = cards();
    more.insert("mallory".to_owned(), card(9));
    assert!(refused(parameters(), &more).contains("found one of \"mallory\""));
    let mut twice = parameters();
    twice.members[1].name = "alice".to_owned();
    assert!(refused(twice, &cards()).contains("found \"alice\" again"));
}

#[test]
fn a_key_without_possession_is_refused() {
    let mut cards = cards();
    cards.get_mut("dave").unwrap().bls_possession = card(9).bls_possession;
    let error = refused(parameters(), &cards);
    assert!(error.contains("card of \"dave\""), "{error}");
}

#[test]
fn shared_keys_are_refused() {
    let mut same_schnorr = cards();
    same_schnorr.get_mut("dave").unwrap().schnorr = card(1).schnorr;
    let error = refused(parameters(), &same_schnorr);
    assert!(error.contains("\"alice\" and \"dave\""), "{error}");
    assert!(error.contains("Schnorr"), "{error}");
    let mut same_bls = cards();
    same_bls.insert("dave".to_owned(), {
        let MemberCard {
            bls,
            bls_possession,
            ..
        } = card(1);
        MemberCard {
            bls,
            bls_possession,
            ..card(4)
        }
    });
    assert!(refused(parameters(), &same_bls).contains("BLS"));
    let mut recovery = parameters();
    recovery.bitcoin.recovery_keys[0] = card(2).schnorr;
    assert!(refused(recovery, &cards()).contains("found \"bob\"'s"));
}

#[test]
fn addresses_that_templates_leave_are_refused() {
    let mut zero = parameters();
    zero.members[0].fee_recipient = EvmAddress::ZERO;
    assert!(refused(zero, &cards()).contains("fee_recipient of \"alice\""));
    let mut bridge = parameters();
    bridge.execution.vault = BRIDGE;
    assert!(refused(bridge, &cards()).contains("execution.vault"));
    let mut vault = parameters();
    vault.members[0].fee_recipient = vault.execution.vault;
    assert!(refused(vault, &cards()).contains("the vault's"));
}

#[test]
fn rules_of_the_chain_are_checked() {
    let mut poor = parameters();
    poor.pegout.min_sats = alys_protocol::units::Sats::new(1000);
    assert!(refused(poor, &cards()).contains("pegout.min_sats"));
    let mut low = parameters();
    low.bitcoin.threshold = 2;
    assert!(refused(low, &cards()).contains("threshold"));
}
