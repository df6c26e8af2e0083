//! Judging headers: the opening run up to the checkpoint, then the chain with most work.

use super::rules::{
    header_floor, header_link, header_retarget, header_work, proof_of_work, reorg_depth,
};
use super::{
    Checkpoint, Headers, MAX_REORG_BLOCKS, NetworkRules, OPENING_HEADERS, RETARGET_HEADERS,
    Standing, Tip, UnixTime, Update, decode,
};
use crate::refusal::{equal, refusal};
use alloc::vec::Vec;
use alloy_primitives::U256;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BitcoinHeaderBytes, Refusal};
use alys_protocol::units::BtcHeight;
use bitcoin::block::Header;
use bitcoin::pow::Target;
use bitcoin::{BlockHash, Work};
use core::fmt::Display;
use thiserror::Error;

/// What a signer judges Bitcoin headers by.
#[derive(Debug, Clone)]
pub struct LightClient {
    rules: NetworkRules,
    start: Checkpoint,
    max_reorg_blocks: u32,
    easiest: Target,
}

/// Parameters that the ring is not made for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: expected 1 to {maximum}, found {found}")]
pub struct SetupError {
    /// The parameter.
    pub field: &'static str,
    /// The largest that is allowed.
    pub maximum: u32,
    /// What was found.
    pub found: u32,
}

impl LightClient {
    /// A client that starts at `start`, unless officers named another block, and takes reorganisations of up to `max_reorg_blocks`.
    ///
    /// # Errors
    /// - [`SetupError`] where the depth is zero or above [`MAX_REORG_BLOCKS`], or the rules' period above
    ///   [`RETARGET_HEADERS`].
    pub fn new(
        rules: NetworkRules,
        start: Checkpoint,
        max_reorg_blocks: u32,
    ) -> Result<Self, SetupError> {
        let within = |field, found, maximum| match found {
            1.. if found <= maximum => Ok(()),
            _other => Err(SetupError {
                field,
                maximum,
                found,
            }),
        };
        within("max_reorg_blocks", max_reorg_blocks, MAX_REORG_BLOCKS)?;
        within("retarget period", rules.interval(), RETARGET_HEADERS)?;
        Ok(Self {
            rules,
            start,
            max_reorg_blocks,
            easiest: Target::from_be_bytes([0xff; 32]),
        })
    }

    /// The same client, that takes no header whose target is easier than `easiest`: see [`header_floor`].
    #[must_use]
    pub fn with_floor(mut self, easiest: Target) -> Self {
        self.easiest = easiest;
        self
    }

    /// The network's rules.
    pub fn rules(&self) -> &NetworkRules {
        &self.rules
    }

    /// The block that officers vouch for: the chain's anchor, or where the chain spec starts.
    pub fn checkpoint(&self, chain: &impl Headers) -> Checkpoint {
        chain.anchor().unwrap_or(self.start)
    }

    /// Where a chain stands under these rules.
    pub fn standing(&self, chain: &impl Headers) -> Standing {
        let tip = chain.tip();
        let checkpoint = self.checkpoint(chain).height;
        let opening = self
            .rules
            .period_start(checkpoint)
            .min(checkpoint.saturating_sub(OPENING_HEADERS - 1));
        let from = tip.map_or(opening, |tip| {
            tip.height
                .saturating_sub(self.max_reorg_blocks)
                .saturating_add(1)
        });
        Standing { tip, from }
    }

