//! One token: found by its URI, logged in to, and found again where it was away.

use crate::error::{Condition, PinState, TokenError};
use crate::module;
use crate::pin::{self, Stamp};
use crate::uri::TokenUri;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// PINs that a token refused, by its serial number and the state of the file: for all [`Token`]s of the process.
static REFUSED: Mutex<BTreeSet<(String, Stamp)>> = Mutex::new(BTreeSet::new());

/// A token that was opened once; its session is opened anew whenever it was lost.
pub struct Token {
    module: Pkcs11,
    uri: TokenUri,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// Counts links, so that handles of an older one are not used with a newer one.
    links: u64,
    failures: u64,
    last_error: Option<(Condition, String)>,
}

/// A session with the token, logged in.
pub(crate) struct Link {
    pub(crate) session: Session,
    /// Which one it is; handles of objects hold for one link.
    pub(crate) number: u64,
    slot: Slot,
    name: String,
}

/// How a token is, for metrics and `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Label and serial number of the token that is open, or the URI where none is.
    pub token: String,
    /// Whether it works, or why not: asked of the token just now.
    pub condition: Condition,
    /// What it says about its PIN, which it says before anybody logs in; none where it is not there.
    pub pin: Option<PinState>,
    /// Sessions that were opened after the first one.
    pub reconnections: u64,
    /// Calls that failed, of all that were made.
    pub failures: u64,
    /// What failed last, in words. It may be over: see `condition`.
    pub last_error: Option<String>,
    /// The class of that.
    pub last_condition: Option<Condition>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.uri.to_string()).finish()
    }
}

impl Token {
    /// Loads `module` (an absolute path), finds the one token that `uri` names, and logs in.
    ///
    /// # Errors
    /// - [`TokenError::Module`], [`TokenError::Absent`], [`TokenError::Ambiguous`], the variants on the PIN, as named. A
    ///   wrong PIN is tried once and then not before its file changes; the last try before it locks is never used.
    pub fn open(module: &Path, uri: &TokenUri) -> Result<Arc<Self>, TokenError> {
        let token = Self {
            module: module::load(module)?,
            uri: uri.clone(),
            state: Mutex::new(State::default()),
        };
        token.with(|_| Ok(()))?;
        Ok(Arc::new(token))
    }

    /// The URI that it was opened by.
    pub const fn uri(&self) -> &TokenUri {
        &self.uri
    }

    /// How it is, now: asks the token, and finds it again where it was away. Waits for a call that is under way.
    pub fn health(&self) -> Health {
        let alive = self.with(|link| {
            let session = link.session.get_session_info();
            link.check(session)?;
            let info = link.check(self.module.get_token_info(link.slot))?;
            Ok((link.name.clone(), pin_state(&info)))
        });
        let (token, pin) = match &alive {
            Ok((name, pin)) => (name.clone(), Some(*pin)),
            Err(_) => {
                let found = self.find().ok();
                (
                    self.uri.to_string(),
                    found.map(|(_, info)| pin_state(&info)),
                )
            }
        };
        let state = self.lock();
        let (last_condition, last_error) = state.last_error.clone().unzip();
        Health {
            token,
            condition: alive.map_or_else(|error| error.condition(), |_| Condition::Ready),
            pin,
            reconnections: state.links.saturating_sub(1),
            failures: state.failures,
            last_error,
            last_condition,
        }
    }

    /// Excludes other processes of this host that use the token by the same PIN file, until what is returned is dropped.
    pub(crate) fn exclude_others(&self) -> Result<File, TokenError> {
        let source = self.uri.pin_source.as_ref();
        pin::lock(source.ok_or_else(|| TokenError::PinSource {
            token: self.uri.to_string(),
        })?)
    }

