//! Keys in a token that signs itself.

use super::{Backend, MemberCard};
use alys_signer_pkcs11::{BlsKey, SchnorrKey};
use zeroize::Zeroizing;

/// Bytes of the secret that is this process's own.
pub(crate) const LOCAL_SECRET_BYTES: usize = 32;

/// A member's keys in a token. No secret scalar is in this process.
pub struct NativeKeys {
    bls: BlsKey,
    schnorr: SchnorrKey,
    card: MemberCard,
    /// Opens what the signer seals for itself: the audit log's key.
    local: Zeroizing<[u8; LOCAL_SECRET_BYTES]>,
    backend: Backend,
}

impl core::fmt::Debug for NativeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NativeKeys(..)")
    }
}

impl NativeKeys {
    /// Keys of `card`, as their maker says.
    pub(crate) const fn new(
        bls: BlsKey,
        schnorr: SchnorrKey,
        card: MemberCard,
        local: Zeroizing<[u8; LOCAL_SECRET_BYTES]>,
        backend: Backend,
    ) -> Self {
        Self {
            bls,
            schnorr,
            card,
            local,
            backend,
        }
    }

    /// The public side.
    pub const fn card(&self) -> &MemberCard {
        &self.card
    }

    /// What keeps them.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(super) const fn bls(&self) -> &BlsKey {
        &self.bls
    }

    pub(super) const fn schnorr(&self) -> &SchnorrKey {
        &self.schnorr
    }

    pub(super) fn local_secret(&self) -> &[u8; LOCAL_SECRET_BYTES] {
        &self.local
    }
}
