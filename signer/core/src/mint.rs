//! Rules of area `mint`: what a block may bring into the side chain's supply.
//!
//! Each rule is a pure function under the rule's name; the sentence above it is the design's.

pub mod deposit;
pub mod fees;
pub mod supply;
