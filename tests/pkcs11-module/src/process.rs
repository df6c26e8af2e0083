//! What the module does, in safe code; [`crate::abi`] brings it into C's form.

mod cipher;

pub(crate) use cipher::Gcm;

use crate::folder::{Attributes, Folder, Object, Token};
use crate::signing::{self, Scheme};
use cryptoki_sys as ck;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) type Outcome<T> = Result<T, ck::CK_RV>;

/// Wrong PINs that lock the token.
const TRIES: u8 = 3;
/// Objects are small, and few.
const MAX_OBJECTS: usize = 1024;

/// The sessions of this process.
pub(crate) struct Process {
    initialized: bool,
    user: Option<u64>,
    last_session: u64,
    sessions: BTreeMap<u64, Session>,
    epoch: Vec<u8>,
}

#[derive(Default)]
struct Session {
    write: bool,
    found: Option<Vec<u64>>,
    signing: Option<(Scheme, [u8; 32])>,
    cipher: Option<cipher::Operation>,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    initialized: false,
    user: None,
    last_session: 0,
    sessions: BTreeMap::new(),
    epoch: Vec::new(),
});

pub(crate) fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `C_GetTokenInfo` tells.
pub(crate) struct Info {
    pub(crate) label: String,
    pub(crate) flags: u64,
}

impl Process {
    pub(crate) fn initialize(&mut self) -> Outcome<()> {
        if std::mem::replace(&mut self.initialized, true) {
            return Err(ck::CKR_CRYPTOKI_ALREADY_INITIALIZED);
        }
        Ok(())
    }

    pub(crate) fn finalize(&mut self) -> Outcome<()> {
        self.forget_sessions();
        if !std::mem::replace(&mut self.initialized, false) {
            return Err(ck::CKR_CRYPTOKI_NOT_INITIALIZED);
        }
        Ok(())
    }

    fn forget_sessions(&mut self) {
        self.sessions.clear();
        self.user = None;
    }

    /// The folder with the token in its slot; `absent` where it is pulled out, which ends all sessions.
    fn folder(&mut self, absent: ck::CK_RV) -> Outcome<Folder> {
        if !self.initialized {
            return Err(ck::CKR_CRYPTOKI_NOT_INITIALIZED);
        }
        let folder = Folder::lock().ok_or(ck::CKR_GENERAL_ERROR)?;
        if folder.is_removed() {
            self.forget_sessions();
            return Err(absent);
        }
        let epoch = folder.epoch();
        if epoch != self.epoch {
            self.forget_sessions();
            self.epoch = epoch;
        }
        Ok(folder)
    }

    /// The folder and the token, for a call within a session.
    fn enter(&mut self, session: u64) -> Outcome<(Folder, Token)> {
        let known = self.sessions.contains_key(&session);
        let lost = if known {
            ck::CKR_DEVICE_REMOVED
        } else {
            ck::CKR_SESSION_HANDLE_INVALID
        };
        let folder = self.folder(lost)?;
        if !self.sessions.contains_key(&session) {
            return Err(ck::CKR_SESSION_HANDLE_INVALID);
        }
        let token = folder.read().ok_or(ck::CKR_TOKEN_NOT_RECOGNIZED)?;
        Ok((folder, token))
    }

    fn session(&mut self, session: u64) -> Outcome<&mut Session> {
        self.sessions
            .get_mut(&session)
            .ok_or(ck::CKR_SESSION_HANDLE_INVALID)
    }

    fn as_user(&self) -> Outcome<()> {
        if self.user == Some(ck::CKU_USER) {
            Ok(())
        } else {
            Err(ck::CKR_USER_NOT_LOGGED_IN)
        }
    }

