//! What officers decide: provisioning, policies, statements, and that a state may be trusted again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod kit;

use alys_firmware_device::Device;
use alys_firmware_device::command::{self, Answer, Command, Failure, Provision, SignedPolicy};
use alys_firmware_sim::{Board, Sim};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    Challenge, PROTOCOL_VERSION, Reply, Request, RequestEnvelope, SignedStatement,
};
use alys_protocol::spec::{Chain, ChainSpec};
use kit::fixtures::Honest;
use kit::{Officers, card, generate, refused, spec_with};

fn ask(device: &mut Device<'_, Sim>, request: Request) -> Reply {
    let message = postcard::to_allocvec(&RequestEnvelope {
        version: PROTOCOL_VERSION,
        request,
    });
    postcard::from_bytes(&device.handle(&message.unwrap())).unwrap()
}

fn tell(device: &mut Device<'_, Sim>, command: &Command) -> Answer {
    let message = command::encode(command).unwrap();
    postcard::from_bytes(&device.handle(&message)).unwrap()
}

fn vote(honest: &Honest, slots: u64) -> Request {
    let link = honest.child_of(4, slots, |_| ());
    Request::Approve(Box::new(honest.approve(&link)))
}

fn challenge(device: &mut Device<'_, Sim>) -> Challenge {
    match ask(device, Request::Challenge) {
        Reply::Challenge(challenge) => *challenge,
        other => panic!("{other:?}"),
    }
}

fn provision(spec: &ChainSpec, officers: &Officers, policy: SignedPolicy) -> Command {
    Command::Provision(Box::new(Provision {
        policy,
        ..officers.provision(spec)
    }))
}

#[test]
fn provisioning_takes_a_quorum_and_the_button() {
    let board = Board::new();
    let flash = board.flash();
    let mut device = Device::start(&flash, board.parts());
    board.press(true);
    let card = card(tell(&mut device, &generate()));
    let spec = spec_with(&card);
    let chain = Chain::new(spec.clone()).unwrap();
    let (officers, strangers) = (Officers::three(), Officers::three());
    let good = officers.policy(&chain, 1);
    let mut few = good.clone();
    few.signatures = BoundedVec::new(few.signatures[..1].to_vec()).unwrap();
    let mut twice = good.clone();
    twice.signatures = BoundedVec::new(vec![good.signatures[0].clone(); 2]).unwrap();
    let mut changed = good.clone();
    let text = String::from_utf8(good.text.to_vec()).unwrap();
    let text = text.replace("slot_horizon_slots = 2", "slot_horizon_slots = 3");
    changed.text = BoundedVec::new(text.into_bytes()).unwrap();
    assert_ne!(changed, good);
    let mut comment = good.clone();
    let file = String::from_utf8(good.signatures[0].to_vec()).unwrap();
    let file = file.replace("trusted comment: trusted", "trusted comment: tampered");
    comment.signatures =
        BoundedVec::new(vec![BoundedVec::new(file.into_bytes()).unwrap()]).unwrap();
    for (wrong, says) in [
        (few, "2 of 3 officers"),
        (twice, "2 of 3 officers"),
        (changed, "does not verify"),
        (comment, "does not verify"),
        (strangers.policy(&chain, 1), "no officer's"),
    ] {
        let answer = tell(&mut device, &provision(&spec, &officers, wrong));
        let Answer::Failed(failure) = answer else {
            panic!("{answer:?}");
        };
        assert!(failure.to_string().contains(says), "{failure}");
    }
    board.press(false);
    let command = provision(&spec, &officers, good.clone());
    let answer = tell(&mut device, &command);
    assert_eq!(answer, Answer::Failed(Failure::Button));
    board.press(true);
    // Another device's federation.
    let foreign = kit::fixtures::spec(None);
    let theirs = officers.policy(&Chain::new(foreign.clone()).unwrap(), 1);
    let answer = tell(&mut device, &provision(&foreign, &officers, theirs));
    assert!(
        matches!(answer, Answer::Failed(Failure::Invalid(_))),
        "{answer:?}"
    );
    assert_eq!(tell(&mut device, &command), Answer::Done);
    let answer = tell(&mut device, &command);
    assert_eq!(answer, Answer::Failed(Failure::Provisioned));
    // Policies only go up.
    let third = Command::Policy(officers.policy(&chain, 3));
    assert_eq!(tell(&mut device, &third), Answer::Done);
    assert_eq!(tell(&mut device, &third), Answer::Done);
    let answer = tell(&mut device, &Command::Policy(officers.policy(&chain, 2)));
    assert!(
        matches!(answer, Answer::Failed(Failure::Refused(_))),
        "{answer:?}"
    );
    // Also after a loss of power.
    let mut device = Device::start(&flash, board.parts());
    let answer = tell(&mut device, &Command::Policy(officers.policy(&chain, 2)));
    assert!(
        matches!(answer, Answer::Failed(Failure::Refused(_))),
        "{answer:?}"
    );
}

