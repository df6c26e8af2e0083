//! Random numbers of a token (PKCS#11, 5.20: `C_GenerateRandom`).

use crate::error::TokenError;
use crate::token::Token;
use zeroize::Zeroizing;

/// Bytes that are asked for at once.
pub const RANDOM_BYTES: usize = 64;

impl Token {
    /// Random bytes from the token's generator. Nobody but the token knows how good they are: mix them.
    ///
    /// # Errors
    /// - [`TokenError`] where the token is away or has no generator.
    pub fn random(&self) -> Result<Zeroizing<[u8; RANDOM_BYTES]>, TokenError> {
        let mut bytes = Zeroizing::new([0u8; RANDOM_BYTES]);
        self.with(|link| link.check(link.session.generate_random_slice(&mut *bytes)))?;
        Ok(bytes)
    }
}
