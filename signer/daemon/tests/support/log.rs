//! An engine with its log in this process, and logs to tamper with.
#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

use crate::support::Officers;
use crate::support::fixtures::pegout::{Plan, request};
use crate::support::fixtures::{Card, Honest, Link, spec};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::hash::{INTENT, TaggedHasher};
use alys_protocol::header::Header as BlockHeader;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    ApproveRequest, Challenge, PROTOCOL_VERSION, PegOutRequest, Reply, Request, RequestEnvelope,
    SignerStatus,
};
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use alys_protocol::units::{BtcHeight, MemberId, Slot, StatementNumber};
use alys_signer::audit::archive::{Header, MAGIC, Record, Writer};
use alys_signer::audit::entry::{
    Cause, Decided, Event, Raised, Randomness, Repeats, StateName, Stated, TurnedAway, Verdict,
    entry_hash,
};
use alys_signer::audit::{
    Approval, Archive, AuditKey, AuditLimits, AuditPublicKey, Entry, Recorder, Sequence,
    UnixMillis, create, export, open_state,
};
use alys_signer::authority::Operation;
use alys_signer::circumstances::Circumstances;
use alys_signer::counter::{FileCounter, OutsideCounter};
use alys_signer::engine::{Asker, Engine};
use alys_signer::keys::{Keys, SoftwareKeys};
use alys_signer::limits::Fingerprint;
use alys_signer::policy_file::ReadPolicy;
use alys_signer::store::Store;
use alys_signer_client::Role;
use alys_signer_core::admin::statement::{Act, Statement};
use alys_signer_core::clock::WindowTime;
use alys_signer_core::{Policy, Signer};
use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn asker() -> Asker {
    Asker {
        role: Role::Node,
        certificate: Fingerprint([7; 32]),
    }
}

pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap())
}

/// A request as a frame's body.
pub fn body(request: &Request) -> Vec<u8> {
    let envelope = RequestEnvelope {
        version: PROTOCOL_VERSION,
        request: request.clone(),
    };
    postcard::to_allocvec(&envelope).unwrap()
}

