//! The way of an operator, by the program itself: authorities, certificates, parameters, configurations, cards, chain
//! spec; then what reads the files reads them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test are outside what clippy knows as one"
)]

use alys_protocol::bls::SecretKey;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::MemberId;
use alys_provision::config::{
    CLIENT_CA_FILE, CLIENT_CRL_FILE, NODE_FILE, SIGNER_CA_FILE, SIGNER_FILE,
};
use alys_provision::{MemberCard, check};
use alys_signer::config::{Config, Overrides};
use alys_signer::policy_file::ReadPolicy;
use alys_signer_client::{Role, pem};
use bitcoin::secp256k1::{Keypair, Secp256k1};
use rustls::pki_types::ServerName;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

fn program(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alys-provision"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn succeed(folder: &Path, arguments: &str) -> String {
    let output = program(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn refuse(folder: &Path, arguments: &str) -> String {
    let output = program(folder, arguments);
    assert!(!output.status.success(), "{arguments}");
    String::from_utf8(output.stderr).unwrap()
}

/// With `input` on descriptor 0.
fn with_input(folder: &Path, arguments: &str, input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_alys-provision"))
        .args(arguments.split_whitespace())
        .args(["--passphrase-fd", "0"])
        .current_dir(folder)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn succeed_with(folder: &Path, arguments: &str, input: &str) -> String {
    let output = with_input(folder, arguments, input);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const PASSPHRASE: &str = "marble-thicket-77\n";

/// Keys of three officers and a policy that nobody has signed.
fn officers(home: &Path) {
    for name in ["ann", "ben", "cat"] {
        let create = format!("officer create --name {name} --output officers");
        succeed_with(home, &create, PASSPHRASE);
        assert_eq!(mode(home.join(format!("officers/{name}.key"))), 0o600);
    }
    succeed(
        home,
        "policy template --parameters parameters.toml --output officers/policy.toml",
    );
    let wrong = with_input(
        home,
        "officer sign --key officers/ann.key officers/policy.toml",
        "marble-thicket-78\n",
    );
    assert!(!wrong.status.success());
    assert!(!home.join("officers/policy.toml.ann.minisig").exists());
}

/// A policy beside the one before, a statement, and a file that is neither.
fn officers_see_what_they_sign(home: &Path) {
    let text = std::fs::read_to_string(home.join("officers/policy.toml")).unwrap();
    let looser = text
        .replace("iteration = 1", "iteration = 2")
        .replace("slot_horizon_slots = 2", "slot_horizon_slots = 3");
    assert_ne!(looser, text);
    let write = |name: &str, text: &str| {
        let path = home.join("officers").join(name);
        alys_provision::files::write_new(
            &path,
            text.as_bytes(),
            alys_provision::files::Readers::All,
        )
        .unwrap();
    };
    write("second.toml", &looser);
    let said = succeed_with(
        home,
        "officer sign --key officers/ben.key --before officers/policy.toml officers/second.toml",
        PASSPHRASE,
    );
    assert!(
        said.contains("slot_horizon_slots: 2 -> 3 (looser)"),
        "{said}"
    );
    let pause = "chain_id = 7\nmember = 2\nnumber = 9\nact = 'pause'\n# not a pause at all\n";
    write("pause.toml", pause);
    let said = succeed_with(
        home,
        "officer sign --key officers/ben.key officers/pause.toml",
        PASSPHRASE,
    );
    assert!(
        said.contains("member 2 of chain 7") && said.contains("PAUSE"),
        "{said}"
    );
    assert!(home.join("officers/pause.toml.ben.minisig").exists());
    write("letter.toml", "dear = 'signer'\n");
    for (file, why) in [
        ("letter.toml", "expected a policy or a statement"),
        ("second.toml --before officers/pause.toml", "to compare"),
    ] {
        let sign = format!("officer sign --key officers/cat.key officers/{file}");
        let refused = with_input(home, &sign, PASSPHRASE);
        assert!(!refused.status.success());
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains(why), "{error}");
    }
    assert!(!home.join("officers/letter.toml.cat.minisig").exists());
    assert!(!home.join("officers/second.toml.cat.minisig").exists());
}

fn write_card(path: &Path, seed: u8) {
    let secp = Secp256k1::new();
    let schnorr = Keypair::from_seckey_slice(&secp, &[seed; 32]).unwrap();
    let bls = SecretKey::from_seed(&[seed; 32]).unwrap();
    // The daemon's own type, so that the two are known to agree.
    let card = alys_signer::keys::MemberCard {
        bls: bls.public_key().to_bytes(),
        bls_possession: bls.prove_possession(),
        schnorr: SchnorrPublicKeyBytes::new(schnorr.x_only_public_key().0.serialize()),
    };
    let text = serde_json::to_vec(&card).unwrap();
    alys_provision::files::write_new(path, &text, alys_provision::files::Readers::All).unwrap();
}

fn mode(path: PathBuf) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const PARAMETERS: &str = "parameters regtest --start-height 101 \
    --start-hash 0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206 --recovery-card officer-1.json \
    --recovery-card officer-2.json --max-blocks-without-pow 40 --output parameters.toml \
    --member alice=0x0101010101010101010101010101010101010101 --member bob=0x0202020202020202020202020202020202020202 \
    --member carol=0x0303030303030303030303030303030303030303 --member dave=0x0404040404040404040404040404040404040404";
const ASSEMBLE: &str = "assemble --parameters parameters.toml --output chain.toml --card dave=dave.json \
    --card alice=alice.json --card bob=bob.json --card carol=carol.json";

fn cards(folder: &Path) {
    let names = ["alice", "bob", "carol", "dave", "officer-1", "officer-2"];
    for (name, seed) in names.into_iter().zip(1u8..) {
        write_card(&folder.join(format!("{name}.json")), seed);
    }
}

#[test]
fn from_cards_to_a_chain_that_signers_accept() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    cards(home);
    succeed(home, PARAMETERS);
    let report: serde_json::Value = serde_json::from_str(&succeed(home, ASSEMBLE)).unwrap();
    assert_eq!(report["quorum"], 3);
    assert_eq!(report["threshold"], 3);
    // Ids follow the parameters, whatever the order of the cards.
    assert_eq!(report["members"][3], "dave");
    let again: serde_json::Value =
        serde_json::from_str(&succeed(home, "check chain.toml")).unwrap();
    assert_eq!(again, report);

    // What was agreed on does not change by accident.
    assert!(refuse(home, ASSEMBLE).contains("chain.toml"));
    assert!(refuse(home, PARAMETERS).contains("parameters.toml"));

    // The signer's own code reads its configuration, the policy fits the chain, and its officers signed it.
    officers(home);
    let signer = "configs signer --officer officers/ann.pub --officer officers/ben.pub --officer officers/cat.pub \
        --listen 127.0.0.1:0 --listen-file listen --output signer";
    succeed(home, signer);
    let with_token = "configs signer --officer officers/ann.pub --listen 127.0.0.1:0 --output token-signer \
        --token-module /usr/lib/token.so --token-uri pkcs11:token=alys;object=seal?pin-source=file:/etc/alys/pin";
    succeed(home, with_token);
    let path = home.join("token-signer").join(SIGNER_FILE);
    let config = Config::load(&path, &Overrides::default()).unwrap();
    let token = config.token.unwrap();
    assert_eq!(token.uri.token.as_deref(), Some("alys"));
    let folder = home.join("signer");
    let config = Config::load(&folder.join(SIGNER_FILE), &Overrides::default()).unwrap();
    assert_eq!(config.chain_spec, folder.join("chain.toml"));
    assert_eq!(config.listen_file, Some(folder.join("listen")));
    let chain = check::read(&home.join("chain.toml")).unwrap();
    assert_eq!(chain.spec().mining.max_blocks_without_pow, 40);
    let officers = config.officers.trusted().unwrap();
    assert_eq!(officers.officers().threshold(), 2);
    let policy = ReadPolicy::read(&home.join("officers/policy.toml")).unwrap();
    let error = policy.verify(&chain, &officers).unwrap_err().to_string();
    assert!(error.contains("rule quorum"), "{error}");
    for name in ["ann", "cat"] {
        let sign = format!("officer sign --key officers/{name}.key officers/policy.toml");
        succeed_with(home, &sign, PASSPHRASE);
        assert!(
            home.join(format!("officers/policy.toml.{name}.minisig"))
                .exists()
        );
    }
    assert_eq!(policy.verify(&chain, &officers).unwrap().officers.len(), 2);
    assert_eq!(
        policy.file.policy,
        alys_signer_core::Policy::of_chain(&chain)
    );
    officers_see_what_they_sign(home);
    let card = MemberCard::read(&home.join("carol.json")).unwrap();
    let signer =
        alys_signer_core::Signer::new(chain, policy.file.policy, &card.bls, &card.schnorr).unwrap();
    assert_eq!(signer.member(), MemberId::new(2));
}

#[test]
fn a_changed_spec_and_a_foreign_card_are_refused_in_words() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    cards(home);
    succeed(home, PARAMETERS);
    let error = refuse(home, &ASSEMBLE.replace("dave=dave.json", "dave=alice.json"));
    assert!(error.contains("\"alice\" and \"dave\""), "{error}");
    let error = refuse(home, &ASSEMBLE.replace("dave.json", "parameters.toml"));
    assert!(error.contains("expected a member card"), "{error}");
    assert!(!home.join("chain.toml").exists());
    succeed(home, ASSEMBLE);
    let text = std::fs::read_to_string(home.join("chain.toml")).unwrap();
    let changed = text.replace("gas_limit = 30000000", "gas_limit = 40000000");
    assert_ne!(changed, text);
    alys_provision::files::write_new(
        &home.join("changed.toml"),
        changed.as_bytes(),
        alys_provision::files::Readers::All,
    )
    .unwrap();
    let error = refuse(home, "check changed.toml");
    assert!(
        error.contains("execution.genesis_hash: expected"),
        "{error}"
    );
}

#[test]
fn a_nodes_configuration_names_what_it_was_given() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let member = "configs node --member 2 --signer 127.0.0.1:7700 --bitcoin http://127.0.0.1:18443 \
        --bitcoin-cookie bitcoin/.cookie --rpc 127.0.0.1:0 --evm 127.0.0.1:0 --output node";
    succeed(home, member);
    let text = std::fs::read_to_string(home.join("node").join(NODE_FILE)).unwrap();
    let config: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(config["member"].as_integer(), Some(2));
    // The daemon's own type for this table.
    let client: alys_signer_client::ClientConfig = config["signer"].clone().try_into().unwrap();
    assert_eq!(client.address, "127.0.0.1:7700");
    assert_eq!(client.key, Path::new("tls/node.key"));
    let observer =
        "configs node --bitcoin http://127.0.0.1:18443 --bitcoin-cookie c --output other";
    succeed(home, observer);
    let error = refuse(home, &observer.replace("--bitcoin-cookie c", ""));
    assert!(error.contains("--bitcoin-cookie"), "{error}");
}

