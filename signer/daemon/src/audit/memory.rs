//! What the log counts between two entries. Bounded, whatever is asked; lost with the process, for it counts only what other
//! entries say already, or what was never judged.

use super::entry::{Counted, Repeats, Sequence, TurnedAway, UnixMillis, Verdict};
use super::recorder::{Question, TurnedAwayFor};
use crate::limits::Fingerprint;
use alys_protocol::bytes::Digest;
use alys_signer_client::Role;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Requests that are recognised when they are repeated.
const MAX_RECENT: usize = 1024;
/// Certificates that are counted apart; the CA issues few.
const MAX_CERTIFICATES: usize = 1024;

/// One certificate's request, byte for byte.
type Asked = (Fingerprint, Digest);

#[derive(Debug)]
pub(crate) struct Memory {
    recent: HashMap<Asked, (Sequence, Verdict)>,
    /// Keys of `recent`, oldest first.
    order: VecDeque<Asked>,
    repeats: BTreeMap<Sequence, u64>,
    turned_away: BTreeMap<[u8; 32], TurnedAway>,
    unrecorded: u64,
    since: UnixMillis,
    checkpointed: UnixMillis,
    flush: bool,
}

impl Memory {
    pub(crate) fn new(now: UnixMillis) -> Self {
        Self {
            recent: HashMap::new(),
            order: VecDeque::new(),
            repeats: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            unrecorded: 0,
            since: now,
            checkpointed: now,
            flush: false,
        }
    }

    /// Counts a repeat; false where the answer is new and needs an entry.
    pub(crate) fn counts(
        &mut self,
        question: &Question<'_>,
        evidence: Digest,
        verdict: &Verdict,
    ) -> bool {
        let Some((sequence, known)) = self.recent.get(&(question.certificate, evidence)) else {
            return false;
        };
        let same = match (known, verdict) {
            (
                Verdict::Signed { intent: known } | Verdict::Repeated { intent: known },
                Verdict::Repeated { intent },
            ) => known == intent,
            (Verdict::Refused { .. }, Verdict::Refused { .. }) => known == verdict,
            _ => false,
        };
        if same {
            let times = self.repeats.entry(*sequence).or_default();
            *times = times.saturating_add(1);
        }
        same
    }

    /// Remembers what has an entry now.
    pub(crate) fn remember(
        &mut self,
        question: &Question<'_>,
        evidence: Digest,
        sequence: Sequence,
        verdict: Verdict,
    ) {
        let asked = (question.certificate, evidence);
        if self.recent.insert(asked, (sequence, verdict)).is_none() {
            self.order.push_back(asked);
        }
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }

    /// A refusal gets no entry.
    pub(crate) fn leave_out(&mut self) {
        self.unrecorded = self.unrecorded.saturating_add(1);
    }

    pub(crate) fn turned_away(
        &mut self,
        role: Role,
        certificate: Fingerprint,
        reason: TurnedAwayFor,
    ) {
        // Beyond that many, all others count as one: the certificate of zeros.
        let full = self.turned_away.len() >= MAX_CERTIFICATES
            && !self.turned_away.contains_key(&certificate.0);
        let certificate = if full { [0; 32] } else { certificate.0 };
        let row = self
            .turned_away
            .entry(certificate)
            .or_insert_with(|| TurnedAway {
                role,
                certificate,
                too_many: 0,
                forbidden: 0,
                malformed: 0,
            });
        let count = match reason {
            TurnedAwayFor::TooMany => &mut row.too_many,
            TurnedAwayFor::Forbidden => &mut row.forbidden,
            TurnedAwayFor::Malformed => &mut row.malformed,
        };
        *count = count.saturating_add(1);
    }

