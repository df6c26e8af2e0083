//! Keys and sessions by the Noise protocol framework, revision 34: `KK` between ends that know each other, `XX` to pair.
//!
//! The library is `snow` with its pure Rust primitives (X25519, ChaCha20-Poly1305, SHA-256). It is wrapped here so that the
//! rest of the link can misuse neither nonces nor ephemeral keys.

use super::alloc::boxed::Box;
use alys_protocol::hash::{self, TaggedHasher};
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use core::cell::Cell;
use core::fmt;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState, StatelessTransportState};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes that sealing adds.
pub(crate) const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const PAIRED: &str = "Noise_KK_25519_ChaChaPoly_SHA256";
const UNPAIRED: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Both ends hash it first: a session of another version, or of another use of the same keys, never comes up.
/// Noise mixes it in as it is. In two parts, since `alys_protocol::hash` lists the tags of tagged hashes, and this is none.
const PROLOGUE: &[u8] = concat!("alys/device-link", "/1").as_bytes();

/// Entropy could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 32 bytes of entropy, found none")]
pub struct NoEntropy;

/// Where an end draws what must never come twice: ephemeral keys, and the nonce of a pairing.
pub trait Entropy {
    /// Fresh bytes from the true random number generator.
    ///
    /// # Errors
    /// - [`NoEntropy`] where it fails its health tests, or gives nothing.
    fn fresh(&mut self) -> Result<Zeroizing<[u8; 32]>, NoEntropy>;
}

impl<F: FnMut() -> Result<Zeroizing<[u8; 32]>, NoEntropy>> Entropy for F {
    fn fresh(&mut self) -> Result<Zeroizing<[u8; 32]>, NoEntropy> {
        self()
    }
}

/// What makes a session impossible at this end, before the other one has any part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkFault {
    /// No entropy, no session.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The library refuses: a primitive is missing, which is an error of the build.
    #[error("expected the Noise library to take a step of {0}, found that it does not")]
    Library(&'static str),
}

/// An end's secret X25519 key. Never printed, wiped when dropped.
pub struct StaticKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey(..)")
    }
}

impl StaticKey {
    /// Takes 32 bytes of entropy, or what [`Self::to_bytes`] gave. X25519 clamps them: any bytes are a key.
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The secret, to be stored where only this end reads it.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.0.clone()
    }

    /// The key that the other end is paired with.
    ///
    /// # Errors
    /// - [`LinkFault::Library`] where the primitive is not compiled in.
    pub fn public(&self) -> Result<PublicKey, LinkFault> {
        let dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519);
        let mut dh = dh.ok_or(LinkFault::Library("X25519"))?;
        dh.set(self.0.as_slice());
        PublicKey::read(dh.pubkey()).ok_or(LinkFault::Library("X25519"))
    }
}

/// An end's public X25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Wraps a key's bytes.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn to_bytes(self) -> [u8; KEY_BYTES] {
        self.0
    }

    /// Its short name.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = TaggedHasher::without_chain(hash::LINK_KEY)
            .fixed(&self.0)
            .finish();
        Fingerprint(digest.first_chunk().copied().unwrap_or_default())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

/// The short name of a public key, for people and for telling devices apart. It proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; Self::LENGTH]);

impl Fingerprint {
    /// Bytes.
    pub const LENGTH: usize = 8;

    /// Wraps bytes.
    pub const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        alys_protocol::bytes::write_hex(f, &self.0)
    }
}

/// Which end this is: the one that opens a session, or the one that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Host,
    Device,
}

/// A handshake under way, good for one session.
pub(crate) struct Handshake(Box<HandshakeState>);

