use super::listing::{Listing, State};
use super::register::{REGISTER_FILE, Reason};
use super::revocation::LIST_FILE;
use super::*;
use alys_signer_client::revocation::{RevocationError, RevocationLists, SeenLists};
use rustls::pki_types::CertificateRevocationListDer;
use std::path::Path;

#[test]
fn what_is_issued_names_its_role_and_no_key_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    CertificateAuthority::create(folder.path(), "clients", 2).unwrap();
    let authority = CertificateAuthority::load(folder.path()).unwrap();
    for role in Role::ALL {
        let issued = authority.issue_client(role, "somebody", 1).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        assert_eq!(Role::of_certificate(&der), Ok(role));
        assert!(issued.key.contains("PRIVATE KEY"));
        assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
    }
    assert!(!format!("{authority:?}").contains("PRIVATE KEY"));
}

#[test]
fn values_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), "signers", 2).unwrap();
    let refused = |result: Result<Credentials, CaError>| result.unwrap_err().to_string();
    assert!(refused(authority.issue_signer(&["a b"], 1)).contains("DNS name or an IP address"));
    assert!(refused(authority.issue_signer::<&str>(&[], 1)).contains("found none"));
    assert!(refused(authority.issue_signer(&["127.0.0.1"], 0)).contains("found 0"));
    let outlives = refused(authority.issue_signer(&["127.0.0.1"], 3));
    assert!(
        outlives.contains("until the authority itself ends, found 3"),
        "{outlives}"
    );
    let long = "x".repeat(65);
    assert!(refused(authority.issue_client(Role::Node, &long, 1)).contains("1 to 64"));
    authority
        .issue_signer(&["::1", "signer.example.org"], 1)
        .unwrap();
}

#[test]
fn a_folder_of_something_else_is_no_authority() {
    let folder = tempfile::tempdir().unwrap();
    let missing = CertificateAuthority::load(folder.path()).unwrap_err();
    assert!(missing.to_string().contains(CERTIFICATE_FILE), "{missing}");
    CertificateAuthority::create(folder.path(), "signers", 1).unwrap();
    files::write(&folder.path().join(CERTIFICATE_FILE), b"x", Readers::All).unwrap();
    let other = CertificateAuthority::load(folder.path()).unwrap_err();
    assert!(
        other.to_string().contains("expected a PEM certificate"),
        "{other}"
    );
}

/// An authority that has issued a node's and a signer's certificate; their numbers.
fn of_two(folder: &Path) -> (CertificateAuthority, Serial, Serial) {
    let authority = CertificateAuthority::create(folder, "all", 400).unwrap();
    let serial = |issued: &Credentials| {
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        Certificate::read(&der).unwrap().serial
    };
    let node = serial(&authority.issue_client(Role::Node, "a node", 100).unwrap());
    let signer = authority.issue_signer(&["signer.example.org", "::1"], 20);
    let signer = serial(&signer.unwrap());
    (authority, node, signer)
}

fn listing(folder: &Path, days_from_now: u64) -> Listing {
    let now = UnixTime::now().as_secs() + days_from_now * 86_400;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    Listing::read(folder, listing::EXPIRING_DAYS, now).unwrap()
}

#[test]
fn the_register_knows_what_was_issued_and_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, node, signer) = of_two(folder.path());
    let list = listing(folder.path(), 0);
    let states = |list: &Listing| {
        list.certificates
            .iter()
            .map(|row| row.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&list), [State::Valid, State::Expiring]);
    assert_eq!(list.certificates[0].serial, node);
    assert!((99..=100).contains(&list.certificates[0].days_left));
    assert_eq!(list.list.as_ref().unwrap().number, "1");
    assert_eq!(list.list_problem, None);
    assert_eq!(
        states(&listing(folder.path(), 50)),
        [State::Valid, State::Expired]
    );
    assert!(
        listing(folder.path(), 368)
            .list_problem
            .unwrap()
            .contains("ca crl")
    );

    // The successor has the same names and another key, and the old one goes on.
    let renewed = authority.renew(&signer, 300).unwrap();
    let der = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
    let parsed = webpki::EndEntityCert::try_from(&der).unwrap();
    for name in ["signer.example.org", "::1"] {
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        parsed.verify_is_valid_for_subject_name(&name).unwrap();
    }
    let renewed = Certificate::read(&der).unwrap().serial;
    let list = listing(folder.path(), 0);
    assert_eq!(states(&list), [State::Valid, State::Expiring, State::Valid]);
    assert_eq!(list.certificates[1].renewed_by, Some(renewed));

    authority.revoke(&node, Reason::KeyCompromise, 30).unwrap();
    let list = listing(folder.path(), 0);
    assert_eq!(list.certificates[0].state, State::Revoked);
    assert_eq!(list.certificates[0].reason, Some(Reason::KeyCompromise));
    assert_eq!(list.list.as_ref().unwrap().number, "2");
    let text = list.to_string();
    assert!(
        text.contains("revoked") && text.contains(&node.to_string()),
        "{text}"
    );
    for result in [
        authority.revoke(&node, Reason::Unspecified, 30).map(|_| ()),
        authority.renew(&node, 30).map(|_| ()),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("not revoked"), "{error}");
    }
    let unknown: Serial = "0102".parse().unwrap();
    for result in [
        authority
            .revoke(&unknown, Reason::Unspecified, 30)
            .map(|_| ()),
        authority.renew(&unknown, 30).map(|_| ()),
    ] {
        assert!(matches!(result, Err(CaError::Unknown { .. })), "{result:?}");
    }
    // Refused without a trace: the list is the second still.
    assert_eq!(listing(folder.path(), 0).list.unwrap().number, "2");
}