pub fn write(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

/// Names a 32-byte message as the log does.
pub fn intent(message: &[u8; 32]) -> Digest {
    Digest::new(
        TaggedHasher::without_chain(INTENT)
            .variable(message)
            .finish(),
    )
}

/// Member 0's signer.
pub struct Session {
    directory: tempfile::TempDir,
    keys: [u8; alys_signer::keys::SECRET_BYTES],
    pub officers: Arc<Officers>,
    pub honest: Honest,
    engine: RefCell<Option<Arc<Engine>>>,
    key: AuditPublicKey,
    /// Whether there is an outside counter.
    pub counter: bool,
    /// Intents of the signatures under blocks that were given.
    pub given: Vec<Digest>,
}

impl Session {
    pub fn new(limits: AuditLimits) -> Self {
        Self::with(limits, true)
    }

    /// As the version before the log would have left it.
    pub fn without_log() -> Self {
        Self::with(AuditLimits::default(), false)
    }

    fn with(limits: AuditLimits, log: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = SoftwareKeys::generate().unwrap();
        let secret = *keys.to_secret_bytes();
        let keys = Keys::from(keys);
        let card = keys.card();
        let spec = spec(Some(&Card {
            bls: card.bls,
            bls_possession: card.bls_possession,
            schnorr: card.schnorr,
        }));
        let state = directory.path().join("state.redb");
        Store::create(&state, &card.bls).unwrap();
        let counter = FileCounter::new(directory.path().join("counter"));
        counter.create().unwrap();
        if log {
            create(&state, &keys).unwrap();
        }
        let session = Self {
            directory,
            keys: secret,
            officers: Arc::new(Officers::new()),
            honest: Honest::new(Chain::new(spec).unwrap()),
            engine: RefCell::new(None),
            key: AuditKey::generate().unwrap().public(),
            counter: true,
            given: Vec::new(),
        };
        session.opened(limits)
    }

    fn opened(mut self, limits: AuditLimits) -> Self {
        let keys = Keys::from(SoftwareKeys::from_secret_bytes(&self.keys).unwrap());
        let (card, chain) = (keys.card(), self.honest.chain.clone());
        let config = self.officers.table();
        let officers = config.trusted().unwrap();
        let digest = officers.officers().digest();
        let store = Store::open(&self.state(), &card.bls, chain.digest(), digest).unwrap();
        let policy = Policy::of_chain(&chain);
        if !self.directory.path().join("policy.toml").exists() {
            self.officers.publish(self.directory.path(), 1, &policy);
        }
        let read = ReadPolicy::read(&self.directory.path().join("policy.toml")).unwrap();
        let signed = read.verify(&chain, &officers).unwrap();
        let approval = Approval::new(read, signed, officers.clone(), config);
        let signer = Signer::new(chain, policy, &card.bls, &card.schnorr).unwrap();
        let recorder = Recorder::start(store, &signer, &keys, &approval, limits, now()).unwrap();
        self.key = recorder.public_key();
        let path = self.directory.path().join("counter");
        let counter: Option<Box<dyn OutsideCounter>> = match self.counter {
            true => Some(Box::new(FileCounter::new(path))),
            false => None,
        };
        let circumstances = Circumstances::start(&recorder, &signer, counter, 1).unwrap();
        let engine = Engine::new(signer, keys, recorder, circumstances, officers, false);
        self.engine = RefCell::new(Some(Arc::new(engine)));
        self
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state.redb")
    }

    pub fn audit_key(&self) -> AuditPublicKey {
        self.key
    }

    pub fn engine(&self) -> Arc<Engine> {
        self.engine.borrow().clone().expect("it is closed")
    }

    pub fn close(&self) {
        if let Some(engine) = self.engine.borrow_mut().take() {
            engine.close();
            assert_eq!(Arc::strong_count(&engine), 1);
        }
    }

    pub fn restart(&mut self, limits: AuditLimits) {
        self.close();
        let placeholder = Self {
            directory: tempfile::tempdir().unwrap(),
            keys: self.keys,
            officers: self.officers.clone(),
            honest: Honest::new(self.honest.chain.clone()),
            engine: RefCell::new(None),
            key: self.key,
            counter: self.counter,
            given: Vec::new(),
        };
        let session = std::mem::replace(self, placeholder);
        *self = session.opened(limits);
    }

    /// Closes the signer, and reads its log.
    pub fn archive(&self) -> Archive {
        self.close();
        open_state(&self.state()).unwrap()
    }

    /// Closes the signer, and reads its log as exported.
    pub fn records(&self) -> Vec<Record> {
        let archive = self.archive();
        let (first, end) = archive.range();
        let path = self.directory.path().join("export");
        export(&archive, first..end, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = bytes.strip_prefix(MAGIC).unwrap();
        let mut records = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            let (record, tail) = tail.split_at(length);
            records.push(postcard::from_bytes(record).unwrap());
            rest = tail;
        }
        records
    }

    /// The files of complete segments.
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.directory.path().join("state.redb.audit");
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|row| row.unwrap().path())
            .collect();
        files.sort();
        files
    }

    pub fn ask(&mut self, request: &Request) -> Result<Reply, Rule> {
        match self.engine().handle(asker(), &body(request), request) {
            Reply::Refused(refusal) => Err(refusal.rule),
            Reply::Error(error) => panic!("{error:?}"),
            reply => Ok(reply),
        }
    }

    /// As an officer's certificate.
    pub fn ask_as_officer(&self, request: &Request) -> Result<Reply, Rule> {
        let asker = Asker {
            role: Role::Officer,
            certificate: Fingerprint([8; 32]),
        };
        match self.engine().handle(asker, &body(request), request) {
            Reply::Refused(refusal) => Err(refusal.rule),
            Reply::Error(error) => panic!("{error:?}"),
            reply => Ok(reply),
        }
    }

    /// What some officers say.
    pub fn says(&self, number: u64, act: Act, by: &[usize]) -> Result<(), Rule> {
        let statement = Statement {
            chain_id: self.honest.chain.id(),
            member: MemberId::new(0),
            number: StatementNumber::new(number),
            act,
        };
        let signed = self.officers.says(&statement, by);
        self.ask_as_officer(&Request::Statement(Box::new(signed)))
            .map(|reply| assert_eq!(reply, Reply::Stated(statement.number)))
    }

    pub fn status(&self) -> SignerStatus {
        match self.ask_as_officer(&Request::Status) {
            Ok(Reply::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub fn challenge(&self) -> Challenge {
        match self.ask_as_officer(&Request::Challenge) {
            Ok(Reply::Challenge(challenge)) => *challenge,
            other => panic!("{other:?}"),
        }
    }

    pub fn approve(&mut self, request: ApproveRequest) -> Result<BlsSignature, Rule> {
        let message = request.header.approval_message();
        let reply = self.ask(&Request::Approve(Box::new(request)))?;
        self.signature(reply, &message)
    }

    pub fn propose(&mut self, header: &BlockHeader) -> Result<BlsSignature, Rule> {
        let message = header.proposal_message();
        let reply = self.ask(&Request::SignProposal(Box::new(header.clone())))?;
        self.signature(reply, &message)
    }

    fn signature(&mut self, reply: Reply, message: &[u8; 32]) -> Result<BlsSignature, Rule> {
        let Reply::Signature(signature) = reply else {
            panic!("{reply:?}");
        };
        self.given.push(intent(message));
        Ok(signature)
    }

    pub fn peg_out(&mut self, request: PegOutRequest) -> Result<(), Rule> {
        self.ask(&Request::SignPegOut(Box::new(request)))
            .map(|reply| assert!(matches!(reply, Reply::Shares(_))))
    }

    fn child(&self, slots: u64, change: impl FnOnce(&mut Link)) -> Link {
        self.honest.child_of(1, slots, change)
    }

    /// A vote for a child of block 1.
    pub fn vote(&mut self, slots: u64) -> Result<BlsSignature, Rule> {
        let block = self.child(slots, |_| ());
        self.approve(self.honest.approve(&block))
    }

    /// A vote for another one.
    pub fn rival(&mut self, slots: u64, bitcoin: u32) -> Result<BlsSignature, Rule> {
        let block = self.child(slots, |link| {
            link.header.bitcoin.height = BtcHeight::new(bitcoin);
        });
        self.approve(self.honest.approve(&block))
    }

    /// Every kind of decision, and a restart.
    pub fn everything(&mut self) {
        self.honest.grow(1);
        for slots in 10..14 {
            self.vote(slots).unwrap();
            assert_eq!(self.rival(slots, 101), Err(Rule::SlotMonotonic));
        }
        // Slot 1001 is block 1's; every fourth slot is member 0's.
        let own = self.child(19, |_| ());
        assert_eq!(own.header.slot.get() % 4, 0);
        self.propose(&own.header).unwrap();
        self.propose(&own.header).unwrap();
        let other = self.child(20, |_| ());
        assert_eq!(self.propose(&other.header), Err(Rule::Leader));
        let batch = request(&mut self.honest, &Plan::simple(0, 1));
        self.peg_out(batch.clone()).unwrap();
        self.peg_out(batch.clone()).unwrap();
        self.honest.links.truncate(2);
        let rival = request(&mut self.honest, &Plan::simple(0, 2));
        assert_eq!(self.peg_out(rival), Err(Rule::BurnSequence));
        self.restart(AuditLimits::default());
        self.peg_out(batch).unwrap();
        assert_eq!(self.rival(13, 101), Err(Rule::SlotMonotonic));
        self.vote(30).unwrap();
        self.vote(30).unwrap();
    }
}

pub fn entries(archive: &Archive) -> Vec<Entry> {
    let (first, end) = archive.range();
    (first.get()..end.get())
        .map(|number| {
            let bytes = archive.entry(Sequence::new(number)).unwrap().unwrap();
            Entry::decode(&bytes).unwrap()
        })
        .collect()
}

/// Records as a file's bytes.
pub fn file_of(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header(records)).unwrap();
    for record in &records[1..] {
        writer.write(record).unwrap();
    }
    writer.into_inner()
}

/// Records as a file, read again.
pub fn rewrite(records: &[Record]) -> Archive {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), &file_of(records));
    Archive::open(&[file.path()]).unwrap()
}

