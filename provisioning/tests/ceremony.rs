//! Ceremonies: a rehearsal with real signers by the program itself, and what each step refuses.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test are outside what clippy knows as one"
)]

use alys_protocol::bls::SecretKey;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::ceremony::{
    Card, CardBackend, CardFormat, CeremonyId, EntropyReport, Fingerprint, Nonce, SignedCard,
};
use alys_protocol::signer::SchnorrSignature;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::{BtcHeight, ChainId, Sats};
use alys_provision::ceremony::{CeremonyError, Folder, SpendError, Step};
use alys_provision::files::{self, Readers};
use alys_provision::{MemberParameters, Officer, Parameters, Regtest};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, absolute, transaction};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const PASSPHRASE: &str = "marble-thicket-77";

/// A secret that is not one of those that anybody can guess.
fn secret(seed: u8) -> [u8; 32] {
    bitcoin::hashes::sha256::Hash::hash(&[seed, 77]).to_byte_array()
}

fn pair(seed: u8) -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &secret(seed)).unwrap()
}

fn schnorr(pair: &Keypair) -> SchnorrPublicKeyBytes {
    SchnorrPublicKeyBytes::new(pair.x_only_public_key().0.serialize())
}

fn card(ceremony: CeremonyId, member: &str, seed: u8, pair: &Keypair) -> SignedCard {
    let bls = SecretKey::from_seed(&secret(seed)).unwrap();
    let card = Card {
        format: CardFormat::V2,
        ceremony,
        member: member.to_owned(),
        bls: bls.public_key().to_bytes(),
        bls_possession: bls.prove_possession(),
        schnorr: schnorr(pair),
        signer_ca: Fingerprint::new([seed; 32]),
        client_ca: Fingerprint::new([seed + 100; 32]),
        backend: CardBackend::Software,
        entropy: EntropyReport {
            host_bits: 512,
            token_bits: 0,
            officer: None,
        },
        attestation: None,
    };
    sign(card, pair)
}

fn sign(card: Card, pair: &Keypair) -> SignedCard {
    let message = Message::from_digest(card.digest().to_bytes());
    let proof = Secp256k1::new().sign_schnorr_no_aux_rand(&message, pair);
    SignedCard {
        card,
        proof: SchnorrSignature::new(proof.serialize()),
    }
}

fn write(path: &Path, text: &[u8]) {
    files::write(path, text, Readers::All).unwrap();
}

/// A ceremony with keys that the test knows.
struct Hall {
    directory: tempfile::TempDir,
    folder: Folder,
}

impl Hall {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        let officers: BTreeMap<String, PathBuf> = NAMES
            .iter()
            .map(|name| {
                let key = Officer::create(home, name, PASSPHRASE).unwrap();
                ((*name).to_owned(), key.with_extension("pub"))
            })
            .collect();
        let parameters = Parameters::regtest(Regtest {
            chain_id: ChainId::new(121_212),
            genesis_ms: 1_700_000_000_000,
            start_height: BtcHeight::new(101),
            start_hash: bitcoin::BlockHash::from_byte_array([5; 32]),
            recovery_keys: vec![schnorr(&pair(51)), schnorr(&pair(52))],
            members: NAMES
                .iter()
                .map(|name| MemberParameters {
                    name: (*name).to_owned(),
                    fee_recipient: EvmAddress::new([1; 20]),
                })
                .collect(),
            max_blocks_without_pow: 60,
        });
        let text = format!(
            "# <script>alert('x')</script>\n{}",
            toml::to_string_pretty(&parameters).unwrap()
        );
        write(&home.join("parameters.toml"), text.as_bytes());
        let folder = Folder::begin(
            &home.join("ceremony"),
            &home.join("parameters.toml"),
            &officers,
            Nonce::new([3; 32]),
        )
        .unwrap();
        Self { directory, folder }
    }

    fn id(&self) -> CeremonyId {
        self.folder.ceremony().id()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn add(&self, folder: &Folder, card: &SignedCard) -> Result<SignedCard, CeremonyError> {
        let path = self.path("card.json");
        write(&path, &serde_json::to_vec(card).unwrap());
        folder.add_card(&path)
    }

    fn refused(&self, card: &SignedCard) -> String {
        self.add(&self.folder, card).unwrap_err().to_string()
    }

    fn with_cards(self) -> Self {
        for (name, seed) in NAMES.iter().zip(1u8..) {
            self.add(&self.folder, &card(self.id(), name, seed, &pair(seed)))
                .unwrap();
        }
        self
    }

    fn officer(&self, name: &str) -> Officer {
        Officer::open(&self.path(&format!("{name}.key")), PASSPHRASE).unwrap()
    }

    fn confirm(&self, names: &[&str]) {
        for name in names {
            self.folder.confirm(name, &self.officer(name)).unwrap();
        }
    }

    fn step(&self) -> Step {
        self.folder.status().unwrap().next
    }
}