#[test]
fn only_what_the_authority_issued_is_revoked_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (authority, ..) = of_two(&path("own"));
    let (other, ..) = of_two(&path("other"));
    let issued = other.issue_client(Role::Node, "theirs", 10).unwrap();
    issued.write(&path("theirs"), "node").unwrap();
    for file in ["theirs/node.pem", "own/ca.pem"] {
        let error = authority.revoke_file(&path(file), Reason::Unspecified, 30);
        assert!(matches!(error, Err(CaError::Foreign { .. })), "{error:?}");
    }
    let error = authority.revoke_file(&path("theirs/node.key"), Reason::Unspecified, 30);
    assert!(matches!(error, Err(CaError::Client(_))), "{error:?}");
    // One from before there were registers.
    std::fs::remove_file(path("other").join(REGISTER_FILE)).unwrap();
    assert!(listing(&path("other"), 0).certificates.is_empty());
    let list = other.revoke_file(&path("theirs/node.pem"), Reason::Superseded, 30);
    assert_eq!(list.unwrap().number().to_string(), "1");
}

/// What a signer that has `before` makes of the authority's newest list.
fn taken(folder: &Path, before: &mut SeenLists) -> Result<(), RevocationError> {
    let authority = CertificateDer::from_pem_file(folder.join(CERTIFICATE_FILE)).unwrap();
    let list = CertificateRevocationListDer::from_pem_file(folder.join(LIST_FILE)).unwrap();
    let lists = RevocationLists::verify(vec![list], &[authority], UnixTime::now())?;
    before.take(&lists)
}

#[test]
fn a_crash_between_register_and_list_loses_no_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, node, signer) = of_two(folder.path());
    let mut signers = SeenLists::default();
    taken(folder.path(), &mut signers).unwrap();
    let file = folder.path().join(LIST_FILE);
    let first = std::fs::read(&file).unwrap();
    authority.revoke(&node, Reason::Unspecified, 30).unwrap();
    // As if the machine had stopped after the register was written.
    files::write(&file, &first, Readers::All).unwrap();
    let problem = listing(folder.path(), 0).list_problem.unwrap();
    assert!(problem.contains("expected list 2, found 1"), "{problem}");
    authority.revoke(&signer, Reason::Unspecified, 30).unwrap();
    taken(folder.path(), &mut signers).unwrap();
    assert_eq!(listing(folder.path(), 0).list.unwrap().number, "3");
    let register = std::fs::read_to_string(folder.path().join(REGISTER_FILE)).unwrap();
    assert_eq!(register.matches("\"revoked\"").count(), 2);
    // The list of before is no way back.
    files::write(&file, &first, Readers::All).unwrap();
    let error = taken(folder.path(), &mut signers).unwrap_err();
    assert!(matches!(error, RevocationError::Older { .. }), "{error}");
}

#[test]
fn a_register_that_was_changed_by_hand_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, node, _) = of_two(folder.path());
    let path = folder.path().join(REGISTER_FILE);
    let whole = std::fs::read_to_string(&path).unwrap();
    for (text, line) in [
        (format!("{whole}{{\"act\":\"forgotten\"}}\n"), "line 4"),
        (
            whole.replace("\"role\":\"node\"", "\"role\":\"root\""),
            "line 2",
        ),
        (whole.get(..whole.len() - 9).unwrap().to_owned(), "line 3"),
    ] {
        files::write(&path, text.as_bytes(), Readers::Owner).unwrap();
        let error = authority
            .revoke(&node, Reason::Unspecified, 30)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(line) && error.contains(REGISTER_FILE),
            "{error}"
        );
        assert!(authority.issue_client(Role::Node, "x", 1).is_err());
        assert!(Listing::read(folder.path(), 30, UnixTime::now()).is_err());
    }
}

#[test]
fn acts_at_the_same_time_are_all_in_the_register() {
    let folder = tempfile::tempdir().unwrap();
    CertificateAuthority::create(folder.path(), "all", 400).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let folder = folder.path();
            scope.spawn(move || {
                let authority = CertificateAuthority::load(folder).unwrap();
                for number in 0..5 {
                    let name = format!("{thread} {number}");
                    authority.issue_client(Role::Auditor, &name, 10).unwrap();
                }
            });
        }
    });
    let names: std::collections::BTreeSet<String> = listing(folder.path(), 0)
        .certificates
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names.len(), 20);
}
