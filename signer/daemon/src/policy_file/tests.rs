use super::*;
use alys_protocol::units::Sats;
use alys_signer_core::admin::OfficersError;
use alys_signer_core::clock::Seconds;
use alys_signer_core::policy::{Policy, diff, explain};
use minisign::KeyPair;
use std::io::Cursor;
use tempfile::TempDir;

const POLICY: &str = include_str!("../../tests/configs/policy-1.toml");

struct Folder {
    directory: TempDir,
    officers: Vec<KeyPair>,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            directory: tempfile::tempdir().unwrap(),
            officers: (0..3)
                .map(|_| KeyPair::generate_unencrypted_keypair().unwrap())
                .collect(),
        };
        folder.write("policy.toml", POLICY);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        crate::files::write_durably(&path, text.as_bytes(), crate::files::Existing::Replace)
            .unwrap();
    }

    fn sign(&self, name: &str, officer: &KeyPair, text: &str) {
        let signature = minisign::sign(
            Some(&officer.pk),
            &officer.sk,
            Cursor::new(text),
            Some("trusted"),
            None,
        )
        .unwrap();
        self.write(
            &format!("policy.toml.{name}.minisig"),
            &signature.into_string(),
        );
    }

    fn config(&self) -> OfficersConfig {
        OfficersConfig {
            threshold: 2,
            keys: self
                .officers
                .iter()
                .map(|pair| pair.pk.to_base64())
                .collect(),
        }
    }

    fn signers(&self) -> Result<usize, String> {
        let officers = self.config().trusted().unwrap();
        ReadPolicy::read(&self.path("policy.toml"))
            .and_then(|policy| {
                let signers = policy.signers(&officers)?;
                policy.refused(admin::quorum(officers.officers(), &signers.officers))?;
                Ok(signers.officers.len())
            })
            .map_err(|error| error.to_string())
    }
}

#[test]
fn k_of_m_officers_sign_a_policy() {
    let folder = Folder::new();
    let error = folder.signers().unwrap_err();
    assert!(
        error.contains("rule quorum: expected signatures of 2 of 3 officers, found 0"),
        "{error}"
    );
    folder.sign("alice", &folder.officers[0], POLICY);
    // The same officer under another name.
    folder.sign("bob", &folder.officers[0], POLICY);
    assert!(folder.signers().unwrap_err().contains("found 1"));
    folder.sign("bob", &folder.officers[2], POLICY);
    assert_eq!(folder.signers(), Ok(2));
}

#[test]
fn every_signature_beside_the_file_must_be_an_officers_and_verify() {
    let folder = Folder::new();
    folder.sign("alice", &folder.officers[0], POLICY);
    folder.sign("bob", &folder.officers[1], POLICY);
    assert_eq!(folder.signers(), Ok(2));
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
    folder.sign("mallory", &stranger, POLICY);
    let error = folder.signers().unwrap_err();
    assert!(
        error.contains("mallory.minisig") && error.contains("no officer's"),
        "{error}"
    );
    folder.sign(
        "mallory",
        &folder.officers[2],
        &POLICY.replace("iteration = 1", "iteration = 2"),
    );
    assert!(folder.signers().unwrap_err().contains("does not verify"));
    folder.write(
        "policy.toml.mallory.minisig",
        "untrusted comment: x\nnonsense\n",
    );
    assert!(folder.signers().unwrap_err().contains("mallory"));
    folder.write("policy.toml.mallory.minisig", &"x".repeat(5_000));
    assert!(folder.signers().unwrap_err().contains("at most 4096 bytes"));
}

#[test]
fn one_changed_byte_of_the_policy_voids_the_signatures() {
    let folder = Folder::new();
    folder.sign("alice", &folder.officers[0], POLICY);
    folder.sign("bob", &folder.officers[1], POLICY);
    folder.write("policy.toml", &format!("{POLICY} "));
    assert!(folder.signers().unwrap_err().contains("does not verify"));
}