    /// Judges headers, each the child of the one before. `Some` is to be stored, then applied; `None` changes nothing:
    /// the headers are known, or good but with no more work than what they would replace (the first seen stays).
    ///
    /// Before the chain is open the headers must begin at [`Standing::from`] and reach the checkpoint: its hash vouches
    /// for those before it, from which median time and difficulty of the next follow. After that they may begin with
    /// known ones.
    ///
    /// # Errors
    /// - a refusal by rule `header-link`, `header-work`, `header-retarget` or `reorg-depth`; then none of them counts.
    pub fn judge(
        &self,
        chain: &impl Headers,
        headers: &[BitcoinHeaderBytes],
        now: Option<UnixTime>,
    ) -> Result<Option<Update>, Refusal> {
        let headers = headers
            .iter()
            .map(decode)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| link("headers of 80 bytes", "others"))?;
        let Some(first) = headers.first() else {
            return Ok(None);
        };
        let Some(tip) = chain.tip() else {
            return self.open(chain, &headers, now).map(Some);
        };
        let mut fork = header_link(chain, first)?;
        let mut unknown = headers.as_slice();
        while let [header, rest @ ..] = unknown
            && let Some(height) = fork.checked_add(1)
            && chain.hash(height) == Some(header.block_hash())
        {
            (fork, unknown) = (height, rest);
        }
        if unknown.is_empty() {
            return Ok(None);
        }
        let checkpoint = self.checkpoint(chain).height;
        reorg_depth(self.max_reorg_blocks, checkpoint, tip, fork)?;
        let Some(hash) = chain.hash(fork) else {
            return Err(link("a kept header", fork));
        };
        let mut branch = Branch::new(chain, Tip { height: fork, hash })?;
        for header in unknown {
            self.append(&mut branch, header, now)?;
        }
        let replaced = (fork.get()..tip.height.get())
            .filter_map(|below| chain.header(BtcHeight::new(below).saturating_add(1)));
        let better = fork == tip.height || work(branch.fresh.iter().copied()) > work(replaced);
        Ok(better.then(|| branch.into_update()))
    }

    fn open(
        &self,
        chain: &impl Headers,
        headers: &[Header],
        now: Option<UnixTime>,
    ) -> Result<Update, Refusal> {
        let Checkpoint { height, hash } = self.checkpoint(chain);
        let first = self.standing(chain).from;
        let count = height.saturating_sub(first.get()).saturating_add(1).get();
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| headers.split_at_checked(count));
        let Some(([lowest, rest @ ..], beyond)) = split else {
            return Err(link(
                format_args!("{count} headers from height {first} to the checkpoint at {height}"),
                format_args!("{} headers", headers.len()),
            ));
        };
        proof_of_work(&self.rules, lowest)?;
        let mut branch = Branch {
            base: chain,
            first,
            fresh: alloc::vec![*lowest],
            tip: Tip {
                height: first,
                hash: lowest.block_hash(),
            },
        };
        for header in rest {
            child_of(branch.tip.hash, header)?;
            proof_of_work(&self.rules, header)?;
            branch.push(header)?;
        }
        equal(Rule::HeaderLink, "checkpoint", hash, branch.tip.hash)?;
        for header in beyond {
            self.append(&mut branch, header, now)?;
        }
        Ok(branch.into_update())
    }

    fn append<H: Headers>(
        &self,
        branch: &mut Branch<'_, H>,
        header: &Header,
        now: Option<UnixTime>,
    ) -> Result<(), Refusal> {
        let parent = branch.tip;
        child_of(parent.hash, header)?;
        header_retarget(&self.rules, branch, parent.height, header)?;
        header_floor(&self.easiest, header)?;
        header_work(&self.rules, branch, parent.height, header, now)?;
        branch.push(header)
    }
}

fn link(expected: impl Display, found: impl Display) -> Refusal {
    refusal(Rule::HeaderLink, expected, found)
}

fn child_of(parent: BlockHash, header: &Header) -> Result<(), Refusal> {
    equal(
        Rule::HeaderLink,
        "a child of",
        parent,
        header.prev_blockhash,
    )
}

/// Work of headers: the expected number of hashes, `2^256 / (target + 1)` each, as Bitcoin Core's `GetBlockProof`.
fn work(headers: impl Iterator<Item = Header>) -> U256 {
    let mut known = None;
    headers.fold(U256::ZERO, |sum, header| {
        // Neighbours have the same bits, and the division is long.
        let each = match known {
            Some((bits, each)) if bits == header.bits => each,
            Some(_) | None => {
                let work: Work = Target::from_compact(header.bits).to_work();
                U256::from_be_bytes(work.to_be_bytes())
            }
        };
        known = Some((header.bits, each));
        sum.saturating_add(each)
    })
}

/// A chain with its headers above a fork replaced.
struct Branch<'a, H> {
    base: &'a H,
    /// Height of the first fresh header.
    first: BtcHeight,
    fresh: Vec<Header>,
    tip: Tip,
}

impl<'a, H: Headers> Branch<'a, H> {
    fn new(base: &'a H, fork: Tip) -> Result<Self, Refusal> {
        Ok(Self {
            base,
            first: child_height(fork.height)?,
            fresh: Vec::new(),
            tip: fork,
        })
    }

    fn push(&mut self, header: &Header) -> Result<(), Refusal> {
        self.tip = Tip {
            height: child_height(self.tip.height)?,
            hash: header.block_hash(),
        };
        self.fresh.push(*header);
        Ok(())
    }

    fn into_update(self) -> Update {
        Update {
            first: self.first,
            headers: self.fresh,
            tip: self.tip,
        }
    }
}

fn child_height(parent: BtcHeight) -> Result<BtcHeight, Refusal> {
    parent
        .checked_add(1)
        .ok_or_else(|| link("a height of 32 bits", "more"))
}

impl<H: Headers> Headers for Branch<'_, H> {
    fn anchor(&self) -> Option<Checkpoint> {
        self.base.anchor()
    }

    fn tip(&self) -> Option<Tip> {
        Some(self.tip)
    }

    fn header(&self, height: BtcHeight) -> Option<Header> {
        match height.checked_sub(self.first.get()) {
            None => self.base.header(height),
            Some(place) => self.fresh.get(usize::try_from(place.get()).ok()?).copied(),
        }
    }
}
