//! What new keys are made from: the host's generator, a token's where there is one, and an officer's dice or coins.
//!
//! All of it goes through one hash, each source with its length, before anything is cut out of it: whoever knows or
//! chooses some of the sources neither knows nor chooses the keys while one source is good. No source sees another one.

use super::SoftwareKeys;
use alys_protocol::bls;
use alys_protocol::ceremony::{CeremonyId, EntropyReport, OfficerEntropy, Throws};
use alys_protocol::hash::{self, TaggedHasher};
use alys_signer_pkcs11::{Token, TokenError};
use bitcoin::secp256k1::SecretKey;
use std::collections::BTreeMap;
use thiserror::Error;
use zeroize::Zeroizing;

/// What an officer's throws have to be worth in a ceremony.
const MIN_OFFICER_BITS: u32 = 128;
/// Longest input of an officer, in bytes.
pub const MAX_THROWS_BYTES: usize = 4096;
const HOST_BYTES: usize = 64;

/// Throws that are none, or too few. No variant says what was thrown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ThrowsError {
    /// Something else between them.
    #[error(
        "expected throws of a die (1 to 6) or of a coin (0 and 1, or h and t), found another sign, or signs of two of these, at place {place}"
    )]
    Sign {
        /// Counted from 1, without spaces.
        place: usize,
    },
    /// Not enough.
    #[error(
        "expected throws worth at least {MIN_OFFICER_BITS} bits (50 of a die, 128 of a coin), found {throws} worth {bits}"
    )]
    Few {
        /// Throws.
        throws: u32,
        /// Bits.
        bits: u32,
    },
    /// A key held down, or a loaded die: a fair one does that less than once in a million ceremonies.
    #[error("expected throws of a fair {kind}, found one side too often; throw again")]
    Unfair {
        /// `dice` or `coin`.
        kind: &'static str,
    },
}

/// An officer's throws. Never printed, wiped when dropped.
pub struct OfficerInput {
    kind: Throws,
    signs: Zeroizing<String>,
}

impl core::fmt::Debug for OfficerInput {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OfficerInput(..)")
    }
}

impl OfficerInput {
    /// Reads throws; spaces between them do not count.
    ///
    /// # Errors
    /// - [`ThrowsError`] as its variants say.
    pub fn parse(text: &str) -> Result<Self, ThrowsError> {
        let mut signs = Zeroizing::new(String::with_capacity(text.len()));
        signs.extend(text.chars().filter(|sign| !sign.is_whitespace()));
        let of = |alphabet: &str| {
            let mut all = signs.chars();
            all.position(|sign| !alphabet.contains(sign.to_ascii_lowercase()))
        };
        // Ones alone are of both; they are refused below.
        let kind = match (of("01"), of("ht"), of("123456")) {
            (None, _, _) | (_, None, _) => Throws::Coin,
            (_, _, None) => Throws::Dice,
            (Some(numbers), Some(letters), Some(dice)) => {
                let place = numbers.max(letters).max(dice).saturating_add(1);
                return Err(ThrowsError::Sign { place });
            }
        };
        let input = Self { kind, signs };
        let OfficerEntropy { throws, bits, .. } = input.report();
        if bits < MIN_OFFICER_BITS {
            return Err(ThrowsError::Few { throws, bits });
        }
        input.check_fair(throws)?;
        Ok(input)
    }

    fn check_fair(&self, throws: u32) -> Result<(), ThrowsError> {
        let mut sides = BTreeMap::<char, u32>::new();
        for sign in self.signs.chars() {
            let count = sides.entry(sign.to_ascii_lowercase()).or_default();
            *count = count.saturating_add(1);
        }
        // Half of 50 throws on one of six sides, three quarters of 128 on one of two: 5 standard deviations and more.
        let most = match self.kind {
            Throws::Dice => throws / 2,
            Throws::Coin => throws.saturating_mul(3) / 4,
        };
        if sides.values().any(|count| *count > most) {
            return Err(ThrowsError::Unfair {
                kind: self.kind.name(),
            });
        }
        Ok(())
    }