    pub(crate) fn is_present(&mut self) -> Outcome<bool> {
        match self.folder(ck::CKR_TOKEN_NOT_PRESENT) {
            Ok(_) => Ok(true),
            Err(ck::CKR_TOKEN_NOT_PRESENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn has_twin(&mut self) -> Outcome<bool> {
        Ok(self.folder(ck::CKR_TOKEN_NOT_PRESENT)?.has_twin())
    }

    pub(crate) fn info(&mut self) -> Outcome<Info> {
        let folder = self.folder(ck::CKR_TOKEN_NOT_PRESENT)?;
        let Some(token) = folder.read() else {
            return Ok(Info {
                label: String::new(),
                flags: ck::CKF_LOGIN_REQUIRED,
            });
        };
        let mut flags = ck::CKF_LOGIN_REQUIRED | ck::CKF_TOKEN_INITIALIZED | ck::CKF_RNG;
        if token.pin.is_some() {
            flags |= ck::CKF_USER_PIN_INITIALIZED;
        }
        flags |= match TRIES.saturating_sub(token.wrong) {
            0 => ck::CKF_USER_PIN_LOCKED,
            1 => ck::CKF_USER_PIN_COUNT_LOW | ck::CKF_USER_PIN_FINAL_TRY,
            TRIES => 0,
            _some => ck::CKF_USER_PIN_COUNT_LOW,
        };
        Ok(Info {
            label: token.label,
            flags,
        })
    }

    pub(crate) fn init_token(&mut self, so_pin: &[u8], label: &[u8]) -> Outcome<()> {
        let folder = self.folder(ck::CKR_TOKEN_NOT_PRESENT)?;
        if !self.sessions.is_empty() {
            return Err(ck::CKR_SESSION_EXISTS);
        }
        if folder.read().is_some_and(|token| token.so_pin != so_pin) {
            return Err(ck::CKR_PIN_INCORRECT);
        }
        let label = String::from_utf8_lossy(label).trim_end().to_owned();
        let token = Token::new(label, so_pin.to_vec());
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)
    }

    pub(crate) fn init_pin(&mut self, session: u64, pin: &[u8]) -> Outcome<()> {
        let (folder, mut token) = self.enter(session)?;
        if self.user != Some(ck::CKU_SO) {
            return Err(ck::CKR_USER_NOT_LOGGED_IN);
        }
        token.pin = Some(pin.to_vec());
        token.wrong = 0;
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)
    }

    pub(crate) fn open_session(&mut self, write: bool) -> Outcome<u64> {
        self.folder(ck::CKR_TOKEN_NOT_PRESENT)?;
        self.last_session = self.last_session.wrapping_add(1);
        let session = Session {
            write,
            ..Session::default()
        };
        self.sessions.insert(self.last_session, session);
        Ok(self.last_session)
    }

    pub(crate) fn close_session(&mut self, session: u64) -> Outcome<()> {
        self.enter(session)?;
        self.sessions.remove(&session);
        if self.sessions.is_empty() {
            self.user = None;
        }
        Ok(())
    }

    pub(crate) fn close_all_sessions(&mut self) -> Outcome<()> {
        self.folder(ck::CKR_TOKEN_NOT_PRESENT)?;
        self.forget_sessions();
        Ok(())
    }

    /// State and flags of a session.
    pub(crate) fn session_info(&mut self, session: u64) -> Outcome<(u64, u64)> {
        self.enter(session)?;
        let write = self.session(session)?.write;
        let state = match (self.user, write) {
            (Some(ck::CKU_USER), true) => ck::CKS_RW_USER_FUNCTIONS,
            (Some(ck::CKU_USER), false) => ck::CKS_RO_USER_FUNCTIONS,
            (Some(_), _) => ck::CKS_RW_SO_FUNCTIONS,
            (None, true) => ck::CKS_RW_PUBLIC_SESSION,
            (None, false) => ck::CKS_RO_PUBLIC_SESSION,
        };
        let write = if write { ck::CKF_RW_SESSION } else { 0 };
        Ok((state, ck::CKF_SERIAL_SESSION | write))
    }

    pub(crate) fn login(&mut self, session: u64, user: u64, pin: &[u8]) -> Outcome<()> {
        let (folder, mut token) = self.enter(session)?;
        match self.user {
            Some(current) if current == user => return Err(ck::CKR_USER_ALREADY_LOGGED_IN),
            Some(_) => return Err(ck::CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
            None => {}
        }
        match user {
            ck::CKU_SO if token.so_pin == pin => {}
            ck::CKU_SO => return Err(ck::CKR_PIN_INCORRECT),
            ck::CKU_USER => {
                let Some(right) = &token.pin else {
                    return Err(ck::CKR_USER_PIN_NOT_INITIALIZED);
                };
                if token.wrong >= TRIES {
                    return Err(ck::CKR_PIN_LOCKED);
                }
                let correct = right == pin;
                token.wrong = if correct { 0 } else { token.wrong + 1 };
                folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)?;
                if !correct {
                    return Err(ck::CKR_PIN_INCORRECT);
                }
            }
            _other => return Err(ck::CKR_USER_TYPE_INVALID),
        }
        self.user = Some(user);
        Ok(())
    }

    pub(crate) fn logout(&mut self, session: u64) -> Outcome<()> {
        self.enter(session)?;
        match self.user.take() {
            Some(_) => Ok(()),
            None => Err(ck::CKR_USER_NOT_LOGGED_IN),
        }
    }

    pub(crate) fn create_object(&mut self, session: u64, attributes: Attributes) -> Outcome<u64> {
        let (folder, mut token) = self.enter(session)?;
        self.as_user()?;
        if attributes.get(&ck::CKA_CLASS) != Some(&ck::CKO_DATA.to_ne_bytes().to_vec()) {
            return Err(ck::CKR_ATTRIBUTE_VALUE_INVALID);
        }
        let handle = token.add(attributes, None)?;
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)?;
        Ok(handle)
    }