impl Handshake {
    /// Between two ends that know each other.
    pub(crate) fn paired(
        end: End,
        own: &StaticKey,
        peer: &PublicKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, LinkFault> {
        Self::start(end, PAIRED, own, Some(peer), entropy)
    }

    /// Between two that do not.
    pub(crate) fn pairing(
        end: End,
        own: &StaticKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, LinkFault> {
        Self::start(end, UNPAIRED, own, None, entropy)
    }

    fn start(
        end: End,
        pattern: &'static str,
        own: &StaticKey,
        peer: Option<&PublicKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, LinkFault> {
        let failed = |_| LinkFault::Library(pattern);
        let resolver = Resolver(Cell::new(Some(entropy.fresh()?)));
        let parameters = pattern.parse().map_err(failed)?;
        let mut builder = Builder::with_resolver(parameters, Box::new(resolver))
            .prologue(PROLOGUE)
            .map_err(failed)?
            .local_private_key(own.0.as_slice())
            .map_err(failed)?;
        if let Some(peer) = peer {
            builder = builder.remote_public_key(&peer.0).map_err(failed)?;
        }
        let state = match end {
            End::Host => builder.build_initiator(),
            End::Device => builder.build_responder(),
        };
        Ok(Self(Box::new(state.map_err(failed)?)))
    }

    /// The next message of this end, with a payload.
    pub(crate) fn write(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, LinkFault> {
        self.0
            .write_message(payload, out)
            .map_err(|_| LinkFault::Library("a handshake"))
    }

    /// Takes the other end's message; its payload, or `None` where it is not one. The handshake stays as it was then.
    /// `out` must be as long as `message`: the library copies a payload that is not sealed yet without looking.
    pub(crate) fn read<'o>(&mut self, message: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
        if out.len() < message.len() {
            return None;
        }
        let length = self.0.read_message(message, out).ok()?;
        out.get(..length)
    }

    /// The other end's key, as the handshake showed it.
    pub(crate) fn peer(&self) -> Option<PublicKey> {
        PublicKey::read(self.0.get_remote_static()?)
    }

    /// The hash of all that was said.
    pub(crate) fn transcript(&self) -> Option<[u8; 32]> {
        self.0.get_handshake_hash().try_into().ok()
    }

    /// The session; `None` where the handshake is not at its end.
    pub(crate) fn finish(self) -> Option<Session> {
        self.0.into_stateless_transport_mode().ok().map(Session)
    }
}

/// Two keys, one for each direction. Whoever seals must never seal two texts under one nonce: that is
/// [`super::channel`]'s business, and [`super::pairing`]'s.
pub(crate) struct Session(StatelessTransportState);

impl Session {
    /// Seals into `out`, which is [`TAG_BYTES`] longer; gives the length.
    pub(crate) fn seal(&self, nonce: u64, text: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.write_message(nonce, text, out).ok()
    }

    /// Opens into `out`; `None` where it was not sealed by the other end under this nonce.
    pub(crate) fn open<'o>(
        &self,
        nonce: u64,
        sealed: &[u8],
        out: &'o mut [u8],
    ) -> Option<&'o [u8]> {
        let length = self.0.read_message(nonce, sealed, out).ok()?;
        out.get(..length)
    }
}

/// Gives one ephemeral key, from entropy that was drawn for it.
struct Resolver(Cell<Option<Zeroizing<[u8; KEY_BYTES]>>>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(self.0.take())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::new(Sha256(sha256::Hash::engine()))),
            HashChoice::SHA512 | HashChoice::Blake2s | HashChoice::Blake2b => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// The SHA-256 that the rest of a firmware has already: the library's own would bring another one, and 28 kB of SHA-512.
struct Sha256(sha256::HashEngine);

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = sha256::Hash::engine();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.input(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let digest = sha256::Hash::from_engine(core::mem::take(&mut self.0));
        // The library's buffers are as long as its longest hash.
        for (slot, byte) in out.iter_mut().zip(digest.to_byte_array()) {
            *slot = byte;
        }
    }
}

/// A source that is dry after the first draught.
struct Once(Option<Zeroizing<[u8; KEY_BYTES]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), snow::Error> {
        let seed = self.0.take().ok_or(snow::Error::Rng)?;
        if destination.len() != seed.len() {
            return Err(snow::Error::Rng);
        }
        destination.copy_from_slice(seed.as_slice());
        Ok(())
    }
}