    /// How much it is worth.
    pub fn report(&self) -> OfficerEntropy {
        let throws = u32::try_from(self.signs.len()).unwrap_or(u32::MAX);
        let bits = match self.kind {
            // log2(6) is 2.58496.
            Throws::Dice => throws.saturating_mul(2584) / 1000,
            Throws::Coin => throws,
        };
        OfficerEntropy {
            kind: self.kind,
            throws,
            bits,
        }
    }
}

/// What keys cannot be made from.
#[derive(Debug, Error)]
pub enum EntropyError {
    /// The host gives none.
    #[error("the operating system gives no entropy: {0}")]
    Host(#[from] getrandom::Error),
    /// The token gives none.
    #[error("the token gives no entropy: {0}")]
    Token(#[from] TokenError),
}

/// All sources, mixed. Wiped when dropped.
pub struct Pool {
    mixed: Zeroizing<[u8; 32]>,
    report: EntropyReport,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Pool").field(&self.report).finish()
    }
}

impl Pool {
    /// Asks host and token, and mixes in what the officer threw. Keys of two ceremonies differ even from equal sources.
    ///
    /// # Errors
    /// - [`EntropyError`] where one of them gives nothing: no source is left out silently.
    pub fn gather(
        ceremony: CeremonyId,
        token: Option<&Token>,
        officer: Option<&OfficerInput>,
    ) -> Result<Self, EntropyError> {
        let mut host = Zeroizing::new([0u8; HOST_BYTES]);
        getrandom::fill(&mut *host)?;
        let token = token.map(Token::random).transpose()?;
        let token = token.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
        Ok(Self::mix(ceremony, &*host, token, officer))
    }

    fn mix(
        ceremony: CeremonyId,
        host: &[u8],
        token: &[u8],
        officer: Option<&OfficerInput>,
    ) -> Self {
        let bits = |bytes: &[u8]| {
            u32::try_from(bytes.len()).map_or(u32::MAX, |length| length.saturating_mul(8))
        };
        let (kind, signs) =
            officer.map_or(("", ""), |input| (input.kind.name(), input.signs.as_str()));
        let mixed = TaggedHasher::without_chain(hash::KEY_POOL)
            .fixed(ceremony.as_bytes())
            .variable(host)
            .variable(token)
            .variable(kind.as_bytes())
            .variable(signs.as_bytes())
            .finish();
        Self {
            mixed: Zeroizing::new(mixed),
            report: EntropyReport {
                host_bits: bits(host),
                token_bits: bits(token),
                officer: officer.map(OfficerInput::report),
            },
        }
    }

    /// Which sources took part.
    pub const fn report(&self) -> EntropyReport {
        self.report
    }

    fn seed(&self, key: &str, attempt: u32) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(
            TaggedHasher::without_chain(hash::KEY_SEED)
                .fixed(&*self.mixed)
                .variable(key.as_bytes())
                .fixed(&attempt.to_le_bytes())
                .finish(),
        )
    }