#[test]
fn cards_that_prove_nothing_are_refused() {
    let hall = Hall::new();
    let good = || card(hall.id(), "alice", 1, &pair(1));
    let changed = |change: fn(&mut Card)| {
        let mut signed = good();
        change(&mut signed.card);
        hall.refused(&signed)
    };
    // Changed on the way: an authority, the key that votes.
    assert!(changed(|card| card.client_ca = Fingerprint::new([9; 32])).contains("proof: expected"));
    assert!(
        changed(|card| std::mem::swap(&mut card.signer_ca, &mut card.client_ca))
            .contains("proof: expected")
    );
    assert!(changed(|card| card.bls_possession = good_possession(2)).contains("bls"));
    // Forged whole: signed by a key that is not the card's.
    assert!(
        hall.refused(&sign(good().card, &pair(2)))
            .contains("proof: expected")
    );
    let other = card(CeremonyId::new([8; 32]), "alice", 1, &pair(1));
    assert!(hall.refused(&other).contains("expected one of ceremony"));
    let stranger = card(hall.id(), "mallory", 1, &pair(1));
    assert!(hall.refused(&stranger).contains("mallory"));
    let guessable = Keypair::from_seckey_slice(&Secp256k1::new(), &[4; 32]).unwrap();
    assert!(
        hall.refused(&card(hall.id(), "alice", 1, &guessable))
            .contains("can guess")
    );
    assert_eq!(hall.step(), Step::Card);

    hall.add(&hall.folder, &good()).unwrap();
    // The same again is no change; another one of the same member is.
    hall.add(&hall.folder, &good()).unwrap();
    assert!(
        hall.refused(&card(hall.id(), "alice", 9, &pair(9)))
            .contains("nothing is replaced")
    );
    // What another member has already.
    assert!(
        hall.refused(&card(hall.id(), "bob", 2, &pair(1)))
            .contains("Schnorr key")
    );
    let mut authority = card(hall.id(), "bob", 2, &pair(2)).card;
    authority.client_ca = good().card.signer_ca;
    assert!(
        hall.refused(&sign(authority, &pair(2)))
            .contains("same authority")
    );
    let status = hall.folder.status().unwrap();
    assert_eq!(status.missing, ["bob", "carol", "dave"]);
    let error = hall.folder.assemble().unwrap_err().to_string();
    assert!(error.contains("bob, carol, dave"), "{error}");

    // A recovery key that is a member's.
    for (name, seed) in [("bob", 51), ("carol", 3), ("dave", 4)] {
        hall.add(&hall.folder, &card(hall.id(), name, seed, &pair(seed)))
            .unwrap();
    }
    let error = hall.folder.assemble().unwrap_err().to_string();
    assert!(error.contains("expected keys of no member"), "{error}");
}

fn good_possession(seed: u8) -> alys_protocol::bls::BlsSignature {
    SecretKey::from_seed(&secret(seed))
        .unwrap()
        .prove_possession()
}