#[test]
fn an_officer_is_a_key_whatever_number_it_has() {
    let folder = Folder::new();
    let mut config = folder.config();
    let mut bytes =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &config.keys[0])
            .unwrap();
    bytes[5] ^= 1;
    config.keys[1] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
    let error = config.trusted().unwrap_err();
    assert!(
        matches!(
            error,
            OfficersConfigError::Officers(OfficersError::Twice(_))
        ),
        "{error}"
    );
    for text in [
        "",
        "RW",
        "untrusted comment: minisign public key",
        &"A".repeat(56),
    ] {
        config.keys[1] = text.to_owned();
        assert!(
            matches!(config.trusted(), Err(OfficersConfigError::Key { .. })),
            "{text}"
        );
    }
}

#[test]
fn unknown_keys_other_formats_and_senseless_limits_are_refused() {
    let folder = Folder::new();
    for (from, to, words) in [
        (
            "cap_window_sats",
            "cap_window_btc",
            "unknown field `cap_window_btc`",
        ),
        ("max_fee_sats = ", "max_fee_sats = -", "max_fee_sats"),
        ("alys-policy/1", "alys-policy/2", "alys-policy/1"),
        (
            "iteration = 1",
            "iteration = 1\nwarn_only = true",
            "warn_only",
        ),
        (
            "window_seconds = 86400",
            "window_seconds = 60",
            "at least 21600",
        ),
        (
            "[policy]\n",
            "[policy]\ndestinations = { allow = [\"nowhere\"] }\n",
            "nowhere",
        ),
        (
            "[policy]\n",
            "[policy]\ndestinations = { only = [\"p2tr\"] }\n",
            "only",
        ),
    ] {
        let changed = POLICY.replacen(from, to, 1);
        assert_ne!(changed, POLICY, "{from}");
        folder.write("policy.toml", &changed);
        let error = ReadPolicy::read(&folder.path("policy.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    folder.write("policy.toml", &"#".repeat(300_000));
    let error = ReadPolicy::read(&folder.path("policy.toml")).unwrap_err();
    assert!(error.to_string().contains("262144 bytes"), "{error}");
    assert!(ReadPolicy::read(&folder.path("none.toml")).is_err());
}

fn policy(change: impl FnOnce(&mut PolicyFile)) -> PolicyFile {
    let mut file = toml::from_str(POLICY).unwrap();
    change(&mut file);
    file
}

#[test]
fn a_policy_survives_its_own_writing() {
    let file = policy(|file| {
        file.policy.destinations.deny = vec!["p2sh".parse().unwrap()];
    });
    let text = toml::to_string_pretty(&file).unwrap();
    assert_eq!(toml::from_str::<PolicyFile>(&text).unwrap(), file);
}

#[test]
fn explain_says_it_in_words() {
    let text = explain(&policy(|_| ()), None);
    for sentence in [
        "Policy 1 for chain 262144.",
        "A single payment is at most 1 BTC (100000000 sat).",
        "In any day at most 12.48 BTC (1248000000 sat) leave the wallet, fees included, in at most 100 payments.",
        "at a rate of at most 200 sat/vB",
        "A payment of 0.5 BTC (50000000 sat) or more is held until 1800 blocks",
        "In any day deposits mint at most 20 BTC",
        "Payments may go anywhere",
    ] {
        assert!(text.contains(sentence), "{sentence}\n{text}");
    }
    let text = explain(
        &policy(|file| {
            file.policy.destinations.allow = Some(vec!["p2tr".parse().unwrap()]);
            file.policy.hold_from_sats = Sats::ZERO;
            file.policy.window_seconds = Seconds::new(21_601);
        }),
        None,
    );
    for sentence in [
        "Payments go only to: p2tr.",
        "Every payment is held",
        "In any 21601 seconds",
    ] {
        assert!(text.contains(sentence), "{sentence}\n{text}");
    }
}

#[test]
fn diff_names_each_change_and_its_direction() {
    let old = policy(|_| ());
    assert_eq!(diff(&old, &old).len(), 1, "only the iteration");
    let new = policy(|file| {
        file.iteration = alys_signer_core::policy::Iteration::new(2);
        let Policy {
            cap_window_sats,
            hold_blocks,
            window_seconds,
            destinations,
            ..
        } = &mut file.policy;
        *cap_window_sats = Sats::new(1_300_000_000);
        *hold_blocks = 1;
        *window_seconds = Seconds::new(43_200);
        destinations.deny = vec!["p2sh".parse().unwrap()];
    });
    assert_eq!(
        diff(&old, &new),
        [
            "iteration: 1 -> 2",
            "window_seconds: 86400 -> 43200 (looser: the same limit for less time)",
            "cap_window_sats: 1248000000 -> 1300000000 (looser)",
            "hold_blocks: 1800 -> 1 (looser)",
            "destinations.deny: + p2sh (tighter)",
        ]
    );
    let back = diff(&new, &old);
    assert!(back[0].contains("must be higher"), "{back:?}");
    assert!(
        back.contains(&"destinations.deny: - p2sh (looser)".to_owned()),
        "{back:?}"
    );
    let other = policy(|file| file.chain_id = alys_protocol::units::ChainId::new(1));
    assert!(diff(&old, &other)[0].contains("different chains"));
}

/// N3: a limit was documented in one unit and fed in another. Here the name says the unit, and the core's type is the unit.
#[test]
fn n3_every_value_has_its_unit_in_its_name() {
    let units = [
        "_slots",
        "_sats_per_kvb",
        "_sats",
        "_seconds",
        "_payments",
        "_blocks",
        "_target",
        "_confirmations",
        "_headers",
    ];
    let table: toml::Table = toml::from_str(POLICY).unwrap();
    let keys: Vec<&String> = table["policy"].as_table().unwrap().keys().collect();
    assert_eq!(keys.len(), 16);
    for key in keys {
        assert!(units.iter().any(|unit| key.ends_with(unit)), "{key}");
    }
}

/// Keys and signatures by another program: minisign 0.11 in C.
#[test]
fn minisigns_own_signatures_count() {
    let config = OfficersConfig {
        threshold: 2,
        keys: vec![
            "RWTX6856oTQognUkzQjXtvPPKaNtiJj7w1J4uSyd9BWAuHsZ5DaG2rfH".to_owned(),
            "RWQPvlZgS06RqyW//TM2r3ahgoD/5MsuBWdk92gBYx6ORiTbFs/hXMJs".to_owned(),
        ],
    };
    let officers = config.trusted().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/policy-1.toml");
    let signers = ReadPolicy::read(&path).unwrap().signers(&officers).unwrap();
    assert!(admin::quorum(officers.officers(), &signers.officers).is_ok());
    // Over the bare file (minisign -l): an officer's tools may offer it for other purposes, so it does not count.
    let folder = Folder::new();
    folder.write(
        "policy.toml.ann.minisig",
        "untrusted comment: signature from minisign secret key\n\
         RWTX6856oTQoghHJbPYt2vJDXEeHfFpjVR6WX8pQM5o7fBuR5mj6d/yA3LQp5WbuAQoaCDG2h6QTnaZYmvENpAw/QrMO457g0QQ=\n\
         trusted comment: old\n\
         IlhlRQKJvHvEPwBBmoIEH3oP/WJiFRQOVDTJs0LRziJ24lFSDnli+ajl54ZiRbVzFCWEWxIi93v4DPQMh8R/DA==\n",
    );
    let policy = ReadPolicy::read(&folder.path("policy.toml")).unwrap();
    let error = policy.signers(&officers).unwrap_err().to_string();
    assert!(error.contains("sign its hash"), "{error}");
}

proptest::proptest! {
    /// A7: whatever lies beside a policy, no panic, and no signature that counts.
    #[test]
    fn a7_changed_signatures_never_panic_nor_count(
        places in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 32u8..127), 1..4),
    ) {
        let folder = Folder::new();
        folder.sign("alice", &folder.officers[0], POLICY);
        let path = folder.path("policy.toml.alice.minisig");
        let honest = std::fs::read(&path).unwrap();
        let mut text = honest.clone();
        for (place, byte) in places {
            let place = place.index(text.len());
            text[place] = byte;
        }
        let text = String::from_utf8(text).unwrap();
        folder.write("policy.toml.alice.minisig", &text);
        let officers = folder.config().trusted().unwrap();
        let policy = ReadPolicy::read(&folder.path("policy.toml")).unwrap();
        if policy.signers(&officers).is_ok() {
            // The untrusted comment is nobody's word.
            let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(lines(&text), lines(&String::from_utf8(honest).unwrap()));
        }
    }
}
