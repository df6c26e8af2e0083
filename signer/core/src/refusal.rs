//! How a rule refuses.

use alloc::string::ToString;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use core::fmt::Display;

/// A refusal of `rule`.
pub(crate) fn refusal(rule: Rule, expected: impl Display, found: impl Display) -> Refusal {
    Refusal {
        rule,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// Refuses unless both are the same.
pub(crate) fn equal<T: PartialEq + Display>(
    rule: Rule,
    what: &str,
    expected: T,
    found: T,
) -> Result<(), Refusal> {
    if expected == found {
        return Ok(());
    }
    Err(refusal(
        rule,
        format_args!("{what} {expected}"),
        format_args!("{found}"),
    ))
}