/// Certificates of one member in `home`, its signer's and its node's folders side by side.
fn certificates(home: &Path) {
    for ca in ["signer-ca", "client-ca"] {
        succeed(home, &format!("ca create --ca {ca} --name {ca}-of-alice"));
    }
    succeed(
        home,
        "ca issue-signer --ca signer-ca --output signer/tls --name signer.alys.internal --name 127.0.0.1",
    );
    succeed(
        home,
        "ca issue-client --ca client-ca --role node --name node-of-alice --output node/tls",
    );
    succeed(
        home,
        &format!("ca export --ca client-ca --output signer/tls/{CLIENT_CA_FILE}"),
    );
    succeed(
        home,
        &format!("ca export --ca signer-ca --output node/tls/{SIGNER_CA_FILE}"),
    );
}

#[test]
fn keys_are_private_and_nothing_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    certificates(home);
    for key in [
        "signer-ca/ca.key",
        "client-ca/ca.key",
        "signer/tls/signer.key",
        "node/tls/node.key",
    ] {
        assert_eq!(mode(home.join(key)), 0o600, "{key}");
    }
    let before = std::fs::read(home.join("signer-ca/ca.pem")).unwrap();
    assert!(refuse(home, "ca create --ca signer-ca --name again").contains("ca.key"));
    assert_eq!(
        std::fs::read(home.join("signer-ca/ca.pem")).unwrap(),
        before
    );
    // A key of another authority beside the certificate.
    std::fs::copy(home.join("client-ca/ca.key"), home.join("signer-ca/ca.key")).unwrap();
    let error = refuse(home, "ca issue-signer --ca signer-ca --output elsewhere");
    assert!(
        error.contains("expected the key of the certificate"),
        "{error}"
    );
    let error = refuse(
        home,
        "ca issue-client --ca client-ca --role root --name x --output y",
    );
    assert!(error.contains("node, officer or auditor"), "{error}");
}

