//! Backups are made.

use crate::finding::Finding;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Age from which on a backup is too old.
const OLD: Duration = Duration::from_secs(8 * 86_400);

/// That the file which each backup renews is younger than eight days.
pub fn backup(record: &Path, now: SystemTime) -> Finding {
    const WHY: &str = "keys that are lost without a backup are lost to the federation until it changes its members";
    let remedy = "make a backup, and prove it by a restore drill";
    let name = record.display();
    match std::fs::metadata(record).and_then(|it| it.modified()) {
        // One from the future says that the clock was set; the check of the clock tells.
        Ok(made) => {
            let age = now.duration_since(made).unwrap_or_default();
            let found = format!(
                "the last backup by {name} is {} days old",
                age.as_secs() / 86_400
            );
            if age > OLD {
                Finding::warning("backup", found, WHY, remedy)
            } else {
                Finding::fine("backup", found)
            }
        }
        Err(error) => Finding::warning("backup", format!("{name}: {error}"), WHY, remedy),
    }
}