    /// What was counted, once `seconds` have passed.
    pub(crate) fn take_counted(&mut self, now: UnixMillis, seconds: u64) -> Option<Counted> {
        // A clock that was set back must not stop the counting.
        if now >= self.since && now.since(self.since) < seconds.saturating_mul(1000) {
            return None;
        }
        let counted = Counted {
            since: std::mem::replace(&mut self.since, now),
            repeats: std::mem::take(&mut self.repeats)
                .into_iter()
                .map(|(entry, times)| Repeats { entry, times })
                .collect(),
            turned_away: std::mem::take(&mut self.turned_away)
                .into_values()
                .collect(),
            unrecorded: std::mem::take(&mut self.unrecorded),
        };
        let nothing =
            counted.repeats.is_empty() && counted.turned_away.is_empty() && counted.unrecorded == 0;
        (!nothing).then_some(counted)
    }

    /// There are commits that are not on disk yet.
    pub(crate) fn must_flush(&mut self) {
        self.flush = true;
    }

    pub(crate) fn take_flush(&mut self) -> bool {
        std::mem::take(&mut self.flush)
    }

    pub(crate) fn checkpointed(&mut self, now: UnixMillis) {
        self.checkpointed = now;
    }

    /// Whether the last checkpoint is that old, or from later than now: clocks are set back.
    pub(crate) fn checkpoint_is_due(&self, now: UnixMillis, seconds: u64) -> bool {
        now < self.checkpointed || now.since(self.checkpointed) >= seconds.saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Inputs;
    use super::*;
    use crate::authority::Operation;
    use alys_protocol::units::Slot;
    use alys_signer_core::clock::WindowTime;
    use alys_signer_core::freshness::Freshness;

    fn asked(body: &[u8]) -> Question<'_> {
        Question {
            role: Role::Node,
            certificate: Fingerprint([1; 32]),
            operation: Operation::Approve,
            request: Digest::ZERO,
            body,
            inputs: Inputs {
                slot: Slot::default(),
                window: WindowTime::ZERO,
                bitcoin: Digest::ZERO,
                freshness: Freshness::default(),
                randomness: None,
            },
            lease: None,
            time: UnixMillis::new(1),
        }
    }

    #[test]
    fn only_the_same_answer_to_the_same_bytes_is_a_repeat() {
        let mut memory = Memory::new(UnixMillis::new(0));
        let question = asked(b"");
        let (one, other) = (Digest::new([1; 32]), Digest::new([2; 32]));
        let signed = Verdict::Signed { intent: one };
        memory.remember(&question, one, Sequence::new(7), signed);
        assert!(memory.counts(&question, one, &Verdict::Repeated { intent: one }));
        assert!(!memory.counts(&question, one, &Verdict::Repeated { intent: other }));
        assert!(!memory.counts(&question, other, &Verdict::Repeated { intent: one }));
        let mut stranger = asked(b"");
        stranger.certificate = Fingerprint([2; 32]);
        assert!(!memory.counts(&stranger, one, &Verdict::Repeated { intent: one }));
        assert_eq!(memory.take_counted(UnixMillis::new(59_999), 60), None);
        let counted = memory.take_counted(UnixMillis::new(60_000), 60).unwrap();
        let entry = Sequence::new(7);
        assert_eq!(counted.repeats, [Repeats { entry, times: 1 }]);
        assert_eq!(memory.take_counted(UnixMillis::new(130_000), 60), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut memory = Memory::new(UnixMillis::new(0));
        for number in 0..3000u64 {
            let mut bytes = [0u8; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            bytes[31] = 1;
            let question = asked(b"");
            let verdict = Verdict::Signed {
                intent: Digest::ZERO,
            };
            memory.remember(
                &question,
                Digest::new(bytes),
                Sequence::new(number),
                verdict,
            );
            memory.turned_away(Role::Node, Fingerprint(bytes), TurnedAwayFor::TooMany);
        }
        assert_eq!(memory.recent.len(), MAX_RECENT);
        assert_eq!(memory.order.len(), MAX_RECENT);
        let counted = memory.take_counted(UnixMillis::new(0), 0).unwrap();
        assert_eq!(counted.turned_away.len(), MAX_CERTIFICATES + 1);
        let total: u64 = counted.turned_away.iter().map(|row| row.too_many).sum();
        assert_eq!(total, 3000);
    }
}