#[test]
fn steps_can_be_repeated_and_follow_each_other() {
    let hall = Hall::new().with_cards();
    assert_eq!(hall.step(), Step::Assemble);
    assert!(matches!(hall.folder.close(), Err(CeremonyError::File(_))));
    let derived = hall.folder.assemble().unwrap();
    assert_eq!(
        hall.folder.assemble().unwrap().transcript,
        derived.transcript
    );
    assert!(derived.transcript.descriptor.starts_with("tr("));
    // Killed after the chain spec: the rest follows.
    std::fs::remove_file(hall.folder.path().join("transcript.json")).unwrap();
    assert_eq!(hall.step(), Step::Assemble);
    hall.folder.assemble().unwrap();
    assert_eq!(hall.step(), Step::Confirm);

    hall.confirm(&["alice", "bob"]);
    let error = hall.folder.close().unwrap_err().to_string();
    assert!(error.contains("carol, dave"), "{error}");
    let error = hall
        .folder
        .confirm("carol", &hall.officer("dave"))
        .unwrap_err();
    assert!(matches!(error, CeremonyError::OtherOfficer(_)), "{error}");
    // Killed before the signature was written.
    std::fs::remove_file(hall.folder.path().join("confirmations/alice.toml.minisig")).unwrap();
    assert_eq!(
        hall.folder.status().unwrap().missing,
        ["alice", "carol", "dave"]
    );
    hall.confirm(&NAMES);
    assert_eq!(hall.step(), Step::Close);
    assert!(matches!(hall.folder.live(), Err(CeremonyError::NotClosed)));
    hall.folder.close().unwrap();
    assert_eq!(hall.step(), Step::SpendTest);
    assert!(matches!(
        hall.folder.live(),
        Err(CeremonyError::NoSpendTest)
    ));

    // What changes afterwards is found, whichever file it is.
    for name in [
        "chain.toml",
        "transcript.json",
        "closed.json",
        "confirmations/bob.toml",
        "cards/bob.json",
    ] {
        let path = hall.folder.path().join(name);
        let text = files::read(&path).unwrap();
        let digit = text.rfind(|letter: char| letter.is_ascii_digit()).unwrap();
        let mut other = text.clone();
        other.replace_range(
            digit..=digit,
            if &text[digit..=digit] == "1" {
                "2"
            } else {
                "1"
            },
        );
        write(&path, other.as_bytes());
        assert!(hall.folder.status().is_err(), "{name}");
        write(&path, text.as_bytes());
    }
    assert_eq!(hall.step(), Step::SpendTest);
}

#[test]
fn who_derived_something_else_is_named() {
    let hall = Hall::new().with_cards();
    hall.folder.assemble().unwrap();
    hall.confirm(&["bob", "carol", "dave"]);
    // Alice was given another card of Dave's.
    let elsewhere = hall.path("elsewhere");
    let first = files::read(&hall.folder.path().join("ceremony.json")).unwrap();
    write(&elsewhere.join("ceremony.json"), first.as_bytes());
    let own = Folder::open(&elsewhere).unwrap();
    for (name, seed) in NAMES.iter().zip([1u8, 2, 3, 44]) {
        hall.add(&own, &card(hall.id(), name, seed, &pair(seed)))
            .unwrap();
    }
    own.assemble().unwrap();
    own.confirm("alice", &hall.officer("alice")).unwrap();
    for suffix in ["toml", "toml.minisig"] {
        let name = format!("confirmations/alice.{suffix}");
        let text = files::read(&own.path().join(&name)).unwrap();
        write(&hall.folder.path().join(&name), text.as_bytes());
    }
    let error = hall.folder.close().unwrap_err().to_string();
    for part in [
        "alice: card of dave",
        "alice: deposit_address",
        "alice: descriptor",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(
        !error.contains("bob:") && !error.contains("card of carol"),
        "{error}"
    );
}

/// A deposit and what spends it, signed by the members of these places.
fn spend(hall: &Hall, signers: &[usize]) -> (Transaction, Transaction) {
    let derived = hall.folder.derive().unwrap();
    let wallet = derived.chain.wallet();
    let output = |sats| TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: wallet.script_pubkey().clone(),
    };
    let transaction = |input, output| Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![input],
        output,
    };
    let deposit = transaction(TxIn::default(), vec![output(50_000), output(2_000_000)]);
    let input = TxIn {
        previous_output: OutPoint::new(deposit.compute_txid(), 1),
        ..TxIn::default()
    };
    let paid = TxOut {
        value: Amount::from_sat(600_000),
        script_pubkey: ScriptBuf::new_p2tr_tweaked(
            bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(
                pair(90).x_only_public_key().0,
            ),
        ),
    };
    let unsigned = transaction(input, vec![paid, output(1_390_000)]);
    let sighash = wallet
        .sighashes(&unsigned, &[Sats::new(2_000_000)])
        .unwrap()[0];
    let slots = (0..4).map(|place| {
        signers.contains(&place).then(|| {
            let pair = pair(u8::try_from(place).unwrap() + 1);
            let message = Message::from_digest(sighash);
            Secp256k1::new()
                .sign_schnorr_no_aux_rand(&message, &pair)
                .serialize()
        })
    });
    let signed = wallet.finalise(&unsigned, &[slots.collect()]).unwrap();
    (deposit, signed)
}

