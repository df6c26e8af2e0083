//! What officers said and operators imported, judged again.

use super::super::approval::Approval;
use super::super::entry::{
    Approved, BlobKind, Changed, Raised, Sequence, StateName, Stated, Verdict, blob_digest,
};
use super::super::named::Named as _;
use super::{Player, ReplayError, same, unusable};
use crate::authority::Operation;
use crate::server;
use crate::statement;
use crate::store::Stored;
use crate::store::audited as stored;
use alys_protocol::bytes::{CounterTag, Digest};
use alys_protocol::signer::Request;
use alys_signer_core::Durable;
use alys_signer_core::admin::statement::Governed;
use alys_signer_core::state::{AdminState, PegOutState, VoteState};

const STATEMENT: &str = Operation::Statement.name();
const APPROVAL: &str = "policy";

impl Player<'_> {
    pub(super) fn stated(
        &mut self,
        sequence: Sequence,
        stated: &Stated,
    ) -> Result<(), ReplayError> {
        let officers = self.blob(sequence, BlobKind::Officers, stated.officers)?;
        let body = self.blob(sequence, BlobKind::Request, stated.evidence)?;
        let Some(states) = self.governed(sequence)? else {
            self.replayed.without_state = self.replayed.without_state.saturating_add(1);
            self.forget(stated);
            return Ok(());
        };
        let (Some(officers), Some(body), Some(signer)) = (officers, body, &self.signer) else {
            self.replayed.without_evidence = self.replayed.without_evidence.saturating_add(1);
            self.forget(stated);
            return Ok(());
        };
        let wrong = |reason: String| unusable(sequence, STATEMENT, reason);
        let request = server::parse(&body).map_err(|error| wrong(format!("{error:?}")))?;
        let Request::Statement(signed) = request else {
            let found = Operation::of(&request).name();
            return same(sequence, STATEMENT, "operation", &STATEMENT, &found);
        };
        let said = statement::parse(&signed.text).map_err(|error| wrong(format!("{error:?}")))?;
        let officers = Approval::officers_of(&officers).map_err(wrong)?;
        let moment = statement::moment(signer, &stated.inputs, stated.challenge);
        let tag = stated.lease.map_or(CounterTag::ZERO, |it| it.counter.tag);
        let lease = (&stated.inputs.freshness, tag);
        let judged = statement::judge(&states, &moment, &officers, &said, &signed, lease);
        let (verdict, next, lease) = match judged {
            Ok((next, lease)) => (Verdict::Accepted, next, lease),
            Err(refusal) => (Verdict::from(refusal), states.clone(), None),
        };
        let shown = |verdict: &Verdict| format!("{verdict:?}");
        let recorded = shown(&stated.verdict);
        same(sequence, STATEMENT, "decision", &recorded, &shown(&verdict))?;
        let (recorded, again) = (format!("{:?}", stated.lease), format!("{lease:?}"));
        same(sequence, STATEMENT, "lease", &recorded, &again)?;
        let after = [
            self.changed(sequence, &states.admin, &next.admin)?,
            self.changed(sequence, &states.vote, &next.vote)?,
            self.changed(sequence, &states.pegout, &next.pegout)?,
            self.changed(sequence, &states.bitcoin, &next.bitcoin)?,
        ];
        let recorded: Vec<&Changed> = stated.states.iter().collect();
        // A log from before Bitcoin's headers could be changed does not name them.
        let named = |name| recorded.iter().any(|changed| changed.name == name);
        let again: Vec<&Changed> = after
            .iter()
            .map(|(changed, _)| changed)
            .filter(|changed| named(changed.name) || changed.before != changed.after)
            .collect();
        let shown = |states: &[&Changed]| format!("{states:?}");
        same(
            sequence,
            STATEMENT,
            "states",
            &shown(&recorded),
            &shown(&again),
        )?;
        for (changed, bytes) in after {
            self.states.insert(changed.name, bytes);
        }
        self.read_skips(sequence)?;
        self.read_bitcoin(sequence)?;
        self.replayed.identical = self.replayed.identical.saturating_add(1);
        Ok(())
    }

    pub(super) fn approved(
        &mut self,
        sequence: Sequence,
        approved: &Approved,
    ) -> Result<(), ReplayError> {
        let officers = self.blob(sequence, BlobKind::Officers, approved.officers)?;
        let policy = self.blob(sequence, BlobKind::SignedPolicy, approved.policy)?;
        let Some(state) = self.known::<AdminState>(sequence, StateName::Admin)? else {
            self.replayed.without_approval = self.replayed.without_approval.saturating_add(1);
            return Ok(());
        };
        let (Some(officers), Some(policy), Some(signer)) = (officers, policy, &self.signer) else {
            self.replayed.without_approval = self.replayed.without_approval.saturating_add(1);
            if approved.before != approved.after {
                self.states.remove(&StateName::Admin);
            }
            return Ok(());
        };
        let approval = Approval::of_log(&officers, &policy)
            .map_err(|reason| unusable(sequence, APPROVAL, reason))?;
        if approval.file.policy != *signer.policy() {
            return Err(unusable(
                sequence,
                APPROVAL,
                "officers signed another one than was in force",
            ));
        }
        let decision = approval
            .judge(self.chain, &Durable::trust_loaded(state.clone()))
            .map_err(|refusal| unusable(sequence, APPROVAL, refusal))?;
        let next = decision.next().unwrap_or(&state);
        let (changed, bytes) = self.changed(sequence, &state, next)?;
        let shown = |before: Digest, after: Digest| format!("{before} to {after}");
        same(
            sequence,
            APPROVAL,
            "state",
            &shown(approved.before, approved.after),
            &shown(changed.before, changed.after),
        )?;
        self.states.insert(StateName::Admin, bytes);
        self.replayed.approvals = self.replayed.approvals.saturating_add(1);
        Ok(())
    }

    pub(super) fn raised(
        &mut self,
        sequence: Sequence,
        raised: &Raised,
    ) -> Result<(), ReplayError> {
        for state in &raised.states {
            if self.states.contains_key(&state.name) {
                continue;
            }
            // The log may begin with it.
            let kind = BlobKind::State(state.name);
            if let Some(bytes) = self.blob(sequence, kind, state.before)? {
                self.states.insert(state.name, bytes);
            }
        }
        let vote = self.known::<VoteState>(sequence, StateName::Vote)?;
        let pegout = self.known::<PegOutState>(sequence, StateName::PegOut)?;
        let (Some(vote), Some(pegout)) = (vote, pegout) else {
            self.replayed.without_state = self.replayed.without_state.saturating_add(1);
            for state in &raised.states {
                self.states.remove(&state.name);
            }
            return Ok(());
        };
        let (marks, now) = (&raised.watermarks, raised.window);
        let again = [
            self.changed(sequence, &vote, &vote.raised(marks, now))?,
            self.changed(sequence, &pegout, &pegout.raised(marks, now))?,
        ];
        let states: Vec<&Changed> = again.iter().map(|(changed, _)| changed).collect();
        let recorded: Vec<&Changed> = raised.states.iter().collect();
        let shown = |states: &[&Changed]| format!("{states:?}");
        let (recorded, replayed) = (shown(&recorded), shown(&states));
        same(sequence, "watermarks", "states", &recorded, &replayed)?;
        for (changed, bytes) in again {
            self.states.insert(changed.name, bytes);
        }
        self.replayed.identical = self.replayed.identical.saturating_add(1);
        Ok(())
    }

    /// The states that statements change; none where one of them is not known.
    fn governed(&self, sequence: Sequence) -> Result<Option<Governed>, ReplayError> {
        let admin = self.known(sequence, StateName::Admin)?;
        let vote = self.known(sequence, StateName::Vote)?;
        let pegout = self.known(sequence, StateName::PegOut)?;
        let bitcoin = self.known(sequence, StateName::Bitcoin)?;
        Ok(match (admin, vote, pegout, bitcoin) {
            (Some(admin), Some(vote), Some(pegout), Some(bitcoin)) => Some(Governed {
                admin,
                vote,
                pegout,
                bitcoin,
            }),
            _ => None,
        })
    }

    fn known<S: Stored>(
        &self,
        sequence: Sequence,
        name: StateName,
    ) -> Result<Option<S>, ReplayError> {
        let bytes = self.states.get(&name);
        bytes
            .map(|bytes| stored::decode_bytes(bytes))
            .transpose()
            .map_err(|error| unusable(sequence, name.name(), error))
    }

    /// A state before and after, and its bytes after.
    fn changed<S: crate::audit::recorder::Audited>(
        &self,
        sequence: Sequence,
        before: &S,
        after: &S,
    ) -> Result<(Changed, Vec<u8>), ReplayError> {
        let encode = |state: &S| {
            stored::encode(state).map_err(|error| unusable(sequence, S::NAME.name(), error))
        };
        let (before, after) = (encode(before)?, encode(after)?);
        let digest = |bytes: &[u8]| blob_digest(self.chain, BlobKind::State(S::NAME), bytes);
        let changed = Changed {
            name: S::NAME,
            before: digest(&before),
            after: digest(&after),
        };
        Ok((changed, after))
    }

    fn forget(&mut self, stated: &Stated) {
        for state in &stated.states {
            if state.before != state.after {
                self.states.remove(&state.name);
            }
        }
    }
}
