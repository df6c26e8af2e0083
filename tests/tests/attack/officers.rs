//! What officers say, in an attacker's mouth: alone, again, to another signer, without their certificate; and what is left to
//! steal once they paused, or vouched for a copy.

use crate::burns::three;
use crate::deposits::coinbase;
use crate::federation::{CHECKPOINT, Changes, Federation, Setup, TIP};
use crate::harness::count_refused;
use crate::support::Officers;
use crate::support::fixtures::pegout::{self, Plan, outpoint};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::Digest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    Challenge, PegOutRequest, ProtocolError, Reply, Request, SignedStatement,
};
use alys_protocol::units::{BurnSequence, ChainId, MemberId, SideHeight, Slot, StatementNumber};
use alys_signer_client::Role;
use alys_signer_core::admin::statement::{Act, Skipped, Statement, Vouched};

fn statement(number: u64, act: Act) -> Statement {
    Statement {
        chain_id: crate::support::fixtures::spec(None).chain_id,
        member: MemberId::new(0),
        number: StatementNumber::new(number),
        act,
    }
}

fn says(federation: &Federation, said: &Statement, by: &[usize]) -> SignedStatement {
    federation.signer.rig.officers.says(said, by)
}

/// Blocks in the slots of the clock, quicker than the clock.
fn quick() -> Setup {
    Setup {
        policy: |policy| policy.slot_horizon_slots = 1_000,
        ..Setup::default()
    }
}

/// Hands it in under an officer's certificate.
fn hand_in(federation: &mut Federation, signed: SignedStatement) -> Reply {
    let request = Request::Statement(Box::new(signed));
    federation.signer.ask_as(Role::Officer, request)
}

fn refuses(federation: &mut Federation, rule: Rule, what: &str, signed: SignedStatement) {
    match hand_in(federation, signed) {
        Reply::Refused(refusal) if refusal.rule == rule => count_refused(),
        other => panic!("{what}: expected rule {rule}, found {other:?}"),
    }
}

fn accepts(federation: &mut Federation, said: &Statement, by: &[usize]) {
    let signed = says(federation, said, by);
    assert_eq!(hand_in(federation, signed), Reply::Stated(said.number));
}

fn challenge(federation: &mut Federation) -> Challenge {
    match federation.signer.ask_as(Role::Officer, Request::Challenge) {
        Reply::Challenge(challenge) => *challenge,
        other => panic!("{other:?}"),
    }
}

fn vouched(challenge: &Challenge, next_burn: u64) -> Vouched {
    let reach = challenge.slot.get() + challenge.horizon_slots;
    Vouched {
        challenge: challenge.nonce,
        slot_floor: Slot::new(reach + 100),
        lock: SideHeight::new(0),
        next_burn: BurnSequence::new(next_burn),
    }
}

/// Nodes and auditors hand in what officers really signed; officers without signatures, with strangers', or too few.
pub(crate) fn n1_statements_of_those_who_may_not() {
    let mut federation = Federation::new();
    let challenge = challenge(&mut federation);
    let acts = [
        Act::Pause,
        Act::Resume,
        Act::Fresh(vouched(&challenge, 0)),
        Act::Anchor(federation.miner.checkpoint(TIP)),
    ];
    let strangers = Officers::new();
    for act in acts {
        let said = statement(1, act);
        let signed = says(&federation, &said, &[0, 1]);
        for role in [Role::Node, Role::Auditor] {
            for (name, request) in [
                ("statement", Request::Statement(Box::new(signed.clone()))),
                ("challenge", Request::Challenge),
            ] {
                match federation.signer.ask_as(role, request) {
                    Reply::Error(ProtocolError::Forbidden { operation, .. }) => {
                        assert_eq!(operation, name);
                        count_refused();
                    }
                    other => panic!("{name} by {role}: {other:?}"),
                }
            }
        }
        let foreign = strangers.says(&said, &[0, 1, 2]);
        refuses(&mut federation, Rule::Quorum, "strangers", foreign);
        let none = says(&federation, &said, &[]);
        refuses(&mut federation, Rule::Quorum, "nobody", none);
        if act != Act::Pause {
            for alone in [&[0][..], &[2, 2], &[1, 1, 1]] {
                let alone = says(&federation, &said, alone);
                refuses(&mut federation, Rule::Quorum, "one officer", alone);
            }
        }
        // What they signed about something else: another act, another member, another chain, their policy.
        let mut other = said.clone();
        other.member = MemberId::new(1);
        let elsewhere = says(&federation, &other, &[0, 1]);
        refuses(
            &mut federation,
            Rule::Chain,
            "for another signer",
            elsewhere,
        );
        let mut other = said.clone();
        other.chain_id = ChainId::new(1);
        let elsewhere = says(&federation, &other, &[0, 1]);
        refuses(&mut federation, Rule::Chain, "for another chain", elsewhere);
        let mut swapped = says(&federation, &said, &[0, 1]);
        swapped.signatures = says(&federation, &statement(2, act), &[0, 1]).signatures;
        refuses(&mut federation, Rule::Quorum, "of another text", swapped);
        let policy = std::fs::read(federation.signer.rig.path("policy.toml.0.minisig")).unwrap();
        let mut swapped = says(&federation, &said, &[]);
        let policy = alys_protocol::bounded::BoundedVec::new(policy).unwrap();
        swapped.signatures = alys_protocol::bounded::BoundedVec::new(vec![policy]).unwrap();
        refuses(&mut federation, Rule::Quorum, "of a policy", swapped);
    }
    federation.serves();
    let payment = federation.batch(&Plan::simple(0, 1));
    federation.pays(&payment);
}

