//! Owners and modes of files.

use crate::finding::Finding;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Who may do what with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Nobody but its owner reads it.
    Owner,
    /// A group may read it, nobody else.
    Group,
    /// All may read it, only its owner changes it.
    Public,
}

impl Secrecy {
    const fn forbidden(self) -> u32 {
        match self {
            Self::Owner => 0o077,
            Self::Group => 0o037,
            Self::Public => 0o022,
        }
    }
}

/// That `path` is there, belongs to one of `owners` and has no more rights than `secrecy` allows, and that nobody else can
/// replace it by the folders that it is in.
pub fn file(path: &Path, secrecy: Secrecy, owners: &[u32]) -> Vec<Finding> {
    const WHY: &str = "whoever can read a secret has it, and whoever can change a file decides what the program does";
    let name = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let found = format!("{name}: {error}");
            return vec![Finding::error(
                "files",
                found,
                "the program does not start without it",
                "put it there, or correct the configuration",
            )];
        }
    };
    let mut findings = Vec::new();
    let mode = metadata.mode() & 0o7777;
    if mode & secrecy.forbidden() != 0 {
        let good = mode & !secrecy.forbidden();
        findings.push(Finding::error(
            "files",
            format!("{name} has mode {mode:04o}, expected {good:04o} or less"),
            WHY,
            format!("chmod {good:04o} {name}; if others could read a secret, replace the secret"),
        ));
    }
    if !owners.contains(&metadata.uid()) {
        findings.push(Finding::error(
            "files",
            format!(
                "{name} belongs to user {}, expected one of {owners:?}",
                metadata.uid()
            ),
            WHY,
            format!("chown {name}"),
        ));
    }
    // Replaced by others: a folder above it that they can write (unless it is sticky) or own.
    let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for folder in absolute.ancestors().skip(1) {
        let Ok(metadata) = std::fs::metadata(folder) else {
            continue;
        };
        let mode = metadata.mode() & 0o7777;
        let open = mode & 0o022 != 0 && mode & 0o1000 == 0;
        if open || !(owners.contains(&metadata.uid()) || metadata.uid() == 0) {
            findings.push(Finding::error(
                "files",
                format!(
                    "{name} is in {}, which others can write (owner {}, mode {mode:04o})",
                    folder.display(),
                    metadata.uid()
                ),
                WHY,
                format!("chmod go-w {}, and give it to root", folder.display()),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("files", format!("{name} (mode {mode:04o})")));
    }
    findings
}
