//! Steps that move Bitcoin's headers and the clocks.

use super::universe::{CHECKPOINT, encoded};
use super::{Run, header_rules, pick};
use crate::bitcoin_kit::grind;
use crate::fixtures::GENESIS_SLOT;
use alys_signer_core::btc::{Headers as _, UnixTime};
use bitcoin::block::Header;
use std::convert::Infallible;

impl Run {
    /// A stretch of a branch, perhaps with a header on top whose time is at a limit.
    pub(super) fn feed(&mut self, a: u8, b: u8, c: u8) {
        let branch = pick(&self.universe.branches, a);
        let main = &self.universe.branches[0];
        let fork = branch
            .iter()
            .zip(main)
            .take_while(|(one, other)| one == other)
            .count();
        let from = match b % 4 {
            0 => self.oracle.headers.len(),
            1 => fork,
            2 => 140 + usize::from(c),
            _all => 0,
        };
        let count = match b % 4 {
            3 => CHECKPOINT as usize + 1 + usize::from(c % 64),
            _part => 1 + usize::from(c % 24),
        };
        let from = from.min(branch.len());
        let mut batch = branch[from..(from + count).min(branch.len())].to_vec();
        if let (192.., Some(below)) = (b, batch.last().copied()) {
            let upto = branch.iter().position(|header| *header == below).unwrap();
            let median = header_rules::median(&branch[..=upto]);
            let latest = u32::try_from(self.clocks.time + 7200).unwrap_or(u32::MAX);
            let times = [median, median + 1, latest, latest + 1];
            let mut header = below;
            header.prev_blockhash = below.block_hash();
            header.time = times[usize::from(c % 4)];
            grind(&mut header);
            batch.push(header);
        }
        self.headers(&batch);
    }

    fn headers(&mut self, batch: &[Header]) {
        let before = self.oracle.headers.len();
        let checkpoint = self.signer.bitcoin().checkpoint(self.headers.get()).hash;
        let time = self.clocks.time;
        let expected = header_rules::judge(&self.oracle.headers, checkpoint, batch, time);
        let now = Some(UnixTime::new(time));
        let decided = self
            .signer
            .bitcoin_headers(&self.headers, now, &encoded(batch));
        let expected = match (&expected, &decided) {
            (Ok(chain), Ok(decision)) => {
                assert_eq!(chain.is_some(), decision.is_new());
                chain
            }
            (Err(broken), Err(refusal)) => {
                assert!(
                    broken.contains(&refusal.rule),
                    "{refusal}; the oracle has {broken:?}"
                );
                return;
            }
            (Ok(_), Err(refusal)) => panic!("good headers are refused: {refusal}"),
            (Err(broken), Ok(_)) => panic!("headers are taken against {broken:?}"),
        };
        let Some(chain) = expected else { return };
        let (state, _) = decided
            .unwrap()
            .persist(|_| Ok::<(), Infallible>(()))
            .unwrap();
        self.headers = state.unwrap();
        let tip = self.headers.get().tip().unwrap();
        assert_eq!(tip.height.get() as usize, chain.len() - 1);
        assert_eq!(tip.hash, chain[chain.len() - 1].block_hash());
        let path = match before {
            0 => "headers opened",
            _ if chain[before - 1] == self.oracle.headers[before - 1] => "headers extended",
            _other => "headers reorganised",
        };
        self.reached.note(path);
        self.oracle.headers.clone_from(chain);
    }

    /// Lets some blocks of the branch that the signer is on come one by one, and the clocks go on with them.
    pub(super) fn live(&mut self, a: u8) {
        for _block in 0..=a % 16 {
            let own = &self.oracle.headers;
            let goes_on = |branch: &Vec<Header>| match branch.get(..=own.len()) {
                Some([.., last, next]) if own.last() == Some(last) => Some((*last, *next)),
                _other => None,
            };
            let Some((last, next)) = self.universe.branches.iter().find_map(goes_on) else {
                return;
            };
            self.clocks.timer += u64::from(next.time - last.time) * 1000;
            self.clocks.time = self.clocks.time.max(u64::from(next.time) + 30);
            self.headers(&[next]);
            self.moment();
        }
    }

    /// The slot in which a vote comes just in time, or the one before or after.
    pub(super) fn set_slot(&mut self, a: u8, b: u8) {
        let ballot = pick(&self.universe.ballots, a);
        let earliest = ballot.slot - self.limits.horizon;
        self.clocks.slot = match b % 4 {
            3 => GENESIS_SLOT + 1000,
            near => earliest - 1 + u64::from(near),
        };
    }

    pub(super) fn set_time(&mut self, a: u8, b: u8, c: u8) {
        let now = self.moment();
        let near = u64::from(b % 3);
        match a % 4 {
            // The tip's lag at the limit.
            0 => {
                if let Some(tip) = self.oracle.headers.last() {
                    self.clocks.time = u64::from(tip.time) + 3 * 3600 - 1 + near;
                }
            }
            // The end of a window.
            1 => {
                let (charges, length) = match c % 2 {
                    0 => (&self.oracle.values, self.limits.window_ms),
                    _one => (&self.oracle.least_minted, self.limits.mint_window_ms),
                };
                // With the grain by which a window may count longer, or without.
                let length = length + length / 24 * u64::from(c / 2 % 2);
                if let Some(oldest) = charges.oldest(now.window, length) {
                    let end = oldest + length + near;
                    self.clocks.timer += end.saturating_sub(now.window);
                }
            }
            2 => self.clocks.timer += u64::from(b) * 60_000,
            _three => {
                let main = &self.universe.branches[0];
                self.clocks.time = u64::from(main[CHECKPOINT as usize].time) + u64::from(b) * 600;
            }
        }
    }
}