pub fn header(records: &[Record]) -> Header {
    let Record::Header(header) = &records[0] else {
        panic!("{:?}", records[0]);
    };
    header.clone()
}

/// Says that there were fewer.
pub fn shorten(records: &mut [Record], end: u64) {
    let Record::Header(header) = &mut records[0] else {
        panic!();
    };
    header.end = Sequence::new(end);
}

fn find(records: &[Record], number: u64) -> usize {
    records
        .iter()
        .position(|record| {
            matches!(record, Record::Entry(bytes)
                if Entry::decode(bytes).unwrap().sequence.get() == number)
        })
        .unwrap()
}

pub fn entry_of(records: &[Record], number: u64) -> Entry {
    let Record::Entry(bytes) = &records[find(records, number)] else {
        panic!();
    };
    Entry::decode(bytes).unwrap()
}

pub fn replace(records: &mut [Record], number: u64, entry: &Entry) {
    let place = find(records, number);
    records[place] = Record::Entry(entry.encode().unwrap());
}

pub fn remove(records: &mut Vec<Record>, number: u64) {
    records.remove(find(records, number));
}

/// Makes every entry name the one before as it is now; the last one's hash.
pub fn rechain(records: &mut [Record]) -> Digest {
    let header = header(records);
    let mut previous = Digest::ZERO;
    for number in header.first.get()..header.end.get() {
        let mut entry = entry_of(records, number);
        entry.previous = previous;
        replace(records, number, &entry);
        previous = entry_hash(header.chain, &entry.encode().unwrap());
    }
    previous
}

