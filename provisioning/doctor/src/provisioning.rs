//! The provisioning workstation: authorities' and officers' keys.

use crate::cli::Doctor;
use crate::files::{Secrecy, file};
use crate::finding::Finding;
use crate::system::{self, System};
use crate::{backup, certificates};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders below the one that is checked.
const DEPTH: usize = 4;
/// Files that are looked at, at most.
const MAX_FILES: usize = 10_000;

/// All checks.
pub fn examine(system: &System, doctor: &Doctor) -> Vec<Finding> {
    let mut findings = system::swap(system);
    findings.extend(system::core_dumps(system));
    if let Some(record) = &doctor.backup_record {
        findings.push(backup::backup(record, SystemTime::now()));
    }
    let folder = doctor.config_path();
    findings.extend(keys(&folder, certificates::now(), doctor.expiry_days));
    findings.extend(system::listening(system, &BTreeSet::new()));
    findings
}

/// Each `*.key` below `folder` is its owner's alone, and each `*.pem` lasts.
pub fn keys(folder: &Path, now: i64, expiry_days: u32) -> Vec<Finding> {
    let mut files = Vec::new();
    if let Err(error) = collect(folder, DEPTH, &mut files) {
        let found = format!("{}: {error}", folder.display());
        return vec![Finding::error(
            "files",
            found,
            "the keys could not be looked at",
            "--config names the folder that has them",
        )];
    }
    files.sort();
    let owners = [0, nix::unistd::geteuid().as_raw()];
    let mut findings = Vec::new();
    for path in files {
        match path.extension().and_then(|it| it.to_str()) {
            Some("key") => findings.extend(file(&path, Secrecy::Owner, &owners)),
            Some("pem") => findings.push(certificates::certificates(&path, now, expiry_days)),
            _ => {}
        }
    }
    if findings.is_empty() {
        findings.push(Finding::warning(
            "files",
            format!("{}: no *.key and no *.pem", folder.display()),
            "there is nothing to look after here",
            "--config names the folder that has them",
        ));
    }
    findings
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if files.len() >= MAX_FILES {
            return Err(std::io::Error::other(format!(
                "expected at most {MAX_FILES} files"
            )));
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            match depth.checked_sub(1) {
                Some(depth) => collect(&entry.path(), depth, files)?,
                None => {
                    return Err(std::io::Error::other(format!(
                        "expected at most {DEPTH} folders below each other"
                    )));
                }
            }
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