#[test]
fn c5_officers_vouch_for_an_old_image_once() {
    let board = Board::new();
    let flash = board.flash();
    let mut device = Device::start(&flash, board.parts());
    board.press(true);
    let card = card(tell(&mut device, &generate()));
    let officers = Officers::three();
    let spec = spec_with(&card);
    let command = Command::Provision(Box::new(officers.provision(&spec)));
    assert_eq!(tell(&mut device, &command), Answer::Done);
    let mut honest = Honest::new(Chain::new(spec).unwrap());
    honest.grow(4);
    let old = board.snapshot();
    let first = ask(&mut device, vote(&honest, 1));
    assert!(matches!(first, Reply::Signature(_)));
    drop(device);
    board.restore(&old);
    let mut device = Device::start(&flash, board.parts());
    let silent = ask(&mut device, vote(&honest, 200));
    assert_eq!(refused(&silent), Rule::Fresh);
    let open = challenge(&mut device);
    let floor = open.slot.get() + open.horizon_slots + 1;
    let statement = |nonce: &str, floor: u64, number: u64| {
        let chain = honest.chain.id().get();
        let text = format!(
            "chain_id = {chain}\nmember = 0\nnumber = {number}\n[act.fresh]\nchallenge = \"{nonce}\"\n\
             slot_floor = {floor}\nlock = 4\nnext_burn = 0\n"
        );
        officers.statement(&text)
    };
    let nonce = open.nonce.to_string();
    let say = |device: &mut Device<'_, Sim>, statement: SignedStatement| {
        ask(device, Request::Statement(Box::new(statement)))
    };
    // Slots that the lost state may have signed in: up to the horizon.
    let low = say(&mut device, statement(&nonce, floor - 1, 1));
    assert_eq!(refused(&low), Rule::Fresh);
    let mut one = statement(&nonce, floor, 1);
    one.signatures = BoundedVec::new(one.signatures[..1].to_vec()).unwrap();
    assert_eq!(refused(&say(&mut device, one)), Rule::Quorum);
    let good = statement(&nonce, floor, 1);
    let stated = say(&mut device, good.clone());
    assert!(matches!(stated, Reply::Stated(_)), "{stated:?}");
    // Below the floor nothing, above it votes; and the same statement does not count twice.
    let slots = floor - honest.links[4].header.slot.get();
    let below = ask(&mut device, vote(&honest, slots));
    assert_eq!(refused(&below), Rule::SlotMonotonic);
    board.wait(60_000);
    let above = ask(&mut device, vote(&honest, slots + 1));
    assert!(matches!(above, Reply::Signature(_)), "{above:?}");
    assert_eq!(refused(&say(&mut device, good)), Rule::Iteration);
    drop(device);
    let mut device = Device::start(&flash, board.parts());
    assert!(
        matches!(ask(&mut device, Request::Status), Reply::Status(status) if status.silent.is_none())
    );
}
