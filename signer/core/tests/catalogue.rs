//! `docs/policy-rules.md` says what the code does.

use alys_protocol::rules::Rule;
use alys_signer_core::catalogue::page;

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy-rules.md")
}

#[test]
fn the_page_is_up_to_date() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let mut file = std::fs::File::create(path()).unwrap();
        std::io::Write::write_all(&mut file, page().as_bytes()).unwrap();
    }
    let found = std::fs::read_to_string(path()).unwrap();
    assert_eq!(
        found,
        page(),
        "run UPDATE_DOCS=1 cargo test -p alys-signer-core --test catalogue"
    );
}

#[test]
fn every_rule_has_a_row() {
    for rule in Rule::ALL {
        let row = format!("| {} | `{rule}` | ", rule.area());
        assert_eq!(page().matches(&row).count(), 1, "{rule}");
    }
}
