//! Backups made and opened, and what is wrong with those that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use alys_backup::{
    Backup, BackupError, Holder, Identity, Made, Marks, Officer, OfficerName, Plan, Recipient,
    SECRET_BYTES, SealedShare, Share, ShareCommand, UnixMillis, hand_over, share_file,
};
use alys_protocol::bls::BlsPublicKeyBytes;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::{BurnSequence, ChainId, MemberId, SideHeight, Slot, StatementNumber};
use alys_signer_core::policy::Iteration;
use alys_signer_core::state::AcceptedPolicy;
use alys_signer_core::watermarks::Watermarks;
use clap::Parser;
use proptest::prelude::*;
use std::path::Path;
use std::sync::OnceLock;
use zeroize::Zeroizing;

const NAMES: [&str; 5] = ["ann", "ben", "cat", "dan", "eve"];
const SECRET: [u8; SECRET_BYTES] = [0xa5; SECRET_BYTES];

fn marks() -> Marks {
    Marks {
        watermarks: Watermarks {
            last_slot: Slot::new(901_000_000),
            lock: SideHeight::new(1200),
            next_burn: BurnSequence::new(17),
        },
        statement: StatementNumber::new(6),
        policy: Some(AcceptedPolicy {
            iteration: Iteration::new(3),
            digest: Digest::new([3; 32]),
        }),
        paused: true,
    }
}

fn plan(threshold: u8, officers: &[Identity]) -> Plan {
    let named = NAMES.iter().zip(officers);
    Plan {
        made: UnixMillis::new(1_700_000_000_000),
        holder: Holder {
            chain_id: ChainId::new(212_121),
            spec: SpecDigest::new([1; 32]),
            member: MemberId::new(2),
            bls: BlsPublicKeyBytes::new([4; 48]),
            schnorr: SchnorrPublicKeyBytes::new([5; 32]),
        },
        marks: marks(),
        threshold,
        officers: named
            .map(|(name, identity)| Officer {
                name: name.parse().unwrap(),
                recipient: identity.recipients()[0].clone(),
            })
            .collect(),
    }
}

struct Case {
    officers: Vec<Identity>,
    made: Made,
}

impl Case {
    fn new(threshold: u8, count: usize) -> Self {
        let officers: Vec<_> = (0..count).map(|_| Identity::generate()).collect();
        let made = Backup::make(&plan(threshold, &officers), &SECRET).unwrap();
        Self { officers, made }
    }

    fn share(&self, place: usize) -> Share {
        let sealed = self.made.shares[place].1.as_str().as_bytes();
        Share::open(sealed, &self.officers[place]).unwrap()
    }

    fn open(&self, places: &[usize]) -> Result<Zeroizing<[u8; SECRET_BYTES]>, BackupError> {
        let shares: Vec<_> = places.iter().map(|place| self.share(*place)).collect();
        self.made.backup.open(&shares).map(|opened| opened.secret)
    }
}

/// Three of five.
fn case() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| Case::new(3, 5))
}

