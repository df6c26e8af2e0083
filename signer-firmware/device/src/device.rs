//! The device: what it is told, and what it answers.

use crate::circumstances::{Circumstances, tag};
use crate::command::{
    Answer, COMMAND, Command, Failure, Generate, Info, Meters, Provision, SignedPolicy, Stage,
};
use crate::decode::exactly;
use crate::headers::FlashHeaders;
use crate::journal::JournalError;
use crate::keys::{KeyError, Keys};
use crate::layout::Layout;
use crate::provision::{Provisioned, ReadPolicy, signer};
use crate::serving::{No, Serving, counter_words};
use crate::state::{Blob, BlobRef, Head, Store, decoded, encoded};
use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alys_firmware_platform::{
    InputPin as _, Light, MonotonicCounter as _, Parts, Platform, StatusLight as _, Timer,
};
use alys_protocol::signer::{PROTOCOL_VERSION, ProtocolError, Reply, RequestEnvelope};
use alys_protocol::units::Slot;
use alys_signer_core::freshness::Lease;
use alys_signer_core::state::{AdminState, PegOutState};
use core::cell::RefCell;
use serde::Serialize;

/// Program and version.
pub(crate) const SOFTWARE: &str = concat!("alys-device ", env!("CARGO_PKG_VERSION"));

/// A device that is on.
pub struct Device<'a, P: Platform> {
    flash: &'a RefCell<P::Flash>,
    layout: Option<Layout>,
    parts: Parts<P>,
    keys: Option<Keys>,
    serving: Option<Serving<'a, P::Flash>>,
    broken: Option<String>,
    last: Meters,
}

