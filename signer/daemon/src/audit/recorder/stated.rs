//! What officers say, recorded as decisions are.

use super::super::AuditError;
use super::super::entry::{
    Blob, BlobKind, Changed, Event, StateName, Stated, Verdict, blob_digest,
};
use super::super::journal::{Class, Journal};
use super::super::named::Named as _;
use super::{Question, Recorder};
use crate::store::{Stored as _, audited as stored};
use alys_protocol::bytes::Digest;
use alys_protocol::signer::Refusal;
use alys_signer_core::admin::statement::Governed;
use alys_signer_core::freshness::Lease;
use redb::WriteTransaction;

/// What was judged, and the entry's part of it.
struct Draft<'a> {
    question: &'a Question<'a>,
    challenge: Option<Digest>,
    evidence: Digest,
    states: Vec<Changed>,
}

impl Recorder {
    /// Judges a statement and records what it changes, all in one exclusive transaction: what is accepted is on disk before
    /// this returns. Gives the lease that was recorded with it.
    ///
    /// # Errors
    /// - [`AuditError`] where state or log cannot be read or written; nothing changed then. The inner result is `judge`'s.
    pub fn obey(
        &self,
        question: &Question<'_>,
        challenge: Option<Digest>,
        judge: impl FnOnce(&Governed) -> Result<(Governed, Option<Lease>), Refusal>,
    ) -> Result<Result<Option<Lease>, Refusal>, AuditError> {
        let transaction = self.store.begin()?;
        let (admin_bytes, admin) = stored::load(&transaction)?;
        let (vote_bytes, vote) = stored::load(&transaction)?;
        let (pegout_bytes, pegout) = stored::load(&transaction)?;
        let (bitcoin_bytes, bitcoin) = stored::load(&transaction)?;
        let states = Governed {
            admin,
            vote,
            pegout,
            bitcoin,
        };
        let before = [
            (StateName::Admin, admin_bytes),
            (StateName::Vote, vote_bytes),
            (StateName::PegOut, pegout_bytes),
            (StateName::Bitcoin, bitcoin_bytes),
        ];
        let mut draft = Draft {
            question,
            challenge,
            evidence: blob_digest(self.chain, BlobKind::Request, question.body),
            states: changes(self.chain, &before, &before),
        };
        let (next, lease) = match judge(&states) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let verdict = Verdict::from(refusal.clone());
                self.refused(transaction, question, verdict, |transaction, verdict| {
                    self.state(transaction, draft, None, verdict)
                })?;
                return Ok(Err(refusal));
            }
        };
        let after = [
            (StateName::Admin, stored::encode(&next.admin)?),
            (StateName::Vote, stored::encode(&next.vote)?),
            (StateName::PegOut, stored::encode(&next.pegout)?),
            (StateName::Bitcoin, stored::encode(&next.bitcoin)?),
        ];
        draft.states = changes(self.chain, &before, &after);
        self.state(&transaction, draft, lease, &Verdict::Accepted)?;
        for (name, bytes) in &after {
            stored::write_bytes(&transaction, name.name(), bytes)?;
        }
        if let Some(lease) = &lease {
            stored::write_bytes(&transaction, Lease::KEY, &stored::encode(lease)?)?;
        }
        transaction.commit()?;
        Ok(Ok(lease))
    }

    fn state(
        &self,
        transaction: &WriteTransaction,
        draft: Draft<'_>,
        lease: Option<Lease>,
        verdict: &Verdict,
    ) -> Result<super::Sequence, AuditError> {
        let question = draft.question;
        let mut journal = Journal::open(transaction, self.chain)?;
        let class = Class::of(verdict);
        if self.has_room(&journal, class) {
            let blob = Blob {
                kind: BlobKind::Request,
                bytes: question.body.to_vec(),
            };
            journal.store(class, draft.evidence, blob)?;
        }
        let [_, _, (officers, _), _] = self.provisioning;
        let stated = Stated {
            role: question.role,
            certificate: question.certificate.0,
            evidence: draft.evidence,
            officers,
            inputs: question.inputs.clone(),
            challenge: draft.challenge,
            states: draft.states,
            lease,
            verdict: verdict.clone(),
        };
        let sequence = journal.append(question.time, Event::Stated(Box::new(stated)))?;
        journal.close()?;
        Ok(sequence)
    }
}

fn changes(
    chain: alys_protocol::units::ChainId,
    before: &[(StateName, Vec<u8>)],
    after: &[(StateName, Vec<u8>)],
) -> Vec<Changed> {
    let digest = |name, bytes: &[u8]| blob_digest(chain, BlobKind::State(name), bytes);
    before
        .iter()
        .zip(after)
        .map(|((name, before), (_, after))| Changed {
            name: *name,
            before: digest(*name, before),
            after: digest(*name, after),
        })
        .collect()
}