/// A stranger's, so that nothing shows by accident.
fn other_case() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| Case::new(3, 5))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_of_m_open_and_no_fewer(order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(), count in 0usize..=5) {
        let given = &order[..count];
        match case().open(given) {
            Ok(secret) => {
                prop_assert!(count >= 3);
                prop_assert_eq!(*secret, SECRET);
            }
            Err(BackupError::TooFew { threshold: 3, found }) => prop_assert!(count < 3 && found == count),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// Any change of any byte of a sealed share is noticed, and none opens into another share.
    #[test]
    fn a_damaged_share_does_not_open(place in 0usize..5, at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut text = case().made.shares[place].1.as_str().as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] ^= flip;
        match Share::open(&text, &case().officers[place]) {
            Err(BackupError::Sealed(_)) => {}
            // White space after the armour, and the case of nothing else, may differ.
            Ok(share) => prop_assert_eq!(case().made.backup.check_share(&share).unwrap().to_string(), NAMES[place]),
            Err(error) => prop_assert!(false, "{}", error),
        }
        let cut = at;
        let text = case().made.shares[place].1.as_str().as_bytes();
        if text[cut..].iter().any(|byte| !byte.is_ascii_whitespace()) {
            prop_assert!(Share::open(&text[..cut], &case().officers[place]).is_err());
        }
    }

    /// Any change of any byte of the backup: it is none, it is the same, or it does not open.
    #[test]
    fn a_changed_backup_does_not_open(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut text = case().made.backup.to_text().unwrap().into_bytes();
        let at = at.index(text.len());
        text[at] ^= flip;
        let Ok(changed) = Backup::parse(&text) else { return Ok(()) };
        if changed == case().made.backup {
            return Ok(());
        }
        let shares: Vec<_> = [1, 2, 3].map(|place| case().share(place)).into();
        prop_assert!(changed.open(&shares).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Backup::parse(&bytes).is_err());
        prop_assert!(Share::open(&bytes, &case().officers[0]).is_err());
        prop_assert!(Identity::parse(&bytes, || Ok(Zeroizing::new(String::new()))).is_err());
    }
}

#[test]
fn a_backup_goes_through_its_file_and_says_whose_it_is() {
    let text = case().made.backup.to_text().unwrap();
    let read = Backup::parse(text.as_bytes()).unwrap();
    assert_eq!(read, case().made.backup);
    assert_eq!(read.digest().unwrap(), case().made.backup.digest().unwrap());
    assert_eq!(read.header().marks, marks());
    let names: Vec<_> = read
        .header()
        .shares
        .iter()
        .map(|share| share.officer.to_string())
        .collect();
    assert_eq!(names, NAMES);
    let shares: Vec<_> = [4, 0, 2].map(|place| case().share(place)).into();
    let opened = read.open(&shares).unwrap();
    assert_eq!(*opened.secret, SECRET);
    let officers: Vec<_> = opened.officers.iter().map(OfficerName::to_string).collect();
    assert_eq!(officers, ["ann", "cat", "eve"]);
    let shown = format!("{opened:?} {shares:?} {:?}", case().officers[0]);
    assert!(
        !shown.contains("165") && !shown.contains("AGE-SECRET"),
        "{shown}"
    );
}

/// What anybody may see has neither the keys nor a share in it.
#[test]
fn the_folder_is_public() {
    let text = case().made.backup.to_text().unwrap();
    for share in case().made.shares.iter().map(|(_, sealed)| sealed) {
        assert!(
            share
                .as_str()
                .starts_with("-----BEGIN AGE ENCRYPTED FILE-----")
        );
    }
    assert!(!text.contains("a5a5a5"));
    for (place, (_, sealed)) in case().made.shares.iter().enumerate() {
        for (other, identity) in case().officers.iter().enumerate() {
            let opened = Share::open(sealed.as_str().as_bytes(), identity);
            assert_eq!(opened.is_ok(), place == other, "{place} by {other}");
        }
    }
}

#[test]
fn a_wrong_share_is_named() {
    let backup = &case().made.backup;
    let share = |place| case().share(place);
    let said = |shares: &[Share]| backup.open(shares).unwrap_err().to_string();

    let twice = said(&[share(0), share(1), share(1), share(2)]);
    assert_eq!(twice, "the share of officer ben was given twice");

    // As if it had come from the same folder.
    let foreign = other_case().share(1);
    let found = said(&[share(0), foreign, share(2)]);
    let ids = [&case().made, &other_case().made].map(|made| made.backup.header().id.to_string());
    assert!(ids.iter().all(|id| found.contains(id)), "{found}");

    // An officer who puts the value of one share under the name of another, as a forged plaintext.
    let forged = |number: u8, value: u8| {
        let id: Digest = ids[0].parse().unwrap();
        let mut plain = vec![1];
        plain.extend(id.as_bytes());
        plain.push(number);
        plain.extend([value; 32]);
        forge(&plain)
    };
    assert_eq!(
        said(&[share(0), share(1), forged(3, 7).unwrap()]),
        "the share of officer cat is not the one that was made for this backup"
    );
    for number in [0, 6, 255] {
        let found = said(&[share(0), share(1), forged(number, 7).unwrap()]);
        assert_eq!(
            found,
            format!("expected a share numbered 1 to 5, found {number}")
        );
    }
    for plain in [&[][..], &[1; 65], &[1; 67], &[2; 66], &[1; 5000]] {
        let error = forge(plain).unwrap_err();
        assert!(
            matches!(error, BackupError::NoShare { expected: 66 }),
            "{error}"
        );
    }
}

