use super::*;
use core::time::Duration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(parameters, key),
        }
    }

    fn list(&self, number: u64, revoked: &[u64]) -> CertificateRevocationListDer<'static> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let parameters = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 3, 1),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).unwrap().into()
    }
}

/// Unix time of 2026-03-01, when the lists end.
const END: u64 = 1_772_323_200;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn verify(
    lists: &[&CertificateRevocationListDer<'static>],
    authorities: &[&Authority],
) -> Result<RevocationLists, RevocationError> {
    let authorities: Vec<_> = authorities
        .iter()
        .map(|authority| authority.certificate.clone())
        .collect();
    let lists = lists.iter().map(|list| (*list).clone()).collect();
    RevocationLists::verify(lists, &authorities, at(END - 1))
}

#[test]
fn each_authority_has_one_list_and_nobody_else_has_any() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let (first, second) = (one.list(7, &[]), two.list(1, &[3, 4]));
    let lists = verify(&[&first, &second], &[&one, &two]).unwrap();
    assert_eq!(lists.next_update(), Some(at(END)));
    let reports: Vec<ListReport> = lists
        .iter()
        .map(|list| list.report(at(END - 86_400)))
        .collect();
    assert_eq!(reports[0].number, "7");
    assert_eq!(reports[0].next_update, "2026-03-01T00:00:00Z");
    assert_eq!(
        (reports[1].authority.as_str(), reports[1].days_left),
        ("two", 1)
    );
    let name = |name: &str| name.to_owned();
    for (lists, authorities, error) in [
        (
            vec![&first],
            vec![&one, &two],
            RevocationError::Missing(name("two")),
        ),
        (vec![], vec![&one], RevocationError::Missing(name("one"))),
        (
            vec![&first, &second],
            vec![&one],
            RevocationError::Stranger(name("two")),
        ),
        (
            vec![&first, &first],
            vec![&one],
            RevocationError::Twice(name("one")),
        ),
    ] {
        assert_eq!(verify(&lists, &authorities), Err(error));
    }
    // Another authority that took the name.
    let impostor = Authority::new("one");
    let forged = impostor.list(8, &[]);
    assert_eq!(
        verify(&[&forged], &[&one]),
        Err(RevocationError::Signature(name("one")))
    );
}

#[test]
fn a_list_past_its_date_is_refused() {
    let one = Authority::new("one");
    let late = RevocationLists::verify(
        vec![one.list(1, &[])],
        std::slice::from_ref(&one.certificate),
        at(END),
    );
    assert_eq!(
        late.unwrap_err().to_string(),
        "the list of authority \"one\" was to be followed by 2026-03-01T00:00:00Z at the latest: expected a newer one"
    );
}

#[test]
fn a_changed_or_cut_list_is_refused() {
    let one = Authority::new("one");
    let whole = one.list(1, &[5]);
    for length in 0..whole.len() {
        let cut = CertificateRevocationListDer::from(whole[..length].to_vec());
        let error = verify(&[&cut], &[&one]).unwrap_err();
        assert!(
            matches!(error, RevocationError::Malformed(_)),
            "{length}: {error}"
        );
    }
    for place in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[place] ^= 1;
        let changed = CertificateRevocationListDer::from(bytes);
        assert!(verify(&[&changed], &[&one]).is_err(), "{place}");
    }
}

#[test]
fn numbers_never_go_back() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let lists = |number, revoked: &[u64]| verify(&[&one.list(number, revoked)], &[&one]).unwrap();
    let mut seen = SeenLists::default();
    let list = lists(300, &[]);
    seen.take(&list).unwrap();
    seen.take(&list).unwrap();
    let rival = seen.take(&lists(300, &[1])).unwrap_err();
    assert!(rival.to_string().contains("found another of that number"));
    let older = seen.take(&lists(9, &[1])).unwrap_err().to_string();
    assert!(
        older.contains("expected number 300 or higher, found 9"),
        "{older}"
    );
    // Where one of several is too old, the others are not taken either.
    let both = |first, second| {
        verify(
            &[&one.list(first, &[]), &two.list(second, &[])],
            &[&one, &two],
        )
        .unwrap()
    };
    let newest = both(301, 5);
    seen.take(&newest).unwrap();
    assert!(seen.take(&both(302, 4)).is_err());
    seen.take(&newest).unwrap();
}

#[test]
fn a_large_number_is_read_and_written() {
    let number = |bytes: &[u8]| ListNumber::of_integer(bytes).unwrap();
    assert_eq!(number(&[1, 0]).to_string(), "256");
    let large = number(&[0x7f; 20]);
    assert!(large > number(&[0xff; 8]));
    assert_eq!(large.to_string(), format!("0x{}", "7f".repeat(20)));
    assert_eq!(ListNumber::of_integer(&[1; 21]), None);
}
