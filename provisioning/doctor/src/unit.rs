//! The systemd unit in force is not weaker than the packaged one.

use crate::finding::Finding;
use crate::system::System;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The signer's unit, as the package has it.
pub const SIGNER_UNIT: &str = include_str!("../../bundles/signer/alys-signer.service");
/// The node's.
pub const NODE_UNIT: &str = include_str!("../../bundles/node/alys-node.service");

/// Keys of `[Service]` that protect nothing, and are the operator's to change.
const FREE: [&str; 14] = [
    "Type",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartSec",
    "TimeoutStopSec",
    "LogNamespace",
    "LimitNOFILE",
    "TasksMax",
    "StateDirectory",
    "StateDirectoryMode",
    "Group",
    "IPAddressAllow",
    "SystemCallErrorNumber",
];

/// The settings of `[Service]`: the last assignment counts, those of lists add up, an empty one begins anew.
fn settings<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    for text in texts {
        let mut section = String::new();
        // A line that ends in a backslash goes on in the next.
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.to_owned();
            } else if let Some((key, value)) = line.split_once('=')
                && section == "[Service]"
                && !line.starts_with(['#', ';'])
            {
                let (key, value) = (key.trim(), value.trim());
                let list = key.starts_with("SystemCall")
                    || key.starts_with("IPAddress")
                    || key.starts_with("Exec");
                match settings.get_mut(key) {
                    Some(old) if list && !value.is_empty() && !old.is_empty() => {
                        old.push(' ');
                        old.push_str(value);
                    }
                    _ => {
                        settings.insert(key.to_owned(), value.to_owned());
                    }
                }
            }
        }
    }
    settings
}

/// That the unit `name` below the system's folders, with its drop-ins, keeps each protection of `packaged`.
pub fn unit(system: &System, name: &str, packaged: &str) -> Vec<Finding> {
    const WHY: &str = "the unit is what keeps a flaw of the service from becoming one of the machine, and keys out of swap";
    let folders = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ];
    let Some((folder, text)) = folders
        .iter()
        .find_map(|folder| Some((folder, system.read(format!("{folder}/{name}")).ok()?)))
    else {
        return vec![Finding::error(
            "unit",
            format!("no unit {name}"),
            WHY,
            "install the package; see docs/installing.md",
        )];
    };
    let mut texts = vec![text];
    let mut drop_ins: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in folders.iter().rev() {
        let Ok(entries) = std::fs::read_dir(system.path(format!("{folder}/{name}.d"))) else {
            continue;
        };
        for entry in entries.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file.ends_with(".conf") {
                drop_ins.insert(file, entry.path());
            }
        }
    }
    let mut findings = Vec::new();
    for path in drop_ins.values() {
        match crate::system::read_text(path) {
            Ok(text) => texts.push(text),
            Err(error) => findings.push(Finding::warning(
                "unit",
                format!("{}: {error}", path.display()),
                WHY,
                "run it as root",
            )),
        }
    }
    let names: Vec<&str> = drop_ins.keys().map(String::as_str).collect();
    let in_force = settings(texts.iter().map(String::as_str));
    for (key, expected) in settings([packaged]) {
        if FREE.contains(&key.as_str()) {
            continue;
        }
        let found = in_force.get(&key);
        if found != Some(&expected) {
            findings.push(Finding::warning(
                "unit",
                format!("{name}: expected {key}={expected}, found {}", found.map_or("nothing", String::as_str)),
                WHY,
                format!("systemctl cat {name}; take the change out unless your token needs it (drop-ins: {})", names.join(", ")),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            "unit",
            format!(
                "{folder}/{name}, as packaged (drop-ins: {})",
                names.join(", ")
            ),
        ));
    }
    findings
}