/// Encrypts something to a new identity and opens it as a share.
fn forge(plain: &[u8]) -> Result<Share, BackupError> {
    let identity = Identity::generate();
    let recipient: age::x25519::Recipient = identity.recipients()[0].to_string().parse().unwrap();
    let sealed = age::encrypt(&recipient, plain).unwrap();
    Share::open(&sealed, &identity)
}

#[test]
fn header_and_keys_belong_together() {
    let text = case().made.backup.to_text().unwrap();
    let json = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let shares: Vec<_> = [1, 2, 3].map(|place| case().share(place)).into();
    let other = serde_json::to_value(&other_case().made.backup).unwrap();
    for (pointer, value) in [
        ("/header/holder/member", 3.into()),
        ("/header/marks/watermarks/last_slot", 1.into()),
        ("/header/marks/paused", false.into()),
        ("/header/made", 1.into()),
        ("/header/threshold", 2.into()),
        ("/header/shares/0/officer", "zoe".into()),
        ("/nonce", other["nonce"].clone()),
        ("/ciphertext", other["ciphertext"].clone()),
    ] {
        let mut changed = json.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let changed = Backup::parse(changed.to_string().as_bytes()).unwrap();
        let error = changed.open(&shares).unwrap_err();
        assert!(matches!(error, BackupError::Changed), "{pointer}: {error}");
    }
    let name = |name: &str| serde_json::Value::from(name);
    for (pointer, value, says) in [
        ("/header/format", name("alys-backup/2"), "alys-backup/1"),
        (
            "/header/threshold",
            1.into(),
            "expected a threshold of 2 to 5 officers, found 1",
        ),
        ("/header/threshold", 6.into(), "found 6"),
        ("/header/threshold", 256.into(), "u8"),
        (
            "/header/shares",
            serde_json::json!([]),
            "expected 2 to 32 officers, found 0",
        ),
        (
            "/header/shares/0/officer",
            name("ben"),
            "officer ben is named twice",
        ),
        ("/header/shares/0/officer", name("../ann"), "officer's name"),
        (
            "/header/shares/0/recipient",
            json["header"]["shares"][1]["recipient"].clone(),
            "same recipient",
        ),
        (
            "/header/shares/0/recipient",
            name("age1xyz"),
            "age recipient",
        ),
        ("/header/holder/more", name("x"), "unknown field"),
        ("/ciphertext", name("0x00"), "80 bytes of hex"),
    ] {
        let mut changed = json.clone();
        match changed.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => changed["header"]["holder"]["more"] = value,
        }
        let error = Backup::parse(changed.to_string().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{pointer}: {error}");
    }
}