fn refused(rule: Rule, expected: &str, found: &str) -> Verdict {
    Verdict::Refused {
        rule,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// An entry with each of its fields changed.
pub fn mutations(original: &Entry) -> Vec<Entry> {
    let other = Digest::new([0xaa; 32]);
    let mut changed = Vec::new();
    let mut with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = original.clone();
        change(&mut entry);
        assert_ne!(entry, *original, "a change that changes nothing");
        changed.push(entry);
    };
    with(&|entry| entry.previous = other);
    with(&|entry| entry.sequence = Sequence::new(entry.sequence.get() + 1000));
    with(&|entry| entry.time = UnixMillis::new(entry.time.get() + 1));
    match &original.event {
        Event::Standing(standing) => {
            macro_rules! standing {
                ($($field:ident = $value:expr),* $(,)?) => {$(
                    with(&|entry| {
                        let Event::Standing(it) = &mut entry.event else { panic!() };
                        it.$field = $value;
                    });
                )*};
            }
            let mut states = standing.states.clone();
            states[0].digest = other;
            standing!(
                software = "other".to_owned(),
                member = MemberId::new(3),
                bls = alys_protocol::bls::BlsPublicKeyBytes::new([1; 48]),
                schnorr = SchnorrPublicKeyBytes::new([1; 32]),
                audit_key = AuditKey::generate().unwrap().public(),
                spec = SpecDigest::new([1; 32]),
                spec_text = other,
                policy = other,
                states = states.clone(),
                states = standing.states[1..].to_vec(),
                cause = match standing.cause {
                    Cause::Started => Cause::Continued,
                    Cause::Continued => Cause::Started,
                },
            );
        }
        Event::Decided(decided) => {
            let mut with = |change: &dyn Fn(&mut Decided)| {
                with(&|entry| {
                    let Event::Decided(it) = &mut entry.event else {
                        panic!()
                    };
                    change(it);
                });
            };
            with(&|it| it.role = Role::Officer);
            with(&|it| it.certificate[31] ^= 1);
            with(&|it| it.operation = Operation::BitcoinHeaders);
            with(&|it| it.request = other);
            with(&|it| it.evidence = other);
            with(&|it| it.inputs.slot = Slot::new(1));
            with(&|it| it.inputs.window = WindowTime::from_millis(1));
            with(&|it| it.inputs.bitcoin = other);
            with(&|it| it.inputs.freshness.floor = Slot::new(1));
            with(&|it| it.inputs.randomness = Some(Randomness([1; 32])));
            with(&|it| it.spec = SpecDigest::new([1; 32]));
            with(&|it| it.policy = other);
            with(&|it| {
                it.state = match it.state {
                    StateName::Vote => StateName::PegOut,
                    StateName::PegOut => StateName::Bitcoin,
                    StateName::Bitcoin => StateName::Admin,
                    StateName::Admin => StateName::Vote,
                };
            });
            with(&|it| it.before = other);
            with(&|it| it.after = other);
            match &decided.verdict {
                Verdict::Signed { intent } => {
                    with(&|it| it.verdict = Verdict::Signed { intent: other });
                    with(&|it| it.verdict = Verdict::Repeated { intent: *intent });
                }
                Verdict::Repeated { intent } => {
                    with(&|it| it.verdict = Verdict::Repeated { intent: other });
                    with(&|it| it.verdict = Verdict::Signed { intent: *intent });
                }
                Verdict::Refused {
                    rule,
                    expected,
                    found,
                } => {
                    with(&|it| it.verdict = refused(Rule::Paused, expected, found));
                    with(&|it| it.verdict = refused(*rule, "other", found));
                    with(&|it| it.verdict = refused(*rule, expected, "other"));
                    with(&|it| it.verdict = Verdict::Signed { intent: other });
                }
                Verdict::Accepted => panic!("{decided:?}"),
            }
        }
        Event::Raised(_) => {
            let mut with = |change: &dyn Fn(&mut Raised)| {
                with(&|entry| {
                    let Event::Raised(it) = &mut entry.event else {
                        panic!()
                    };
                    change(it);
                });
            };
            with(&|it| it.watermarks.last_slot = Slot::new(1));
            with(&|it| it.window = WindowTime::from_millis(1));
            with(&|it| it.states[0].after = other);
            with(&|it| it.states.truncate(1));
        }
        Event::Approved(_) => {
            macro_rules! approved {
                ($($field:ident),*) => {$(
                    with(&|entry| {
                        let Event::Approved(it) = &mut entry.event else { panic!() };
                        it.$field = other;
                    });
                )*};
            }
            approved!(officers, policy, before, after);
        }
        Event::Stated(stated) => {
            let mut with = |change: &dyn Fn(&mut Stated)| {
                with(&|entry| {
                    let Event::Stated(it) = &mut entry.event else {
                        panic!()
                    };
                    change(it);
                });
            };
            with(&|it| it.role = Role::Node);
            with(&|it| it.certificate[31] ^= 1);
            with(&|it| it.evidence = other);
            with(&|it| it.officers = other);
            with(&|it| it.inputs.slot = Slot::new(5));
            with(&|it| it.challenge = Some(other));
            with(&|it| it.states[1].after = other);
            with(&|it| it.states.truncate(2));
            with(&|it| {
                it.lease = match it.lease {
                    Some(_) => None,
                    None => Some(Default::default()),
                };
            });
            if stated.verdict == Verdict::Accepted {
                with(&|it| it.verdict = refused(Rule::Quorum, "one", "other"));
            } else {
                with(&|it| it.verdict = Verdict::Accepted);
            }
        }
        Event::Counted(_) => {
            macro_rules! counted {
                ($($field:ident = $value:expr),* $(,)?) => {$(
                    with(&|entry| {
                        let Event::Counted(it) = &mut entry.event else { panic!() };
                        it.$field = $value;
                    });
                )*};
            }
            let row = TurnedAway {
                role: Role::Node,
                certificate: [0; 32],
                too_many: 1,
                forbidden: 2,
                malformed: 3,
            };
            let repeats = Repeats {
                entry: Sequence::new(0),
                times: 99,
            };
            counted!(
                since = UnixMillis::new(1),
                repeats = vec![repeats.clone()],
                turned_away = vec![row.clone()],
                unrecorded = 77,
            );
        }
    }
    changed
}