    pub(crate) fn destroy_object(&mut self, session: u64, handle: u64) -> Outcome<()> {
        let (folder, mut token) = self.enter(session)?;
        self.as_user()?;
        if token.objects.remove(&handle).is_none() {
            return Err(ck::CKR_OBJECT_HANDLE_INVALID);
        }
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)
    }

    pub(crate) fn generate_pair(
        &mut self,
        session: u64,
        mechanism: u64,
        mut public: Attributes,
        mut private: Attributes,
    ) -> Outcome<(u64, u64)> {
        let (folder, mut token) = self.enter(session)?;
        self.as_user()?;
        let (key_type, scalar, point) = signing::generate(mechanism)?;
        let key_type = u64::from(key_type);
        signing::complete(&mut public, ck::CKO_PUBLIC_KEY, key_type, false);
        signing::complete(&mut private, ck::CKO_PRIVATE_KEY, key_type, true);
        public.insert(ck::CKA_EC_POINT, point);
        let public = token.add(public, None)?;
        let private = token.add(private, Some(scalar))?;
        folder.write(&token).ok_or(ck::CKR_DEVICE_ERROR)?;
        Ok((public, private))
    }

    /// The attributes of an object that this process may see.
    pub(crate) fn attributes(&mut self, session: u64, handle: u64) -> Outcome<Attributes> {
        let (_, mut token) = self.enter(session)?;
        let object = token
            .objects
            .remove(&handle)
            .filter(|object| self.sees(object))
            .ok_or(ck::CKR_OBJECT_HANDLE_INVALID)?;
        Ok(object.attributes)
    }

    fn sees(&self, object: &Object) -> bool {
        object.attributes.get(&ck::CKA_PRIVATE) != Some(&vec![1]) || self.user == Some(ck::CKU_USER)
    }

    pub(crate) fn find(&mut self, session: u64, template: &Attributes) -> Outcome<()> {
        let (_, token) = self.enter(session)?;
        let fits = |object: &Object| {
            template
                .iter()
                .all(|(kind, value)| object.attributes.get(kind) == Some(value))
        };
        let found = token
            .objects
            .iter()
            .filter(|(_, object)| self.sees(object) && fits(object))
            .map(|(handle, _)| *handle)
            .collect();
        let session = self.session(session)?;
        if session.found.is_some() {
            return Err(ck::CKR_OPERATION_ACTIVE);
        }
        session.found = Some(found);
        Ok(())
    }

    pub(crate) fn found(&mut self, session: u64, most: usize) -> Outcome<Vec<u64>> {
        self.enter(session)?;
        let found = self.session(session)?.found.as_mut();
        let found = found.ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)?;
        let count = found.len().min(most);
        Ok(found.drain(..count).collect())
    }

    pub(crate) fn find_final(&mut self, session: u64) -> Outcome<()> {
        self.enter(session)?;
        let found = self.session(session)?.found.take();
        found.map(|_| ()).ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)
    }

    pub(crate) fn sign_init(&mut self, session: u64, scheme: Scheme, key: u64) -> Outcome<()> {
        let (_, mut token) = self.enter(session)?;
        self.as_user()?;
        let key = token
            .objects
            .remove(&key)
            .ok_or(ck::CKR_KEY_HANDLE_INVALID)?;
        let scalar = key.scalar.ok_or(ck::CKR_KEY_FUNCTION_NOT_PERMITTED)?;
        let key_type = u64::from(scheme.key_type()).to_ne_bytes().to_vec();
        if key.attributes.get(&ck::CKA_KEY_TYPE) != Some(&key_type) {
            return Err(ck::CKR_KEY_TYPE_INCONSISTENT);
        }
        self.session(session)?.signing = Some((scheme, scalar));
        Ok(())
    }

    /// Length of the signature that is asked for.
    pub(crate) fn signature_bytes(&mut self, session: u64) -> Outcome<usize> {
        self.enter(session)?;
        match self.session(session)?.signing {
            Some((scheme, _)) => Ok(scheme.signature_bytes()),
            None => Err(ck::CKR_OPERATION_NOT_INITIALIZED),
        }
    }

    pub(crate) fn sign(&mut self, session: u64, message: &[u8]) -> Outcome<Vec<u8>> {
        self.enter(session)?;
        let signing = self.session(session)?.signing.take();
        let (scheme, scalar) = signing.ok_or(ck::CKR_OPERATION_NOT_INITIALIZED)?;
        scheme.sign(&scalar, message)
    }
}

impl Token {
    fn add(&mut self, attributes: Attributes, scalar: Option<[u8; 32]>) -> Outcome<u64> {
        if self.objects.len() >= MAX_OBJECTS {
            return Err(ck::CKR_DEVICE_MEMORY);
        }
        self.last_handle = self.last_handle.wrapping_add(1);
        let object = Object { attributes, scalar };
        self.objects.insert(self.last_handle, object);
        Ok(self.last_handle)
    }
}
