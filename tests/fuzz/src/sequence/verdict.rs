//! What must become of a request, and rolling windows as lists of everything that was ever charged.

use super::oracle::Moment;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;

/// What must become of a request.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rules that it breaks: it is refused by one of them.
    pub broken: Vec<Rule>,
    /// Rules that may refuse it, since windows count a charge for a little longer than it was.
    pub unsure: Vec<Rule>,
    /// Whether it repeats what was signed.
    pub repeat: bool,
    /// Accepting paths that it takes if it is accepted.
    pub paths: Vec<&'static str>,
}

impl Verdict {
    /// "Lower, or no such counter = refuse", repeats too.
    pub fn of(now: &Moment) -> Self {
        let mut verdict = Self::default();
        if !now.fresh {
            verdict.broken.extend([Rule::Fresh, Rule::Counter]);
        }
        verdict
    }

    pub fn demand(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.broken.push(rule);
        }
    }

    /// Compares with what the signer decided: whether it was new, or the refusal. `spoiled` requests are refused by whatever
    /// rule.
    pub fn compare(&self, decided: &Result<bool, Refusal>, spoiled: bool) {
        match decided {
            Ok(new) => {
                assert!(!spoiled, "a spoiled request was accepted");
                assert!(self.broken.is_empty(), "accepted against {:?}", self.broken);
                assert_eq!(*new, !self.repeat, "a repeat is no news");
            }
            Err(refusal) => {
                let known =
                    self.broken.contains(&refusal.rule) || self.unsure.contains(&refusal.rule);
                assert!(spoiled || known, "{refusal}; the oracle has {self:?}");
            }
        }
    }
}

/// What was charged to a window, and when.
#[derive(Debug, Clone, Copy)]
struct Charge {
    at: u64,
    amount: u64,
}

/// Everything that was charged to one rolling window.
#[derive(Debug, Default)]
pub struct Charges(Vec<Charge>);

impl Charges {
    pub fn add(&mut self, at: u64, amount: u64) {
        if amount > 0 {
            self.0.push(Charge { at, amount });
        }
    }

    fn sum(&self, now: u64, length: u64) -> u64 {
        let inside = self.0.iter().filter(|charge| now - charge.at <= length);
        inside.map(|charge| charge.amount).sum()
    }

    /// When the oldest charge that still counts was made.
    pub fn oldest(&self, now: u64, length: u64) -> Option<u64> {
        let mut inside = self.0.iter().filter(|charge| now - charge.at <= length);
        inside.next().map(|charge| charge.at)
    }
}

/// A rolling window: its length in milliseconds, its limit, and what came before.
pub struct Window<'a> {
    pub now: u64,
    pub length: u64,
    pub limit: u64,
    pub least: &'a Charges,
    pub most: &'a Charges,
    /// When officers vouched for a state: "full windows".
    pub forgotten: Option<u64>,
}

impl Window<'_> {
    /// Certainly refused where the charges of exactly the length leave no room; perhaps refused where those of a grain (a
    /// 24th) more do not.
    pub fn judge(
        &self,
        verdict: &mut Verdict,
        rule: Rule,
        least: u64,
        most: u64,
        paths: [&'static str; 3],
    ) {
        if self
            .forgotten
            .is_some_and(|at| self.now - at <= self.length)
        {
            verdict.demand(least == 0, rule);
            if most > 0 {
                verdict.unsure.push(rule);
            }
        }
        let before = self.least.sum(self.now, self.length);
        verdict.demand(least == 0 || before + least <= self.limit, rule);
        let grain = self.length / 24;
        if most > 0 && self.most.sum(self.now, self.length + grain) + most > self.limit {
            verdict.unsure.push(rule);
        }
        let [any, full, after] = paths;
        if least > 0 {
            verdict.paths.push(any);
            if before + least == self.limit {
                verdict.paths.push(full);
            }
            if self.least.sum(self.now, u64::MAX) + least > self.limit {
                verdict.paths.push(after);
            }
        }
    }
}
