//! What a monitor sees of a signer: a file in Prometheus' text format, replaced once a second, for the textfile collector of
//! its node exporter. The signer opens no port for it.
//!
//! The watch asks the token whether it is there, and opens it again where it was away: what recovers does so without a
//! request. A change of its condition is in the log as well, with or without a file.

mod text;

use crate::engine::{Engine, unix_now};
use crate::files::write_visible;
use alys_protocol::ceremony::CardBackend;
use alys_signer_core::freshness::{CounterMark, Lease};
use alys_signer_pkcs11::{Condition, Health, Token};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Decisions since the start, by operation and by the rule that refused; `yes` and `error` beside the rules.
#[derive(Debug, Default)]
pub struct Decisions(Mutex<Counts>);

type Counts = BTreeMap<(&'static str, &'static str), u64>;

impl Decisions {
    /// Counts one.
    pub fn count(&self, operation: &'static str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((operation, outcome)).or_default();
        *count = count.saturating_add(1);
    }

    fn counts(&self) -> Counts {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

/// How a signer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where its keys are.
    pub backend: CardBackend,
    /// Whether it signs nothing.
    pub silent: bool,
    /// Where the outside counter stood when it was read last.
    pub counter: Option<CounterMark>,
    /// The lease in force.
    pub lease: Lease,
}

/// All that the file says.
struct Snapshot {
    /// Unix time in seconds.
    written: u64,
    standing: Standing,
    decisions: Counts,
    token: Option<Health>,
}

/// Looks after the token and the file.
#[derive(Debug)]
pub struct Watch {
    file: Option<PathBuf>,
    token: Option<Arc<Token>>,
    condition: Condition,
    is_written: bool,
}

impl Watch {
    /// Watches `token`, which works, and writes `file`.
    pub const fn new(file: Option<PathBuf>, token: Option<Arc<Token>>) -> Self {
        Self {
            file,
            token,
            condition: Condition::Ready,
            is_written: true,
        }
    }

    /// What is due once a second. Blocks on token and disk.
    pub fn turn(&mut self, engine: &Engine) {
        let token = self.token.as_ref().map(|token| token.health());
        if let Some(health) = &token {
            self.notice(health);
        }
        if self.file.is_none() {
            return;
        }
        let snapshot = Snapshot {
            written: unix_now().get() / 1000,
            standing: engine.standing(),
            decisions: engine.decisions().counts(),
            token,
        };
        self.write(&text::running(&snapshot));
    }

    /// The orderly end: what the file said of the signer holds no more.
    pub fn end(&mut self) {
        let text = text::stopped(unix_now().get() / 1000);
        self.write(&text);
    }

    fn notice(&mut self, health: &Health) {
        let before = std::mem::replace(&mut self.condition, health.condition);
        if before == health.condition {
            return;
        }
        let (token, condition) = (&health.token, health.condition.label());
        match health.condition {
            Condition::Ready => tracing::info!(token, condition, "the token works again"),
            Condition::Absent
            | Condition::Ambiguous
            | Condition::PinWrong
            | Condition::PinLocked
            | Condition::SessionLost
            | Condition::Unsuitable
            | Condition::Failed => {
                let error = health.last_error.as_deref().unwrap_or_default();
                tracing::error!(token, condition, error, "the token does not work");
            }
        }
    }

    fn write(&mut self, text: &str) {
        let Some(path) = &self.file else { return };
        let written = write_visible(path, text.as_bytes());
        let was_written = std::mem::replace(&mut self.is_written, written.is_ok());
        if let (Err(error), true) = (&written, was_written) {
            tracing::error!(file = %path.display(), %error, "metrics cannot be written");
        }
    }
}
