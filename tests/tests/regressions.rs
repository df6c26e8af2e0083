//! What the sources themselves must keep: each defect that was found in this field has tests named after it, and each
//! hashing tag is in the one list.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

use alys_protocol::hash;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of others' and of generated files.
const SKIPPED: [&str; 5] = ["target", "node_modules", "out", "cache", ".git"];

/// The workspace's files with these endings, and what they hold.
fn sources(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = entry.file_name().into_string().unwrap();
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file()
                && endings.iter().any(|ending| name.ends_with(ending))
                // This file quotes what it looks for.
                && !path.ends_with(file!())
            {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Names of functions under a test attribute, except ignored ones.
fn rust_tests(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[") {
            let path = attribute.split(['(', ']', ' ']).next().unwrap_or_default();
            is_test |= path == "test" || path.ends_with("::test");
            is_ignored |= path == "ignore";
        } else if line.is_empty() || line.starts_with("//") {
        } else {
            let name = line
                .split_once("fn ")
                .map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or_default());
            names.extend(name.filter(|_| is_test && !is_ignored));
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// Names of the functions that Foundry runs.
fn solidity_tests(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("function "))
        .filter_map(|line| line.split('(').next())
        .filter(|name| name.starts_with("test") || name.starts_with("invariant"))
        .collect()
}

/// The number that a text starts with, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// The rows that a test's name names: `a3_a4_...` in Rust, `testA4...` in Solidity.
fn rows(name: &str) -> BTreeSet<u32> {
    let mut rows = BTreeSet::new();
    if name.starts_with("test") || name.starts_with("invariant") {
        for (place, _) in name.match_indices('A') {
            let row = number(&name[place + 1..]);
            rows.extend(row.map(|(row, _)| row));
        }
    }
    // Words of lower case, so that a name with `_a4_` in it counts wherever that stands.
    for word in name.split('_') {
        let row = word.strip_prefix('a').and_then(number);
        rows.extend(row.filter(|(_, rest)| rest.is_empty()).map(|(row, _)| row));
    }
    rows
}

/// Every row of the list of defects in Alys itself, A1 to A14.
#[test]
fn every_regression_has_a_test_of_its_name() {
    let mut tests: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (path, text) in sources(&[".rs", ".sol"]) {
        let names = if path.extension().is_some_and(|ending| ending == "sol") {
            solidity_tests(&text)
        } else {
            rust_tests(&text)
        };
        for name in names {
            for row in rows(name) {
                let place = format!("{}: {name}", path.display());
                tests.entry(row).or_default().push(place);
            }
        }
    }
    let missing: Vec<String> = (1..=14)
        .filter(|row| !tests.contains_key(row))
        .map(|row| format!("A{row}"))
        .collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
    let unknown: Vec<_> = tests.range(15..).collect();
    assert!(
        unknown.is_empty(),
        "rows that the list does not have: {unknown:?}"
    );
}

#[test]
fn the_reader_of_sources_counts_tests_only() {
    let text = "
        #[test]
        fn a1_counts() {}
        fn a2_is_a_helper() {}
        #[tokio::test(flavor = \"multi_thread\")]
        // Why.
        #[allow(clippy::unwrap_used)]
        async fn a3_a4_counts() {}
        #[test]
        #[ignore = \"not yet\"]
        fn a5_is_ignored() {}
        #[cfg(test)]
        mod a6_is_a_module {}
        proptest! {
            #[test]
            fn a7_counts(number in 0..7) {}
        }
    ";
    assert_eq!(rust_tests(text), ["a1_counts", "a3_a4_counts", "a7_counts"]);
    let text =
        "function testA4Counts() external {\n function helperA5() {\n function testFuzzA6() {";
    assert_eq!(solidity_tests(text), ["testA4Counts", "testFuzzA6"]);
    let named = |name| rows(name).into_iter().collect::<Vec<_>>();
    assert_eq!(named("a3_a4_counts"), [3, 4]);
    assert_eq!(named("a10_n2_a_vote_outlives_kill_9"), [10]);
    assert_eq!(named("a_batch_of_4"), []);
    assert_eq!(named("testA13Counts"), [13]);
    assert_eq!(named("testAddress"), []);
}

/// A tag that stands elsewhere could be one of the list's, and then two meanings would share a hash.
#[test]
fn every_tag_in_the_sources_is_in_the_list() {
    // In two parts, or this file would hold one itself.
    let start = ["\"al", "ys/"].concat();
    let mut found = BTreeSet::new();
    for (path, text) in sources(&[".rs"]) {
        for (place, _) in text.match_indices(&start) {
            let literal = text[place + 1..].split('"').next().unwrap_or_default();
            let version = literal.rsplit('/').next().unwrap_or_default();
            if literal.matches('/').count() == 2 && version.parse::<u32>().is_ok() {
                let known = hash::ALL.iter().any(|tag| tag.as_str() == literal);
                assert!(
                    known,
                    "{}: {literal} is not in alys_protocol::hash",
                    path.display()
                );
                found.insert(literal.to_owned());
            }
        }
    }
    for tag in hash::ALL {
        assert!(
            found.contains(tag.as_str()),
            "the reader did not find {tag:?}"
        );
    }
}