impl<P: Platform> core::fmt::Debug for Device<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device")
            .field("board", &P::NAME)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<'a, P: Platform> Device<'a, P> {
    /// Starts: reads keys and state from flash, and looks at the counter. What is wrong with them is said in every answer;
    /// nothing is erased or made anew.
    ///
    /// Verifies the proofs of possession of all members, which takes half a second each.
    pub fn start(flash: &'a RefCell<P::Flash>, parts: Parts<P>) -> Self {
        let mut device = Self {
            flash,
            layout: None,
            parts,
            keys: None,
            serving: None,
            broken: None,
            last: Meters::default(),
        };
        match Layout::of(&*flash.borrow()) {
            Ok(layout) => device.layout = Some(layout),
            Err(error) => device.broken = Some(error.to_string()),
        }
        if !device.tampered()
            && let Err(reason) = device.load()
        {
            device.broken = Some(reason);
        }
        device.shine();
        device
    }

    fn load(&mut self) -> Result<(), String> {
        let Some(layout) = self.layout.clone() else {
            return Ok(());
        };
        let words = |error: &dyn core::fmt::Display| error.to_string();
        let keys = Keys::load(
            &mut *self.flash.borrow_mut(),
            &layout.keys,
            &mut self.parts.entropy,
        )
        .map_err(|error| words(&error))?;
        let store = Store::new(self.flash, &layout);
        let head = store.load().map_err(|error| words(&error))?;
        let (keys, head) = match (keys, head) {
            (Some(keys), Some(head)) => (keys, head),
            (None, Some(_head)) => {
                return Err("the flash holds a state and no keys".to_string());
            }
            (keys, None) => {
                self.keys = keys;
                return Ok(());
            }
        };
        let serving = self.serve(&keys, &layout, store, head);
        self.keys = Some(keys);
        self.serving = Some(serving.map_err(|failure| words(&failure))?);
        Ok(())
    }

    fn serve(
        &mut self,
        keys: &Keys,
        layout: &Layout,
        store: Store<'a, P::Flash>,
        head: Head,
    ) -> Result<Serving<'a, P::Flash>, Failure> {
        let read = |blob, at: &BlobRef| store.read_blob(blob, at).map_err(hardware);
        let provisioned: Provisioned =
            decoded(&read(Blob::Provisioned, &head.provisioned)?).map_err(hardware)?;
        let (chain, officers) = provisioned.check()?;
        let signed: SignedPolicy = decoded(&read(Blob::Policy, &head.policy)?).map_err(hardware)?;
        let policy = ReadPolicy::read(&chain, &officers, &signed)?;
        let (newer, limits) = policy.accept(&head.admin, &chain, &officers, &signed.text)?;
        if newer.is_some() {
            return Err(hardware(JournalError::Damaged));
        }
        let signer = signer(chain, limits, keys)?;
        let headers = FlashHeaders::load(self.flash, &layout.headers, head.headers.clone());
        let millis = self.parts.timer.millis();
        let now = Circumstances::start(&head, &signer, &headers, millis, &mut self.parts.counter);
        Ok(Serving {
            signer,
            officers,
            policy: policy.digest,
            head,
            store,
            headers,
            now,
        })
    }

    /// Answers one message.
    pub fn handle(&mut self, message: &[u8]) -> Vec<u8> {
        self.parts.light.show(Light::Busy);
        self.tampered();
        let started = self.parts.timer.ticks();
        let reply = match message.split_first() {
            Some((&COMMAND, command)) => written(&self.command(command)),
            Some(_) | None => {
                let reply = written(&self.request(message));
                let memory = P::memory();
                self.last = Meters {
                    ticks: self.parts.timer.ticks().saturating_sub(started),
                    ticks_per_second: P::Timer::TICKS_PER_SECOND,
                    stack: memory.stack,
                    heap: memory.heap,
                };
                reply
            }
        };
        self.shine();
        reply
    }

    /// The parts, for the main loop: the watchdog is fed there.
    pub fn parts(&mut self) -> &mut Parts<P> {
        &mut self.parts
    }

    fn shine(&mut self) {
        let light = match (&self.broken, &self.serving) {
            (Some(_), _) => Light::Silent,
            (None, None) => Light::New,
            (None, Some(serving)) if serving.now.silent().is_err() => Light::Silent,
            (None, Some(_)) => Light::Ready,
        };
        self.parts.light.show(light);
    }

    /// Where the case is open, or that cannot be told, the keys go: nothing else undoes it.
    fn tampered(&mut self) -> bool {
        if matches!(self.parts.tamper.is_high(), Ok(false)) {
            return false;
        }
        self.keys = None;
        self.serving = None;
        let erased = self.layout.as_ref().map(|layout| {
            let mut flash = self.flash.borrow_mut();
            Keys::erase(&mut *flash, &layout.keys)
        });
        self.broken = Some(match erased {
            Some(Ok(())) => "the case was opened; the keys are erased".to_string(),
            Some(Err(error)) => alloc::format!("the case was opened; erasing the keys: {error}"),
            None => "the case was opened".to_string(),
        });
        true
    }

    fn request(&mut self, message: &[u8]) -> Reply {
        let malformed = || Reply::Error(ProtocolError::Malformed("expected a request".to_string()));
        let Ok((version, _rest)) = postcard::take_from_bytes::<u16>(message) else {
            return malformed();
        };
        if version != PROTOCOL_VERSION {
            return Reply::Error(ProtocolError::Version {
                expected: PROTOCOL_VERSION,
                found: version,
            });
        }
        let Some(envelope) = exactly::<RequestEnvelope>(message) else {
            return malformed();
        };
        let internal = |reason: String| Reply::Error(ProtocolError::Internal(reason));
        if let Some(broken) = &self.broken {
            return internal(broken.clone());
        }
        let (Some(keys), Some(serving)) = (&mut self.keys, &mut self.serving) else {
            return internal(Failure::NotProvisioned.to_string());
        };
        match serving.answer(keys, &mut self.parts, &envelope.request) {
            Ok(reply) => reply,
            Err(No::Refused(refusal)) => Reply::Refused(refusal),
            Err(No::Error(error)) => Reply::Error(error),
            Err(No::Broken(error)) => {
                self.broken = Some(error.to_string());
                internal(error.to_string())
            }
        }
    }

    fn command(&mut self, message: &[u8]) -> Answer {
        let done = match exactly::<Command>(message) {
            None => Err(Failure::Malformed("not the encoding of one".to_string())),
            Some(Command::Info) => Ok(Answer::Info(Box::new(self.info()))),
            Some(Command::Card) => self.card(),
            Some(Command::Generate(from)) => self.generate(&from),
            Some(Command::Provision(provision)) => self.provision(&provision),
            Some(Command::Policy(signed)) => self.policy(&signed),
        };
        done.unwrap_or_else(Answer::Failed)
    }

    fn info(&mut self) -> Info {
        let stage = match (&self.broken, &self.keys, &self.serving) {
            (Some(reason), _, _) => Stage::Broken(reason.clone()),
            (None, Some(_), Some(serving)) => Stage::Provisioned {
                spec: serving.signer.chain().digest(),
                policy: serving.policy,
            },
            (None, Some(_), None) => Stage::Keys,
            (None, None, _) => Stage::New,
        };
        Info {
            software: SOFTWARE.to_string(),
            board: P::NAME.to_string(),
            stage,
            counter: alloc::format!(
                "{} at {}",
                self.parts.counter.name(),
                counter_words(self.parts.counter.read().ok())
            ),
            last: self.last,
        }
    }

    fn working(&self) -> Result<Layout, Failure> {
        match (&self.broken, &self.layout) {
            (Some(reason), _) => Err(Failure::Broken(reason.clone())),
            (None, Some(layout)) => Ok(layout.clone()),
            (None, None) => Err(Failure::Broken("no flash".to_string())),
        }
    }

    fn pressed(&mut self) -> Result<(), Failure> {
        match self.parts.button.is_high() {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::Button),
        }
    }

    fn card(&mut self) -> Result<Answer, Failure> {
        self.working()?;
        let keys = self.keys.as_mut().ok_or(Failure::NoKeys)?;
        Ok(Answer::Card(Box::new(keys.card())))
    }

    fn generate(&mut self, from: &Generate) -> Result<Answer, Failure> {
        let layout = self.working()?;
        if self.keys.is_some() {
            return Err(Failure::HasKeys);
        }
        self.pressed()?;
        let keys = Keys::generate(&mut self.parts.entropy, from).map_err(failed)?;
        let stored = keys.store(&mut *self.flash.borrow_mut(), &layout.keys);
        stored.map_err(failed)?;
        self.keys = Some(keys);
        self.card()
    }

    fn provision(&mut self, provision: &Provision) -> Result<Answer, Failure> {
        let layout = self.working()?;
        let Some(keys) = self.keys.take() else {
            return Err(Failure::NoKeys);
        };
        let done = self.provision_with(&keys, &layout, provision);
        self.keys = Some(keys);
        self.serving = Some(done?);
        Ok(Answer::Done)
    }

    fn provision_with(
        &mut self,
        keys: &Keys,
        layout: &Layout,
        provision: &Provision,
    ) -> Result<Serving<'a, P::Flash>, Failure> {
        if self.serving.is_some() {
            return Err(Failure::Provisioned);
        }
        self.pressed()?;
        let record = Provisioned::from(provision);
        let (chain, officers) = record.check()?;
        let policy = ReadPolicy::read(&chain, &officers, &provision.policy)?;
        let text = &provision.policy.text;
        let (admin, limits) = policy.accept(&AdminState::default(), &chain, &officers, text)?;
        // Finds out whether the keys are a member's before anything is written.
        signer(chain, limits, keys)?;
        let mark = self.parts.counter.read().map_err(hardware)?;
        let tag = tag(&mut self.parts.entropy).map_err(hardware)?;
        // From where the counter stands: a device that was provisioned before had other keys.
        let start = Lease {
            counter: mark,
            ..Lease::default()
        };
        let lease = start
            .closing(Slot::default(), tag)
            .ok_or_else(|| Failure::Hardware("the monotonic counter is at its end".to_string()))?;
        let store = Store::new(self.flash, layout);
        let blob = |blob, bytes: Result<Vec<u8>, JournalError>| {
            let bytes = bytes?;
            store.write_blob(blob, &BlobRef::default(), &bytes)
        };
        let mut head = Head::default();
        head.lease = lease;
        head.admin = admin.unwrap_or_default();
        head.provisioned = blob(Blob::Provisioned, encoded(&record)).map_err(hardware)?;
        head.policy = blob(Blob::Policy, encoded(&provision.policy)).map_err(hardware)?;
        head.pegout = blob(Blob::PegOut, encoded(&PegOutState::default())).map_err(hardware)?;
        store.write_head(&mut head).map_err(hardware)?;
        self.serve(keys, layout, store, head)
    }

    fn policy(&mut self, signed: &SignedPolicy) -> Result<Answer, Failure> {
        self.working()?;
        let (Some(keys), Some(serving)) = (&self.keys, &mut self.serving) else {
            return Err(Failure::NotProvisioned);
        };
        let chain = serving.signer.chain();
        let policy = ReadPolicy::read(chain, &serving.officers, signed)?;
        let (admin, limits) =
            policy.accept(&serving.head.admin, chain, &serving.officers, &signed.text)?;
        let Some(admin) = admin else {
            // The policy in force.
            return Ok(Answer::Done);
        };
        let next = signer(chain.clone(), limits, keys)?;
        let taken = serving.take_policy(next, policy.digest, admin, signed);
        taken.map_err(|error| {
            self.broken = Some(error.to_string());
            hardware(error)
        })?;
        Ok(Answer::Done)
    }
}

fn hardware(error: impl core::fmt::Display) -> Failure {
    Failure::Hardware(error.to_string())
}

fn failed(error: KeyError) -> Failure {
    hardware(error)
}

/// Writes a reply; each kind is far smaller than a message may be.
fn written<T: Serialize>(reply: &T) -> Vec<u8> {
    postcard::to_allocvec(reply).unwrap_or_default()
}