#[test]
fn an_address_goes_live_once_its_members_spent_from_it() {
    let hall = Hall::new().with_cards();
    hall.folder.assemble().unwrap();
    hall.confirm(&NAMES);
    let (deposit, good) = spend(&hall, &[0, 1, 3]);
    assert!(matches!(
        hall.folder.spend_test(&deposit, &good),
        Err(CeremonyError::NotClosed)
    ));
    hall.folder.close().unwrap();
    let refused = |deposit: &Transaction, spend: &Transaction| match hall
        .folder
        .spend_test(deposit, spend)
        .unwrap_err()
    {
        CeremonyError::Spend(error) => error,
        other => panic!("{other}"),
    };
    let changed = |change: fn(&mut Transaction)| {
        let mut other = good.clone();
        change(&mut other);
        refused(&deposit, &other)
    };
    // Signatures of another transaction, or of another member's place.
    let error = changed(|spend| spend.output[0].value = Amount::from_sat(600_001));
    assert!(matches!(error, SpendError::Signature { .. }), "{error}");
    let witness = |spend: &Transaction, place: usize, item: Vec<u8>| {
        let mut items = spend.input[0].witness.to_vec();
        items[place] = item;
        items
    };
    let mut fewer = good.clone();
    fewer.input[0].witness = bitcoin::Witness::from_slice(&witness(&good, 0, Vec::new()));
    let error = refused(&deposit, &fewer);
    assert!(
        matches!(error, SpendError::Count { found: 2, .. }),
        "{error}"
    );
    let mut script = good.clone();
    script.input[0].witness = bitcoin::Witness::from_slice(&witness(&good, 4, vec![0x51]));
    assert!(matches!(
        refused(&deposit, &script),
        SpendError::Witness { .. }
    ));
    let mut control = good.input[0].witness.to_vec();
    control[5][40] ^= 1;
    let mut other = good.clone();
    other.input[0].witness = bitcoin::Witness::from_slice(&control);
    assert!(matches!(
        refused(&deposit, &other),
        SpendError::Witness { .. }
    ));
    assert!(matches!(
        changed(|spend| spend.input[0].witness.clear()),
        SpendError::Witness { .. }
    ));
    assert!(matches!(
        changed(|spend| spend.input.clear()),
        SpendError::Nothing
    ));
    // Another deposit, and one that does not pay to the federation.
    let mut foreign = deposit.clone();
    foreign.output[0].value = Amount::from_sat(1);
    assert!(matches!(
        refused(&foreign, &good),
        SpendError::Foreign { .. }
    ));
    let mut elsewhere = deposit.clone();
    elsewhere.output[1].script_pubkey = ScriptBuf::new();
    let mut spends_it = good.clone();
    spends_it.input[0].previous_output.txid = elsewhere.compute_txid();
    assert!(matches!(
        refused(&elsewhere, &spends_it),
        SpendError::Script { .. }
    ));
    assert_eq!(hall.step(), Step::SpendTest);

    let report = hall.folder.spend_test(&deposit, &good).unwrap();
    assert_eq!(report.signed_by, ["alice", "bob", "dave"]);
    assert_eq!(report.not_shown, ["carol"]);
    assert_eq!(report.spent_sats, 2_000_000);
    assert_eq!(
        report
            .outputs
            .iter()
            .map(|paid| paid.federation)
            .collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(hall.step(), Step::Live);
    let live = hall.folder.live().unwrap();
    assert!(live.deposit_address.starts_with("bcrt1p"));
    assert_eq!(hall.folder.live().unwrap(), live);
    assert_eq!(hall.step(), Step::Done);

    let record = hall.path("record.html");
    hall.folder.record(&record).unwrap();
    let page = files::read(&record).unwrap();
    assert!(page.contains("# &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    for foreign in ["<script", "http:", "https:", "src=", "href="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains(&live.deposit_address) && page.contains("alice, bob, dave"));
}

#[test]
fn a_beginning_without_sense_is_refused() {
    let hall = Hall::new();
    let begin = |parameters: &str, officers: &[(&str, &str)]| {
        write(&hall.path("other.toml"), parameters.as_bytes());
        let officers = officers
            .iter()
            .map(|(member, key)| ((*member).to_owned(), hall.path(key)))
            .collect();
        let path = hall.path("other");
        Folder::begin(&path, &hall.path("other.toml"), &officers, Nonce::ZERO)
            .unwrap_err()
            .to_string()
    };
    let good = files::read(&hall.path("parameters.toml")).unwrap();
    let all = [
        ("alice", "alice.pub"),
        ("bob", "bob.pub"),
        ("carol", "carol.pub"),
        ("dave", "dave.pub"),
    ];
    assert!(begin(&good, &all[..3]).contains("officer of each member"));
    let one = [all[0], ("bob", "alice.pub"), all[2], all[3]];
    assert!(begin(&good, &one).contains("another officer for each member"));
    assert!(begin(&good, &[("alice", "alice.key")]).contains("alice.key"));
    // Found before any key is made.
    let low = good.replace("threshold = 3", "threshold = 0");
    assert_ne!(low, good);
    assert!(begin(&low, &all).contains("threshold"));
    let named = good.replace("\"dave\"", "\"../dave\"");
    assert!(begin(&named, &all).contains("letters, digits and dashes"));
    assert!(!hall.path("other").exists());
}

fn provision(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_alys-provision"))
        .arg("ceremony")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// The programs that people run: signers make the keys, and nothing but public values comes out.
#[test]
fn a_rehearsal_by_the_programs_themselves() {
    let home = tempfile::tempdir().unwrap();
    let signer = Path::new(env!("CARGO_BIN_EXE_alys-provision")).with_file_name("alys-signer");
    assert!(signer.is_file(), "build alys-signer first (`make build`)");
    let output = provision(&["rehearse", "--output", "hall"], home.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["next"], "spend-test");
    assert_eq!(status["confirmed"].as_array().unwrap().len(), 4);
    let entropy = &status["cards"]["carol"]["card"]["entropy"];
    assert_eq!(entropy["officer"]["kind"], "dice");
    assert_eq!(entropy["host_bits"], 512);
    // Each member's own derivation gave the same files.
    let read = |name: &str| files::read(&home.path().join("hall").join(name)).unwrap();
    for name in ["chain.toml", "transcript.json"] {
        for member in NAMES {
            assert_eq!(
                read(&format!("{member}/ceremony/{name}")),
                read(&format!("ceremony/{name}"))
            );
        }
    }
    assert!(read("record.html").contains("Signatures to spend"));
    let again = provision(&["status", "--dir", "hall/ceremony"], home.path());
    assert_eq!(again.stdout, output.stdout);
    let live = provision(&["live", "--dir", "hall/ceremony"], home.path());
    assert!(!live.status.success());
    assert!(String::from_utf8_lossy(&live.stderr).contains("must not be published"));
    let twice = provision(&["rehearse", "--output", "hall"], home.path());
    assert!(String::from_utf8_lossy(&twice.stderr).contains("expected a new folder"));
}
