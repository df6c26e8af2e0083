//! Merged mining: what the node hands to pools, what it takes back, and what a miner does with both.
//!
//! - [`templates`] is the node's side, sans-IO: every template stays valid until its range is finalised (design 6);
//! - [`aux_block`] has the JSON of `createauxblock` and its relatives, with Namecoin's names and byte order;
//! - [`block_builder`] makes a Bitcoin block that commits to a bundle, and the AuxPoW that shows it.

pub mod aux_block;
pub mod block_builder;
pub mod templates;