/// While peg-outs are paused: a payment, a repeat of one made before, a replacement at a higher fee, an old resume.
pub(crate) fn paused_peg_outs() {
    let mut federation = Federation::with(&quick());
    let first = federation.batch(&Plan::simple(0, 1));
    let shares = federation.pays(&first);
    accepts(&mut federation, &statement(1, Act::Pause), &[2]);
    accepts(&mut federation, &statement(2, Act::Resume), &[0, 2]);
    accepts(&mut federation, &statement(3, Act::Pause), &[1]);
    let next = Plan {
        inputs: vec![(outpoint(9), 5_000_000)],
        ..Plan::simple(1, 1)
    };
    let next = federation.batch(&next);
    for round in 0..2 {
        federation.refuses_payment(Rule::Paused, "a repeat", &first);
        federation.refuses_payment(Rule::Paused, "the next payment", &next);
        let old = says(&federation, &statement(2, Act::Resume), &[0, 2]);
        refuses(&mut federation, Rule::Iteration, "an old resume", old);
        federation.serves();
        if round == 0 {
            federation.signer.kill();
            federation.signer.start().unwrap();
            federation.skip_to_now();
            federation.feed();
        }
    }
    accepts(&mut federation, &statement(4, Act::Resume), &[0, 1]);
    assert_eq!(federation.pays(&first), shares);
    federation.pays(&next);
}

/// An old copy that officers vouched for: it pays no burn twice, and votes in no slot that the lost state can have voted in.
/// The newest state, found again, is the old one.
pub(crate) fn n1_a_copy_that_officers_vouched_for() {
    let mut federation = Federation::with(&quick());
    federation.skip_to_now();
    federation.signer.stop();
    federation.signer.snapshot("old.redb");
    federation.signer.start().unwrap();
    let paid = federation.batch(&Plan::simple(0, 1));
    federation.pays(&paid);
    federation.serves();
    federation.signer.kill();
    federation.signer.snapshot("new.redb");
    federation.signer.restore("old.redb");
    federation.signer.start().unwrap();
    federation.refuses_payment(Rule::Fresh, "before anybody vouched", &paid);
    let guessed = Vouched {
        challenge: Digest::new([7; 32]),
        ..vouched(&challenge(&mut federation), 1)
    };
    let guessed = says(&federation, &statement(1, Act::Fresh(guessed)), &[0, 1]);
    refuses(&mut federation, Rule::Fresh, "a guessed challenge", guessed);
    let open = challenge(&mut federation);
    for floor in [0, open.slot.get(), open.slot.get() + open.horizon_slots] {
        let low = Vouched {
            slot_floor: Slot::new(floor),
            ..vouched(&open, 1)
        };
        let low = says(&federation, &statement(1, Act::Fresh(low)), &[0, 1]);
        refuses(&mut federation, Rule::Fresh, "a floor within reach", low);
    }
    let said = statement(1, Act::Fresh(vouched(&open, 1)));
    accepts(&mut federation, &said, &[0, 1]);
    let again = says(&federation, &said, &[0, 1]);
    refuses(&mut federation, Rule::Iteration, "the same again", again);
    let vote = federation.honest.approve(&federation.child(|_| ()));
    federation.refuses_vote(Rule::SlotMonotonic, "a vote below the floor", &vote);
    federation.refuses_payment(Rule::BurnSequence, "the payment as it was", &paid);
    let other = Plan {
        inputs: vec![(outpoint(9), 5_000_000)],
        ..Plan::simple(0, 1)
    };
    let twice = federation.on_a_fork(|honest| {
        honest.links.truncate(1);
        pegout::request(honest, &other)
    });
    federation.refuses_payment(Rule::BurnSequence, "the burn from other coins", &twice);
    // The newest state comes back: the counter has gone on without it.
    federation.signer.stop();
    federation.signer.restore("new.redb");
    federation.signer.start().unwrap();
    federation.refuses_vote(Rule::Fresh, "a vote of the lost state", &vote);
    Federation::new().serves();
}

