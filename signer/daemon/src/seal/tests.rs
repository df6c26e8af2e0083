use super::passphrase::Kdf;
use super::*;

/// Weak on purpose: the tests are about the file, not about guessing.
const WEAK: Kdf = Kdf {
    argon2id_memory_kib: 8,
    argon2id_iterations: 1,
    argon2id_lanes: 1,
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

fn sealed() -> (tempfile::TempDir, PathBuf, SoftwareKeys) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let keys = SoftwareKeys::generate().unwrap();
    seal(&path, &keys, &passphrase("correct horse"), WEAK).unwrap();
    (directory, path, keys)
}

#[test]
fn the_right_passphrase_opens_it_and_no_other() {
    let (_directory, path, keys) = sealed();
    let opened = open(&path, &passphrase("correct horse")).unwrap();
    assert_eq!(opened.to_secret_bytes(), keys.to_secret_bytes());
    assert_eq!(card(&path).unwrap(), keys.card());
    let wrong = open(&path, &passphrase("correct horsf"));
    assert!(matches!(wrong, Err(SealError::Open { .. })));
}

#[test]
fn the_secret_is_not_in_the_file() {
    let (_directory, path, keys) = sealed();
    let text = std::fs::read_to_string(&path).unwrap();
    for scalar in keys.to_secret_bytes().chunks(32) {
        assert!(!text.contains(&hex::DisplayHex::to_lower_hex_string(scalar)));
    }
}

#[test]
fn keys_are_never_overwritten() {
    let (_directory, path, keys) = sealed();
    let again = seal(&path, &keys, &passphrase("other"), WEAK);
    assert!(matches!(again, Err(SealError::Exists { .. })));
    assert!(open(&path, &passphrase("correct horse")).is_ok());
}

#[test]
fn every_change_of_the_header_is_noticed() {
    let (_directory, path, _keys) = sealed();
    let original = std::fs::read_to_string(&path).unwrap();
    let other = SoftwareKeys::generate().unwrap().card();
    let parsed: serde_json::Value = serde_json::from_str(&original).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = parsed.clone();
        change(&mut value);
        write_durably(&path, value.to_string().as_bytes(), Existing::Replace).unwrap();
        open(&path, &passphrase("correct horse")).map(|_| ())
    };
    assert!(with(&|_| ()).is_ok(), "white space does not matter");
    let bls = serde_json::to_value(other.bls).unwrap();
    assert!(matches!(
        with(&|file| file["header"]["card"]["bls"] = bls.clone()),
        Err(SealError::Open { .. })
    ));
    assert!(matches!(
        with(&|file| file["header"]["kdf"]["argon2id_iterations"] = 2.into()),
        Err(SealError::Open { .. })
    ));
    assert!(matches!(
        with(&|file| file["header"]["version"] = 3.into()),
        Err(SealError::Format { .. })
    ));
    assert!(matches!(
        with(&|file| file["header"]["kdf"]["argon2id_memory_kib"] = u32::MAX.into()),
        Err(SealError::Parameters)
    ));
    assert!(matches!(
        with(&|file| file["extra"] = 1.into()),
        Err(SealError::Format { .. })
    ));
}
