//! Hands requests to the device.

use super::log::{LogEntry, RequestLog, digest};
use crate::audit::recorder::TurnedAwayFor;
use crate::authority::Operation;
use crate::engine::{Asker, SOFTWARE, subject, unix_now};
use crate::server::Answers;
use alys_device_host::{Device, DeviceError};
use alys_protocol::bytes::Digest;
use alys_protocol::signer::{ProtocolError, Reply, Request, decode_frame};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Between looks at a device that nobody asks anything.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The device, its log, and whether it was there when last looked for.
#[derive(Debug)]
pub struct Relay {
    device: Mutex<Held>,
    log: Mutex<RequestLog>,
}

#[derive(Debug)]
struct Held {
    device: Device,
    /// When it was last looked for, and what was wrong; none where nothing was.
    absent: Option<(Instant, String)>,
}

impl Relay {
    /// A relay to a device, which need not be there yet.
    pub fn new(device: Device, log: RequestLog) -> Self {
        Self {
            device: Mutex::new(Held {
                device,
                absent: None,
            }),
            log: Mutex::new(log),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A session that was left in the middle is found broken, and made anew.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, body: &[u8]) -> Result<(Reply, Digest), ProtocolError> {
        let mut held = self.held();
        let bytes = held.device.request(body);
        held.saw(&bytes);
        let bytes = bytes.map_err(|error| ProtocolError::Internal(error.to_string()))?;
        let reply = decode_frame::<Reply>(&bytes).map_err(|error| {
            ProtocolError::Internal(format!("the device's reply is none: {error}"))
        })?;
        let told = digest(&bytes);
        let Reply::Status(mut status) = reply else {
            return Ok((reply, told));
        };
        let settings = held.device.settings();
        status.backend = format!(
            "device {} at {}: {}",
            held.device.fingerprint(),
            settings.path.display(),
            status.backend
        );
        status.software = format!("{SOFTWARE}; device: {}", status.software);
        Ok((Reply::Status(status), told))
    }

    fn write(&self, entry: LogEntry) -> Result<(), ProtocolError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(entry).map_err(|error| {
            tracing::error!(%error, "nothing is released that is not in the log of requests");
            ProtocolError::Internal(error.to_string())
        })
    }
}

impl Held {
    /// Says when a device comes and goes, once each.
    fn saw<T>(&mut self, outcome: &Result<T, DeviceError>) {
        let wrong = outcome.as_ref().err().map(ToString::to_string);
        let before = self.absent.take().map(|(_, before)| before);
        if wrong != before {
            let device = self.device.fingerprint();
            match &wrong {
                Some(wrong) => {
                    tracing::error!(%device, reason = wrong, "the device does not serve")
                }
                None => tracing::info!(%device, "the device serves again"),
            }
        }
        self.absent = wrong.map(|wrong| (Instant::now(), wrong));
    }
}

impl Answers for Relay {
    fn handle(&self, asker: Asker, body: &[u8], request: &Request) -> Reply {
        let role = asker.role;
        let operation = Operation::of(request).name();
        let subject = subject(request);
        let (reply, told) = self
            .ask(body)
            .unwrap_or_else(|error| (Reply::Error(error), Digest::ZERO));
        let (answer, reason) = match &reply {
            Reply::Refused(refusal) => {
                tracing::warn!(%role, operation, subject, decision = "no", rule = %refusal.rule,
                    expected = refusal.expected, found = refusal.found);
                ("no", refusal.to_string())
            }
            Reply::Error(error) => {
                tracing::warn!(%role, operation, subject, decision = "error", ?error);
                ("error", format!("{error:?}"))
            }
            Reply::Status(_)
            | Reply::Signature(_)
            | Reply::Shares(_)
            | Reply::Bitcoin(_)
            | Reply::Challenge(_)
            | Reply::Stated(_) => {
                tracing::info!(%role, operation, subject, decision = "yes");
                ("yes", String::new())
            }
        };
        let written = self.write(LogEntry {
            request: digest(body),
            answer: answer.to_owned(),
            reason,
            reply: told,
            ..entry(asker, operation, subject)
        });
        match written {
            Ok(()) => reply,
            // The device has recorded its decision: a repeat gets the same answer.
            Err(error) => Reply::Error(error),
        }
    }

    fn turned_away(&self, asker: Asker, reason: TurnedAwayFor) {
        let answer = match reason {
            // A flood must not fill the disk.
            TurnedAwayFor::TooMany => return,
            TurnedAwayFor::Forbidden => "forbidden",
            TurnedAwayFor::Malformed => "malformed",
        };
        // It was turned away whatever the disk does; the error is logged there.
        let _ = self.write(LogEntry {
            answer: answer.to_owned(),
            ..entry(asker, "any", String::new())
        });
    }

    /// Looks at the device now and then, so that its going and coming back are seen without a request.
    fn tick(&self) {
        let mut held = match self.device.try_lock() {
            Ok(held) => held,
            // It is being asked something.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let looked = held.absent.as_ref().map(|(at, _)| at.elapsed());
        if held
            .device
            .quiet()
            .or(looked)
            .is_some_and(|ago| ago < LOOK_EVERY)
        {
            return;
        }
        let outcome = held.device.check();
        held.saw(&outcome);
    }

    fn close(&self) {}
}

fn entry(asker: Asker, operation: &str, subject: String) -> LogEntry {
    LogEntry {
        number: 0,
        previous: Digest::ZERO,
        time_ms: unix_now().get(),
        role: asker.role.to_string(),
        certificate: asker.certificate.to_string(),
        operation: operation.to_owned(),
        subject,
        request: Digest::ZERO,
        answer: String::new(),
        reason: String::new(),
        reply: Digest::ZERO,
    }
}