    /// Calls the token, and once more over a new session where the old one turns out lost: `operation` must bear that.
    pub(crate) fn with<T>(
        &self,
        mut operation: impl FnMut(&Link) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let mut state = self.lock();
        let had_link = state.link.is_some();
        let mut outcome = self.attempt(&mut state, &mut operation);
        if had_link && matches!(outcome, Err(TokenError::SessionLost { .. })) {
            outcome = self.attempt(&mut state, &mut operation);
        }
        if let Err(error) = &outcome {
            state.failures = state.failures.saturating_add(1);
            state.last_error = Some((error.condition(), error.to_string()));
        }
        outcome
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        operation: &mut impl FnMut(&Link) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        if state.link.is_none() {
            let link = self.connect(state.links)?;
            state.links = state.links.saturating_add(1);
            state.link = Some(link);
        }
        let Some(link) = &state.link else {
            return Err(self.absent("none"));
        };
        let outcome = operation(link);
        if matches!(outcome, Err(TokenError::SessionLost { .. })) {
            // Closes what is left of it.
            state.link = None;
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done by a panic: the link is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absent(&self, found: impl Into<String>) -> TokenError {
        TokenError::Absent {
            wanted: self.uri.to_string(),
            found: found.into(),
        }
    }

    fn connect(&self, number: u64) -> Result<Link, TokenError> {
        let (slot, info) = self.find()?;
        let name = name(&info);
        let session = match self.module.open_rw_session(slot) {
            Ok(session) => session,
            Err(error) => return Err(call(&name, &error)),
        };
        let link = Link {
            session,
            number,
            slot,
            name,
        };
        self.login(&link, &info)?;
        Ok(link)
    }

    fn find(&self) -> Result<(Slot, TokenInfo), TokenError> {
        let wanted = self.uri.to_string();
        let slots = self
            .module
            .get_slots_with_token()
            .map_err(|error| call(&wanted, &error))?;
        let (mut fitting, mut others) = (Vec::new(), Vec::new());
        for slot in slots {
            match self.module.get_token_info(slot) {
                Ok(info) if !info.token_initialized() => {}
                Ok(info) if self.fits(slot, &info) => fitting.push((slot, info)),
                Ok(info) => others.push(name(&info)),
                // Removed in this moment, or unreadable: not the one.
                Err(error) => others.push(format!("slot {slot}: {}", module::reason(&error))),
            }
        }
        match fitting.len() {
            0 if others.is_empty() => Err(self.absent("no token")),
            0 => Err(self.absent(others.join(", "))),
            1 => fitting.pop().ok_or_else(|| self.absent("no token")),
            _ => {
                let names: Vec<_> = fitting.iter().map(|(_, info)| name(info)).collect();
                Err(TokenError::Ambiguous {
                    wanted,
                    found: names.join(", "),
                })
            }
        }
    }

    fn fits(&self, slot: Slot, info: &TokenInfo) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == found.trim_end())
        };
        same(&self.uri.token, info.label())
            && same(&self.uri.serial, info.serial_number())
            && same(&self.uri.manufacturer, info.manufacturer_id())
            && same(&self.uri.model, info.model())
            && self.uri.slot_id.is_none_or(|id| id == slot.id())
    }

    fn login(&self, link: &Link, info: &TokenInfo) -> Result<(), TokenError> {
        let token = link.name.clone();
        match pin_state(info) {
            PinState::Locked => return Err(TokenError::PinLocked { token }),
            // Two restarts with a wrong PIN must not lock a token.
            PinState::FinalTry => return Err(TokenError::PinFinalTry { token }),
            PinState::Fine | PinState::CountLow => {}
        }
        if !info.user_pin_initialized() {
            return Err(TokenError::PinUnset { token });
        }
        let Some(source) = &self.uri.pin_source else {
            return Err(TokenError::PinSource { token });
        };
        let (pin, stamp) = pin::read(source)?;
        let tried = (info.serial_number().trim_end().to_owned(), stamp);
        // Held during the call: of several users of one wrong PIN one tries it.
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.contains(&tried) {
            return Err(TokenError::PinWithheld { token });
        }
        match link.session.login(UserType::User, Some(&pin)) {
            // Login is per process and token: another `Token` may have done it.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                refused.insert(tried);
                let info = link.check(self.module.get_token_info(link.slot))?;
                Err(TokenError::PinWrong {
                    token,
                    left: pin_state(&info),
                })
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::PinLocked { token }),
            Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => {
                Err(TokenError::PinUnset { token })
            }
            Err(error) => Err(call(&link.name, &error)),
        }
    }
}

impl Link {
    /// Label and serial number.
    pub(crate) fn token(&self) -> String {
        self.name.clone()
    }

    /// Names the token in what the module reports, and tells a lost session from other errors.
    pub(crate) fn check<T>(&self, outcome: cryptoki::error::Result<T>) -> Result<T, TokenError> {
        outcome.map_err(|error| self.failure(&error))
    }

    /// The error that `error` is, with the token's name.
    pub(crate) fn failure(&self, error: &Error) -> TokenError {
        call(&self.name, error)
    }

    /// The objects that fit. Private ones are invisible, not forbidden, to a session that something in this process
    /// logged out: before it says that there are none, the session must be the user's.
    pub(crate) fn objects(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, TokenError> {
        let found = self.check(self.session.find_objects(template))?;
        if found.is_empty() {
            let state = self.check(self.session.get_session_info())?.session_state();
            if !matches!(state, SessionState::RwUser) {
                return Err(TokenError::SessionLost {
                    token: self.token(),
                    reason: "it is logged out".to_owned(),
                });
            }
        }
        Ok(found)
    }

    /// Whether the session still answers.
    pub(crate) fn alive(&self) -> Result<(), TokenError> {
        self.check(self.session.get_session_info()).map(|_| ())
    }
}

fn name(info: &TokenInfo) -> String {
    format!(
        "{:?} (serial {})",
        info.label().trim_end(),
        info.serial_number().trim_end()
    )
}

fn pin_state(info: &TokenInfo) -> PinState {
    if info.user_pin_locked() {
        PinState::Locked
    } else if info.user_pin_final_try() {
        PinState::FinalTry
    } else if info.user_pin_count_low() {
        PinState::CountLow
    } else {
        PinState::Fine
    }
}

fn call(token: &str, error: &Error) -> TokenError {
    let (token, reason) = (token.to_owned(), module::reason(error));
    // A handle that was found in this session and is invalid now went with its session, too.
    if let Error::Pkcs11(
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::UserNotLoggedIn
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid,
        _,
    ) = error
    {
        TokenError::SessionLost { token, reason }
    } else {
        TokenError::Call { token, reason }
    }
}