    /// The keys that follow from it.
    ///
    /// # Errors
    /// - [`getrandom::Error`] where there is nothing to blind them with.
    pub fn keys(&self) -> Result<SoftwareKeys, getrandom::Error> {
        let mut attempt = 0u32;
        loop {
            let bls = bls::SecretKey::from_seed(&*self.seed("bls", attempt));
            let schnorr = SecretKey::from_slice(&*self.seed("schnorr", attempt));
            // The zero scalar and such, with a probability of 2^-128.
            if let (Ok(bls), Ok(schnorr)) = (bls, schnorr) {
                return SoftwareKeys::new(bls, schnorr);
            }
            attempt = attempt.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: &str = "16253 41625 34162 53416 25341 62534 16253 41625 34162 53416";

    #[test]
    fn throws_are_checked_and_counted() {
        let dice = OfficerInput::parse(DICE).unwrap();
        let report = dice.report();
        assert_eq!(
            (report.kind, report.throws, report.bits),
            (Throws::Dice, 50, 129)
        );
        assert_eq!(format!("{dice:?}"), "OfficerInput(..)");
        let coin = "0110".repeat(32);
        let report = OfficerInput::parse(&coin).unwrap().report();
        assert_eq!(
            (report.kind, report.throws, report.bits),
            (Throws::Coin, 128, 128)
        );
        assert!(OfficerInput::parse(&"hTtH ".repeat(32)).is_ok());
        let few = |text: &str| matches!(OfficerInput::parse(text), Err(ThrowsError::Few { .. }));
        assert!(few(&DICE[1..]) && few(&coin[1..]) && few(""));
        for (text, place) in [
            (DICE.replace('6', "7"), 2),
            (format!("{DICE}0"), 51),
            (format!("{coin}h"), 129),
        ] {
            assert_eq!(
                OfficerInput::parse(&text).unwrap_err(),
                ThrowsError::Sign { place },
                "{text}"
            );
        }
        for held in ["1".repeat(200), "4".repeat(60), "h".repeat(140)] {
            assert!(
                matches!(OfficerInput::parse(&held), Err(ThrowsError::Unfair { .. })),
                "{held}"
            );
        }
    }

    /// Vectors: SHA-256 of tag, tag and fields, computed outside of this program (`hashlib`, see docs/ceremony.md).
    #[test]
    fn the_pool_and_its_seeds_are_the_documented_ones() {
        let officer = OfficerInput::parse(DICE).unwrap();
        let pool = Pool::mix(CeremonyId::new([1; 32]), &[2; 64], &[3; 64], Some(&officer));
        let hex = |bytes: &[u8; 32]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(
            hex(&pool.mixed),
            "25b074b63d03b4d215fd39c12a0e610317194e6e6401539c6b6eb4cba5d0e0c3"
        );
        assert_eq!(
            hex(&pool.seed("bls", 0)),
            "92f923712cc4c69be446c61ffdb4a583242e95f3d34845107cc304cddd0438c7"
        );
        assert_eq!(
            hex(&pool.seed("schnorr", 0)),
            "021769935bce4370be32e43dbf8e12f838e197f9751e58ddb2580183b427c978"
        );
        let alone = Pool::mix(CeremonyId::ZERO, &[2; 64], &[], None);
        assert_eq!(
            hex(&alone.mixed),
            "717531502d587278ed8a2d031bdda173f9bc8ec5f8651610f12e2c9dc7abdf2e"
        );
        assert_eq!(alone.report().officer, None);
        assert_eq!(pool.report().host_bits, 512);
    }

    #[test]
    fn each_source_alone_changes_the_keys() {
        let ceremony = CeremonyId::new([1; 32]);
        let one = OfficerInput::parse(DICE).unwrap();
        let reversed: String = DICE.chars().rev().collect();
        let other = OfficerInput::parse(&reversed).unwrap();
        let pools = [
            Pool::mix(ceremony, &[2; 64], &[3; 64], Some(&one)),
            Pool::mix(ceremony, &[9; 64], &[3; 64], Some(&one)),
            Pool::mix(ceremony, &[2; 64], &[9; 64], Some(&one)),
            Pool::mix(ceremony, &[2; 64], &[3; 64], Some(&other)),
            Pool::mix(ceremony, &[2; 64], &[3; 64], None),
            Pool::mix(CeremonyId::ZERO, &[2; 64], &[3; 64], Some(&one)),
            // Bytes that move from one source to the next are others.
            Pool::mix(
                ceremony,
                &[2; 63],
                &[&[2u8][..], &[3; 64]].concat(),
                Some(&one),
            ),
        ];
        let keys: std::collections::BTreeSet<_> = pools
            .iter()
            .map(|pool| *pool.keys().unwrap().to_secret_bytes())
            .collect();
        assert_eq!(keys.len(), pools.len());
    }
}