/// Burns left out of blocks and of payments: without officers, with too few, another one than they agreed to.
pub(crate) fn burns_skipped_without_officers() {
    let mut federation = Federation::new();
    let plan = Plan {
        skipped: vec![1],
        ..three(0)
    };
    let link = federation.child(|link| {
        let transaction = pegout::transaction(&federation.honest.chain, &plan);
        let record = pegout::record_of(&plan, &transaction);
        link.header.next_burn = record.next_burn;
        link.body.batch = Some(record);
    });
    let vote = federation.honest.approve(&link);
    let payment = federation.on_a_fork(|honest| pegout::request(honest, &plan));
    let skip = |burn| {
        Act::Skip(Skipped {
            burn: BurnSequence::new(burn),
        })
    };
    for round in 0..3 {
        federation.refuses_vote(Rule::Skip, "a block that skips a burn", &vote);
        federation.refuses_payment(Rule::Skip, "a payment without it", &payment);
        match round {
            0 => {
                let alone = says(&federation, &statement(1, skip(1)), &[0]);
                refuses(&mut federation, Rule::Quorum, "one officer's skip", alone);
            }
            _other => accepts(&mut federation, &statement(round, skip(round + 1)), &[0, 1]),
        }
    }
    accepts(&mut federation, &statement(3, skip(1)), &[1, 2]);
    federation.signs(&vote);
    federation.pays(&payment);
    // With that permission, burns that it does not name, or the same one twice.
    let record = |skipped: &[u64]| {
        let burns = skipped.iter().copied().map(BurnSequence::new).collect();
        alys_protocol::bounded::BoundedVec::new(burns).unwrap()
    };
    let changes: Changes<'_, PegOutRequest> = &[
        (Rule::Skip, "another burn", &|request| {
            request.record.skipped = record(&[0]);
        }),
        (Rule::Skip, "twice", &|request| {
            request.record.skipped = record(&[1, 1]);
        }),
        (Rule::Skip, "outside of the batch", &|request| {
            request.record.skipped = record(&[1, 3]);
        }),
    ];
    federation.refuses_payments(&payment, changes);
}

/// A reorganisation deeper than the policy's: nodes hold the signer on the branch that lost, or claim that officers named
/// another; once they did, only what leads to their block counts.
pub(crate) fn a_deep_reorganisation_and_the_block_that_officers_name() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.max_reorg_blocks = 12,
        ..Setup::default()
    });
    federation.honest.grow(2);
    let lost = federation.miner.clone();
    let fork = TIP - 20;
    federation.miner = lost.fork(fork);
    for _block in 0..60 {
        federation.miner.mine(federation.miner.tip().time + 240, 9);
    }
    let height = federation.miner.height();
    let headers = |miner: &crate::bitcoin_kit::Miner, from, to| {
        Request::BitcoinHeaders(BoundedVec::new(miner.bytes(from, to)).unwrap())
    };
    let deep = headers(&federation.miner, fork + 1, height);
    federation.refuses(Rule::ReorgDepth, "a deep fork", deep);

    let named = federation.miner.checkpoint(fork + 30);
    let anchor = |number, checkpoint| statement(number, Act::Anchor(checkpoint));
    let alone = says(&federation, &anchor(1, named), &[1]);
    refuses(&mut federation, Rule::Quorum, "one officer's anchor", alone);
    let below = federation.miner.checkpoint(CHECKPOINT - 1);
    let below = says(&federation, &anchor(1, below), &[0, 1]);
    refuses(&mut federation, Rule::ReorgDepth, "below the start", below);
    accepts(&mut federation, &anchor(1, named), &[0, 1]);
    let again = says(&federation, &anchor(1, lost.checkpoint(TIP)), &[0, 1]);
    refuses(&mut federation, Rule::Iteration, "the branch again", again);

    let mut private = federation.miner.fork(fork + 29);
    for _block in 0..200 {
        private.mine(private.tip().time + 60, 7);
    }
    let blocks = [
        ("the branch that lost", headers(&lost, 0, TIP)),
        ("another one", headers(&private, 0, private.height())),
    ];
    for (what, request) in blocks {
        federation.refuses(Rule::HeaderLink, what, request);
    }
    let short = headers(&federation.miner, 0, fork + 29);
    federation.refuses(Rule::HeaderLink, "less than to the block", short);
    let transactions = vec![coinbase(), federation.deposit(1, 1_000_000)];
    let block = federation.mine(transactions);
    federation.bury(5);
    let mint = federation.mint(&block, &[1]);
    let (_, vote) = federation.minting(&mint);
    federation.refuses_vote(Rule::DepositOrder, "a mint before there are headers", &vote);
    let height = federation.miner.height();
    let reply = federation.headers(0, height);
    federation.stands_at_the_tip(&reply);
    // What it was told stays with it.
    federation.signer.stop();
    federation.signer.start().unwrap();
    let deeper = headers(&private, fork + 1, private.height());
    federation.refuses(Rule::ReorgDepth, "below the block", deeper);
    let mint = federation.mint(&block, &[1]);
    federation.mints(&mint);
    federation.serves();
}
