//! Shamir's scheme (Communications of the ACM 22, 1979) over GF(256), byte by byte, by crate `blahaj` (ADR 0013).

use crate::error::BackupError;
use blahaj::{Share as Point, Sharks};
use zeroize::Zeroizing;

/// Bytes of the key, and of each share of it.
pub(crate) const VALUE_BYTES: usize = 32;

/// A share's value: at its number, the polynomials whose value at zero is the key.
pub(crate) type Value = Zeroizing<[u8; VALUE_BYTES]>;

/// Splits a key into `count` values, numbered from 1, of which any `threshold` give it back.
pub(crate) fn split(
    key: &[u8; VALUE_BYTES],
    threshold: u8,
    count: u8,
) -> Result<Vec<Value>, BackupError> {
    let mut values = Vec::new();
    for (number, point) in (1..=count).zip(Sharks(threshold).dealer(key)) {
        let bytes = Zeroizing::new(Vec::from(&point));
        match bytes.split_first() {
            Some((found, value)) if *found == number => {
                let value = value.try_into();
                values.push(Zeroizing::new(
                    value.map_err(|_| BackupError::Split("a share has another length"))?,
                ));
            }
            Some(_) | None => return Err(BackupError::Split("a share has another number")),
        }
    }
    // A backup that does not open is found out now, not when it is needed: the first values, and the last.
    let numbered = || (1..=count).zip(&values);
    let skip = usize::from(count.saturating_sub(threshold));
    for enough in [
        numbered().take(usize::from(threshold)).collect::<Vec<_>>(),
        numbered().skip(skip).collect(),
    ] {
        if *combine(threshold, &enough)? != *key {
            return Err(BackupError::Split("the shares do not give the key back"));
        }
    }
    Ok(values)
}

/// Gives the key back from `threshold` values with different numbers. From fewer, or wrong ones, it would make another key.
pub(crate) fn combine(threshold: u8, values: &[(u8, &Value)]) -> Result<Value, BackupError> {
    let mut points = Vec::new();
    for (number, value) in values {
        let mut bytes = Zeroizing::new([0u8; VALUE_BYTES + 1]);
        if let Some((first, rest)) = bytes.split_first_mut() {
            *first = *number;
            rest.copy_from_slice(&***value);
        }
        points.push(Point::try_from(bytes.as_slice()).map_err(BackupError::Split)?);
    }
    let key = Sharks(threshold)
        .recover(&points)
        .map(Zeroizing::new)
        .map_err(|_| BackupError::TooFew {
            threshold,
            found: values.len(),
        })?;
    key.as_slice()
        .try_into()
        .map(Zeroizing::new)
        .map_err(|_| BackupError::Split("the key has another length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(values: &[Value], chosen: &[usize]) -> Vec<(u8, Value)> {
        let pick = |place: &usize| (u8::try_from(place + 1).unwrap(), values[*place].clone());
        chosen.iter().map(pick).collect()
    }

    fn combined(threshold: u8, shares: &[(u8, Value)]) -> Result<Value, BackupError> {
        let shares: Vec<_> = shares
            .iter()
            .map(|(number, value)| (*number, value))
            .collect();
        combine(threshold, &shares)
    }

    proptest! {
        #[test]
        fn any_k_of_m_and_no_fewer(
            key in any::<[u8; 32]>(),
            (threshold, count, order) in (2u8..=8, 0u8..=8).prop_flat_map(|(threshold, more)| {
                let count = threshold + more;
                let places: Vec<usize> = (0..usize::from(count)).collect();
                (Just(threshold), Just(count), Just(places).prop_shuffle())
            }),
        ) {
            let values = split(&key, threshold, count).unwrap();
            let enough = some(&values, &order[..usize::from(threshold)]);
            prop_assert_eq!(*combined(threshold, &enough).unwrap(), key);
            let all = some(&values, &order);
            prop_assert_eq!(*combined(threshold, &all).unwrap(), key);
            let fewer = &enough[1..];
            prop_assert!(combined(threshold, fewer).is_err());
            // Whoever ignores the threshold gets something else, and that fits any key as well as this one: one more
            // point makes it the right one.
            prop_assert_ne!(*combined(threshold - 1, fewer).unwrap(), key);
        }

        /// What k - 1 officers know fits every key: for any other key there is a value of one more officer that gives it.
        #[test]
        fn fewer_than_k_leave_every_key_possible(key in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
            let values = split(&key, 3, 5).unwrap();
            let two = some(&values, &[1, 4]);
            // Over GF(256) the key is a sum in which the third value has a factor that is not zero.
            let base = combined(3, &[two.clone(), vec![(3, Zeroizing::new([0; 32]))]].concat()).unwrap();
            let unit = combined(3, &[two.clone(), vec![(3, Zeroizing::new([1; 32]))]].concat()).unwrap();
            let factor = base[0] ^ unit[0];
            prop_assert_ne!(factor, 0);
            let third: Vec<u8> = (0..32)
                .map(|place| {
                    let wanted = base[place] ^ other[place];
                    (0..=255u8).find(|value| times(*value, factor) == wanted).unwrap()
                })
                .collect();
            let third = Zeroizing::new(<[u8; 32]>::try_from(third).unwrap());
            prop_assert_eq!(*combined(3, &[two, vec![(3, third)]].concat()).unwrap(), other);
        }
    }

    /// Multiplication in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1, a second time and without tables.
    fn times(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1d };
            b >>= 1;
        }
        product
    }

    /// Coefficients are uniform, zero included: where zero is left out, a share of two never equals the key, and enough
    /// backups of one key give it away (the defect of crate `sharks`, and of `vsss-rs` before 6).
    #[test]
    fn a_share_says_nothing_of_the_key_in_many_backups() {
        let key = [0x5a; 32];
        let mut seen = [0u32; 256];
        for _ in 0..4096 {
            for byte in split(&key, 2, 2).unwrap()[0].iter() {
                seen[usize::from(*byte)] += 1;
            }
        }
        // 512 of each expected, deviation 23: ten deviations happen once in 10^20 runs.
        assert!(
            seen.iter().all(|count| (286..738).contains(count)),
            "{seen:?}"
        );
    }
}