/// What the daemon says of the client that shakes hands with `client`'s files.
async fn shake(home: &Path, client: &str) -> Result<Role, String> {
    let tls = alys_signer::config::TlsConfig {
        certificate: home.join("signer/tls/signer.pem"),
        key: home.join("signer/tls/signer.key"),
        client_ca: home.join("signer/tls").join(CLIENT_CA_FILE),
        client_crl: Some(home.join("signer/tls").join(CLIENT_CRL_FILE)),
        key_exchange: alys_signer_client::KeyExchange::Hybrid,
    };
    let transport = alys_signer::tls::Files::new(tls).read().unwrap();
    let folder = home.join(client);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(pem::roots(&folder.join(SIGNER_CA_FILE)).unwrap())
        .with_client_auth_cert(
            pem::certificates(&folder.join("node.pem")).unwrap(),
            pem::private_key(&folder.join("node.key")).unwrap(),
        )
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let (connected, accepted) = tokio::join!(
        connector.connect(name, near),
        transport.acceptor.accept(far)
    );
    connected.map_err(|error| error.to_string())?;
    let accepted = accepted.map_err(|error| transport.explain(&error))?;
    let (_, connection) = accepted.get_ref();
    let identity = transport.identify(connection);
    identity
        .map(|identity| identity.role)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_signer_knows_its_node_by_these_certificates_and_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    certificates(home);
    assert_eq!(shake(home, "node/tls").await, Ok(Role::Node));
    // A client of an authority of the same name that the signer does not trust.
    succeed(home, "ca create --ca other-ca --name client-ca-of-alice");
    succeed(
        home,
        "ca issue-client --ca other-ca --role node --name node-of-alice --output other",
    );
    std::fs::copy(
        home.join("node/tls").join(SIGNER_CA_FILE),
        home.join("other").join(SIGNER_CA_FILE),
    )
    .unwrap();
    let error = shake(home, "other").await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "{error}");
    // A signer's certificate shows no client, even from the authority of clients.
    succeed(home, "ca issue-signer --ca client-ca --output server");
    for (from, to) in [
        ("server/signer.pem", "server/node.pem"),
        ("server/signer.key", "server/node.key"),
    ] {
        std::fs::rename(home.join(from), home.join(to)).unwrap();
    }
    std::fs::copy(
        home.join("node/tls").join(SIGNER_CA_FILE),
        home.join("server").join(SIGNER_CA_FILE),
    )
    .unwrap();
    let error = shake(home, "server").await.unwrap_err();
    assert!(
        error.contains("ExtendedKeyUsage") || error.contains("extended key usage"),
        "{error}"
    );
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_its_successor_is_not() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    certificates(home);
    let renew = "ca renew --ca client-ca --certificate node/tls/node.pem --output next";
    succeed(home, renew);
    assert!(refuse(home, renew).contains("next/node.pem"));
    let revoke = "ca revoke --ca client-ca --certificate node/tls/node.pem --reason superseded";
    assert!(succeed(home, revoke).contains("List 2 is in client-ca/crl.pem"));
    // It has effect where it is copied to.
    assert_eq!(shake(home, "node/tls").await, Ok(Role::Node));
    std::fs::copy(
        home.join("client-ca/crl.pem"),
        home.join("signer/tls").join(CLIENT_CRL_FILE),
    )
    .unwrap();
    let error = shake(home, "node/tls").await.unwrap_err();
    assert!(error.contains("certificate is revoked"), "{error}");
    std::fs::copy(
        home.join("node/tls").join(SIGNER_CA_FILE),
        home.join("next").join(SIGNER_CA_FILE),
    )
    .unwrap();
    assert_eq!(shake(home, "next").await, Ok(Role::Node));

    let list = succeed(home, "ca list --ca client-ca --json");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let rows = list["certificates"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "what was refused has left no trace");
    assert_eq!(rows[0]["state"], "revoked");
    assert_eq!(rows[0]["reason"], "superseded");
    assert_eq!(rows[0]["renewed_by"], rows[1]["serial"]);
    assert_eq!(
        (&rows[1]["state"], &rows[1]["role"]),
        (&"valid".into(), &"node".into())
    );
    assert_eq!(list["list"]["number"], "2");
    let text = succeed(home, "ca list --ca client-ca --expiring 500");
    assert!(
        text.contains("revoked") && text.contains("expiring"),
        "{text}"
    );
    assert!(succeed(home, "ca crl --ca client-ca --days 10").contains("List 3"));

    for (arguments, why) in [
        (revoke, "not revoked"),
        (
            "ca revoke --ca client-ca --serial 0102",
            "none of that number",
        ),
        ("ca revoke --ca client-ca --serial xyz", "hex digits"),
        ("ca revoke --ca client-ca", "--certificate"),
        (
            "ca revoke --ca client-ca --certificate signer/tls/signer.pem",
            "another",
        ),
        (
            "ca renew --ca client-ca --serial 0102 --output y",
            "none of that number",
        ),
        (
            "ca renew --ca client-ca --certificate client-ca/ca.key --output y",
            "expected",
        ),
        ("ca list --ca node", "node/ca.pem"),
        ("ca crl --ca client-ca --days 0", "found 0"),
    ] {
        let error = refuse(home, arguments);
        assert!(error.contains(why), "{arguments}: {error}");
    }
}
