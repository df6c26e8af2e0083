//! Rules of area `pegout`: what may be paid out of the federation's wallet.
//!
//! Each rule is a pure function under the rule's name; the sentence above it is the design's. [`evidence`] has the rules
//! on what the chain decided, [`burn`] those on the burns that it owes, [`transaction`] those on the transaction that pays
//! them, [`limits`] the signer's own limits.

pub mod burn;
pub mod evidence;
pub mod limits;
pub mod transaction;