#[test]
fn who_may_have_shares() {
    let officers: Vec<_> = (0..3).map(|_| Identity::generate()).collect();
    let make = |plan: &Plan| {
        Backup::make(plan, &SECRET)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(make(&plan(1, &officers)).contains("threshold of 2 to 3 officers, found 1"));
    assert!(make(&plan(4, &officers)).contains("found 4"));
    assert!(make(&plan(2, &officers[..1])).contains("expected 2 to 32 officers, found 1"));
    let mut twice = plan(2, &officers);
    twice.officers[2].recipient = twice.officers[0].recipient.clone();
    assert!(make(&twice).contains("officers ann and cat have the same recipient"));
    let recipient = officers[0].recipients()[0].to_string();
    for wrong in ["", "Ann", "a b", "a/b", "..", "a".repeat(33).as_str(), "ä"] {
        let error = format!("{wrong}={recipient}")
            .parse::<Officer>()
            .unwrap_err();
        assert!(matches!(error, BackupError::Name(_)), "{error}");
    }
    assert!(
        recipient
            .parse::<Officer>()
            .unwrap_err()
            .to_string()
            .contains("NAME=RECIPIENT")
    );
    // The wrong half of a key pair is not said again.
    let (_, file) = Identity::generate_with_file();
    let secret = file.lines().last().unwrap();
    for text in [
        secret.to_owned(),
        format!("ann={secret}"),
        format!("{secret}=ann"),
    ] {
        let error = text.parse::<Officer>().unwrap_err().to_string();
        assert!(error.contains("counts as disclosed"), "{error}");
        assert!(!error.contains(&secret[15..30]), "{error}");
    }
}

#[test]
fn an_identity_may_have_a_passphrase() {
    let (identity, file) = Identity::generate_with_file();
    let mut recipient = age::scrypt::Recipient::new("tide-lantern".to_owned().into());
    recipient.set_work_factor(4);
    let never = || panic!("nobody needs a passphrase for it");
    assert_eq!(
        Identity::parse(file.as_bytes(), never)
            .unwrap()
            .recipients(),
        identity.recipients()
    );
    for sealed in [
        age::encrypt(&recipient, file.as_bytes()).unwrap(),
        age::encrypt_and_armor(&recipient, file.as_bytes())
            .unwrap()
            .into_bytes(),
    ] {
        let open = |passphrase: &str| {
            Identity::parse(&sealed, || Ok(Zeroizing::new(passphrase.to_owned())))
        };
        assert_eq!(
            open("tide-lantern").unwrap().recipients(),
            identity.recipients()
        );
        assert!(matches!(open("other"), Err(BackupError::Identity(_))));
    }
    // What it costs is looked at before it is paid. A header alone: nobody has to have paid for it.
    let costly = "age-encryption.org/v1\n-> scrypt 8HKCoxWZNTI6FBB5fhIfNQ 21\nJ5Mq2mDcLmMVMJRHPyhqoJr5zGxWXcjuwGC0vSzzOcQ\n\
                  --- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n0123456789abcdef";
    let error =
        Identity::parse(costly.as_bytes(), || Ok(Zeroizing::new("x".to_owned()))).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("work"), "{error}");
    let error = Identity::parse(b"# no key\n", never).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    share: ShareCommand,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test's files need not survive a power loss"
)]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn an_officer_hands_over_the_own_share() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (own, file) = Identity::generate_with_file();
    let officers = [own, Identity::generate()];
    let made = Backup::make(&plan(2, &officers), &SECRET).unwrap();
    write(&path("backup.json"), &made.backup.to_text().unwrap());
    for (officer, sealed) in &made.shares {
        write(&folder.path().join(share_file(officer)), sealed.as_str());
    }
    write(&path("key.txt"), &file);
    let there = Identity::generate();
    let run = |to: &str, output: &str| {
        let arguments = [
            "share",
            "--backup",
            folder.path().to_str().unwrap(),
            "--identity",
        ];
        let key = path("key.txt");
        let output = path(output);
        let rest = [
            key.to_str().unwrap(),
            "--to",
            to,
            "--output",
            output.to_str().unwrap(),
        ];
        let cli = Cli::parse_from(arguments.iter().chain(&rest));
        let mut out = Vec::new();
        let done = cli.share.run(|| panic!("it has no passphrase"), &mut out);
        done.map(|()| String::from_utf8(out).unwrap())
    };
    let to = there.recipients()[0].to_string();
    let said = run(&to, "ann.age").unwrap();
    assert!(
        said.contains("member 2 on chain 212121; 2 of 2 officers"),
        "{said}"
    );
    assert!(said.contains(&to), "{said}");
    let ann = Share::read(&path("ann.age"), &there).unwrap();
    assert_eq!(made.backup.check_share(&ann).unwrap().to_string(), "ann");
    assert!(matches!(
        Share::read(&path("ann.age"), &officers[0]),
        Err(BackupError::At { .. })
    ));
    assert!(
        matches!(run(&to, "ann.age"), Err(BackupError::Io { .. })),
        "it exists"
    );
    let error = run("age1", "other.age").unwrap_err();
    assert!(matches!(error, BackupError::Recipient { .. }), "{error}");

    let ben = hand_over(
        &made.backup,
        folder.path(),
        &officers[1],
        &there.recipients()[0],
    );
    let ben = Share::open(ben.unwrap().as_str().as_bytes(), &there).unwrap();
    assert_eq!(*made.backup.open(&[ben, ann]).unwrap().secret, SECRET);

    let stranger = hand_over(&made.backup, folder.path(), &there, &there.recipients()[0]);
    let error = stranger.unwrap_err().to_string();
    assert!(
        error.contains("an officer of this backup (ann, ben), found one with age1"),
        "{error}"
    );

    // Somebody put another backup's share there; somebody a very long file.
    let share = folder.path().join(share_file(&made.shares[0].0));
    let again = Backup::make(&plan(2, &officers), &SECRET).unwrap();
    write(&share, again.shares[0].1.as_str());
    let to = &there.recipients()[0];
    let hand = |identity| {
        hand_over(&made.backup, folder.path(), identity, to)
            .unwrap_err()
            .to_string()
    };
    let error = hand(&officers[0]);
    assert!(
        error.contains("share-ann.age: expected a share of backup 0x"),
        "{error}"
    );
    write(&share, &"x".repeat(8193));
    assert!(hand(&officers[0]).contains("at most 8192 bytes"));
    write(&path("backup.json"), &" ".repeat(65537));
    let error = Backup::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("at most 65536 bytes"), "{error}");
}

