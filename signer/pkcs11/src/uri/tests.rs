use super::*;

fn parse(text: &str) -> Result<TokenUri, UriError> {
    text.parse()
}

#[test]
fn every_attribute_is_read_and_written_back() {
    let text = "pkcs11:token=The%20token;serial=DECC0401648;manufacturer=Snake%20Oil,%20Inc.;model=1.0;slot-id=327;\
                object=my-key%3B;id=%69%95%00x;type=secret-key?pin-source=file:/etc/alys/p%69n";
    let uri = parse(text).unwrap();
    assert_eq!(uri.token.as_deref(), Some("The token"));
    assert_eq!(uri.serial.as_deref(), Some("DECC0401648"));
    assert_eq!(uri.manufacturer.as_deref(), Some("Snake Oil, Inc."));
    assert_eq!(uri.model.as_deref(), Some("1.0"));
    assert_eq!(uri.slot_id, Some(327));
    assert_eq!(uri.object.as_deref(), Some("my-key;"));
    assert_eq!(uri.id.as_deref(), Some(&[0x69, 0x95, 0, b'x'][..]));
    assert_eq!(uri.kind, Some(ObjectKind::SecretKey));
    assert_eq!(uri.pin_source, Some(PathBuf::from("/etc/alys/pin")));
    assert_eq!(parse(&uri.to_string()), Ok(uri));
    assert_eq!(parse("pkcs11:"), Ok(TokenUri::default()));
}

#[test]
fn pin_sources_are_absolute_files() {
    for good in ["/a/pin", "file:/a/pin", "file:///a/pin", "file%3A/a/pin"] {
        let uri = parse(&format!("pkcs11:?pin-source={good}")).unwrap();
        assert_eq!(uri.pin_source, Some(PathBuf::from("/a/pin")), "{good}");
    }
    for bad in [
        "pin",
        "file:pin",
        "|/bin/pin",
        "http://a/pin",
        "file:",
        "/a%00",
    ] {
        let error = parse(&format!("pkcs11:?pin-source={bad}")).unwrap_err();
        assert!(
            matches!(
                error,
                UriError::Value {
                    name: "pin-source",
                    ..
                }
            ),
            "{bad}: {error}"
        );
    }
}

#[test]
fn what_is_not_taken_is_named() {
    let long = format!("pkcs11:token={}", "a".repeat(MAX_URI_BYTES));
    for (text, expected) in [
        ("pkcs12:token=a", UriError::Scheme),
        ("token=a", UriError::Scheme),
        (long.as_str(), UriError::Length(MAX_URI_BYTES + 13)),
        ("pkcs11:token=a;token=a", UriError::Duplicate("token")),
        (
            "pkcs11:?pin-source=/a&pin-source=/a",
            UriError::Duplicate("pin-source"),
        ),
        ("pkcs11:token=a?pin-value=1234", UriError::PinValue),
        ("pkcs11:pin-value=1234", UriError::PinValue),
        (
            "pkcs11:token=a;library-version=3",
            UriError::Unknown("library-version".into()),
        ),
        (
            "pkcs11:pin-source=/a",
            UriError::Unknown("pin-source".into()),
        ),
        (
            "pkcs11:?module-path=/a",
            UriError::Unknown("module-path".into()),
        ),
        ("pkcs11:token=a;", UriError::Form),
        ("pkcs11:token", UriError::Form),
        (
            "pkcs11:token=a b",
            UriError::Character {
                name: "token",
                found: ' ',
            },
        ),
        (
            "pkcs11:token=ä",
            UriError::Character {
                name: "token",
                found: 'ä',
            },
        ),
        (
            "pkcs11:token=a/b",
            UriError::Character {
                name: "token",
                found: '/',
            },
        ),
        ("pkcs11:token=%4", UriError::Percent("token")),
        ("pkcs11:token=%zz", UriError::Percent("token")),
        ("pkcs11:token=%+1", UriError::Percent("token")),
    ] {
        assert_eq!(parse(text), Err(expected), "{text}");
    }
    for text in [
        "pkcs11:token=",
        "pkcs11:token=%ff",
        "pkcs11:slot-id=+1",
        "pkcs11:slot-id=",
        "pkcs11:slot-id=18446744073709551616",
        "pkcs11:type=cert",
    ] {
        assert!(matches!(parse(text), Err(UriError::Value { .. })), "{text}");
    }
}

#[test]
fn a_misplaced_pin_is_not_repeated() {
    let error = parse("pkcs11:token=a;pin-value=4711").unwrap_err();
    assert!(!error.to_string().contains("4711"));
}