/// What stock `age` writes is read, too: it does not know our armour's details, nor our bytes.
#[test]
fn a_share_encrypted_again_by_stock_age_counts() {
    let there = Identity::generate();
    let sealed = case().made.shares[0].1.as_str();
    let (key, recipient): (&Identity, &Recipient) = (&case().officers[0], &there.recipients()[0]);
    let share = Share::open(sealed.as_bytes(), key).unwrap();
    let again: SealedShare = share.seal(recipient).unwrap();
    // Binary, as `age -r` without -a has it.
    let mut binary = Vec::new();
    std::io::Read::read_to_end(
        &mut age::armor::ArmoredReader::new(again.as_str().as_bytes()),
        &mut binary,
    )
    .unwrap();
    assert!(binary.starts_with(b"age-encryption.org/v1"));
    let opened = Share::open(&binary, &there).unwrap();
    case().made.backup.check_share(&opened).unwrap();
}

const RELEASES: &[&str] = &["0.1"];

/// A backup is opened years later: by this program, whatever release made it. The keys are of this test only.
#[test]
fn backups_of_each_release_open() {
    for release in RELEASES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/releases")
            .join(release);
        let backup = Backup::read(&folder).unwrap();
        let there = Identity::generate();
        let shares = ["ann", "cat"].map(|name| {
            let identity = Identity::read(&folder.join(format!("{name}.txt")), || {
                panic!("it has none")
            });
            let to = &there.recipients()[0];
            let sealed = hand_over(&backup, &folder, &identity.unwrap(), to).unwrap();
            Share::open(sealed.as_str().as_bytes(), &there).unwrap()
        });
        assert_eq!(*backup.open(&shares).unwrap().secret, SECRET, "{release}");
        assert_eq!(backup.header().marks, marks());
        assert_eq!(
            backup.digest().unwrap().to_string(),
            "0xcd0ea12264987756e532c8cd9412fadc6ae524a3a5f6039abf79420546837f50",
            "{release}"
        );
    }
}
