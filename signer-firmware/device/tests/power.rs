//! Power goes in every operation of flash and counter, at its start, its middle and its end: what was released is never
//! forgotten, and the device goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod kit;

use alys_firmware_device::command::{self, Answer, Command, Info, Stage};
use alys_firmware_device::{Device, LEASE_SLOTS};
use alys_firmware_platform::Light;
use alys_firmware_sim::{Board, Done, PowerCut, Sim, SimFlash};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{PROTOCOL_VERSION, Reply, Request, RequestEnvelope, SignerStatus};
use alys_protocol::spec::Chain;
use alys_protocol::units::Slot;
use kit::bitcoin_kit::Miner;
use kit::fixtures::Honest;
use kit::fixtures::pegout::{Plan, request};
use kit::{Officers, card, generate, refused, spec_with};
use std::cell::RefCell;

/// A device that is on.
struct On<'a>(Device<'a, Sim>);

impl<'a> On<'a> {
    fn new(board: &Board, flash: &'a RefCell<SimFlash>) -> Self {
        Self(Device::start(flash, board.parts()))
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let message = postcard::to_allocvec(&RequestEnvelope {
            version: PROTOCOL_VERSION,
            request: request.clone(),
        });
        postcard::from_bytes(&self.0.handle(&message.unwrap())).unwrap()
    }

    fn tell(&mut self, command: &Command) -> Answer {
        let message = command::encode(command).unwrap();
        postcard::from_bytes(&self.0.handle(&message)).unwrap()
    }

    fn info(&mut self) -> Info {
        match self.tell(&Command::Info) {
            Answer::Info(info) => *info,
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self) -> SignerStatus {
        match self.ask(&Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

enum Step {
    Ask(Request),
    Tell(Command),
}

/// A board with a provisioned device that is off, and its federation.
struct World {
    board: Board,
    honest: Honest,
    officers: Officers,
    miner: Miner,
}

const CHECKPOINT: u32 = 150;

fn new_world() -> World {
    let board = Board::new();
    let flash = board.flash();
    let mut device = On::new(&board, &flash);
    board.press(true);
    let card = card(device.tell(&generate()));
    let officers = Officers::three();
    let miner = Miner::regtest(CHECKPOINT + 40);
    let mut spec = spec_with(&card);
    let checkpoint = miner.checkpoint(CHECKPOINT);
    spec.bitcoin.start_height = checkpoint.height;
    spec.bitcoin.start_hash = checkpoint.hash;
    let provision = Command::Provision(Box::new(officers.provision(&spec)));
    assert_eq!(device.tell(&provision), Answer::Done);
    board.press(false);
    assert_eq!(board.light(), Light::Ready);
    World {
        board,
        honest: Honest::new(Chain::new(spec).unwrap()),
        officers,
        miner,
    }
}

fn headers(miner: &Miner, from: u32, to: u32) -> Step {
    let headers = BoundedVec::new(miner.bytes(from, to)).unwrap();
    Step::Ask(Request::BitcoinHeaders(headers))
}

fn approve(honest: &Honest, parent: u64, slots: u64) -> Request {
    let link = honest.child_of(parent, slots, |_| ());
    Request::Approve(Box::new(honest.approve(&link)))
}

/// Everything a device is asked, with a lease that ends between.
fn steps(world: &mut World) -> Vec<Step> {
    let honest = &mut world.honest;
    honest.grow(8);
    let officers = &world.officers;
    let mut branch = world.miner.fork(CHECKPOINT + 18);
    branch.grow(12, 9);
    let chain_id = honest.chain.id().get();
    let said = |number: u64, act: &str| {
        let text = format!("chain_id = {chain_id}\nmember = 0\nnumber = {number}\nact = {act}\n");
        Step::Ask(Request::Statement(Box::new(officers.statement(&text))))
    };
    let mut steps = vec![
        headers(&world.miner, 0, CHECKPOINT + 10),
        Step::Ask(approve(honest, 4, 1)),
        Step::Ask(approve(honest, 5, 1)),
        headers(&world.miner, CHECKPOINT + 11, CHECKPOINT + 20),
        Step::Tell(Command::Policy(officers.policy(&honest.chain, 2))),
        // Two headers are replaced.
        headers(&branch, CHECKPOINT + 19, CHECKPOINT + 30),
        Step::Ask(approve(honest, 6, 1)),
        said(1, "\"pause\""),
        said(2, "\"resume\""),
    ];
    // Member 0 leads every fourth slot.
    let proposal = (2..6).map(|slots| honest.child_of(7, slots, |_| ()));
    let mut led = proposal.filter(|link| link.header.slot.get().is_multiple_of(4));
    let proposal = led.next().unwrap();
    drop(led);
    steps.push(Step::Ask(Request::SignProposal(Box::new(proposal.header))));
    let pegout = request(honest, &Plan::simple(0, 1));
    steps.push(Step::Ask(Request::SignPegOut(Box::new(pegout))));
    honest.extend(100, |_| ());
    honest.grow(2);
    let height = honest.tip().header.height.get();
    steps.push(Step::Ask(approve(honest, height, 1)));
    let pegout = request(honest, &Plan::simple(1, 2));
    steps.push(Step::Ask(Request::SignPegOut(Box::new(pegout))));
    steps
}

/// What left the device.
#[derive(Default)]
struct Released {
    votes: Vec<(Slot, Request, BlsSignature)>,
    next_burn: u64,
}

impl Released {
    /// Says whether the device did what it should.
    fn note(&mut self, step: &Step, device: &mut On<'_>) -> bool {
        match step {
            Step::Tell(command) => device.tell(command) == Answer::Done,
            Step::Ask(request) => match (request, device.ask(request)) {
                (Request::Approve(vote), Reply::Signature(signature)) => {
                    self.votes
                        .push((vote.header.slot, request.clone(), signature));
                    true
                }
                (Request::SignPegOut(pegout), Reply::Shares(_)) => {
                    self.next_burn = pegout.record.next_burn.get();
                    true
                }
                (_, Reply::Signature(_) | Reply::Bitcoin(_) | Reply::Stated(_)) => true,
                (_, Reply::Refused(_) | Reply::Error(_)) => false,
                (_, other) => panic!("{other:?}"),
            },
        }
    }
}

#[test]
fn without_a_loss_of_power_all_is_done() {
    let mut world = new_world();
    let steps = steps(&mut world);
    let flash = world.board.flash();
    world.board.power_on();
    let mut device = On::new(&world.board, &flash);
    let mut released = Released::default();
    for (number, step) in steps.iter().enumerate() {
        assert!(released.note(step, &mut device), "step {number}");
    }
    let status = device.status();
    assert_eq!(status.bitcoin.tip.unwrap().height.get(), CHECKPOINT + 30);
    assert_eq!((released.votes.len(), released.next_burn), (4, 2));
}

#[test]
fn power_may_go_in_any_operation() {
    let mut world = new_world();
    let steps = steps(&mut world);
    let height = world.honest.tip().header.height.get();
    let later = approve(&world.honest, height, 1_000);
    let mut cuts = 0;
    for done in [Done::Nothing, Done::Half, Done::All] {
        for operation in 0.. {
            let board = world.board.copy();
            board.power_on();
            let flash = board.flash();
            let mut released = Released::default();
            let mut device = On::new(&board, &flash);
            board.cut_power(Some(PowerCut { operation, done }));
            for step in &steps {
                let did = released.note(step, &mut device);
                if board.is_off() {
                    // Nobody hears what a device without power says.
                    if did {
                        let voted = matches!(step, Step::Ask(Request::Approve(_)));
                        let _last = voted.then(|| released.votes.pop());
                    }
                    break;
                }
            }
            if !board.is_off() {
                break;
            }
            cuts += 1;
            board.power_on();
            let flash = board.flash();
            let mut device = On::new(&board, &flash);
            let case = format!("{done:?} of operation {operation}");
            let stage = device.info().stage;
            assert!(
                matches!(stage, Stage::Provisioned { .. }),
                "{case}: {stage:?}"
            );
            let status = device.status();
            assert_eq!(status.silent, None, "{case}");
            assert!(status.next_burn.get() >= released.next_burn, "{case}");
            for (slot, request, signature) in &released.votes {
                assert!(status.last_slot >= *slot, "{case}");
                let Request::Approve(vote) = request else {
                    unreachable!()
                };
                let parent = vote.parent.height.get().saturating_sub(1);
                let behind =
                    vote.header.slot.get() - world.honest.links[parent as usize].header.slot.get();
                let twin = approve(&world.honest, parent, behind);
                let rule = refused(&device.ask(&twin));
                assert_eq!(rule, Rule::SlotMonotonic, "{case}");
                // A repeat is the same signature or a refusal.
                match device.ask(request) {
                    Reply::Signature(again) => assert_eq!(again, *signature, "{case}"),
                    other => assert_eq!(refused(&other), Rule::SlotMonotonic, "{case}"),
                }
            }
            // It goes on: the same again where that was not done, and votes beyond the lease.
            for step in &steps {
                released.note(step, &mut device);
            }
            let vote = device.ask(&later);
            assert!(matches!(vote, Reply::Signature(_)), "{case}: {vote:?}");
            assert_eq!(device.status().next_burn.get(), 2, "{case}");
        }
    }
    println!("power went in {cuts} operations");
    assert!(cuts > 300, "{cuts}");
}

#[test]
fn keys_and_provisioning_are_there_or_not() {
    let officers = Officers::three();
    for done in [Done::Nothing, Done::Half, Done::All] {
        for operation in 0.. {
            let board = Board::new();
            board.press(true);
            let flash = board.flash();
            let mut device = On::new(&board, &flash);
            board.cut_power(Some(PowerCut { operation, done }));
            let made = device.tell(&generate());
            if !board.is_off() {
                let spec = spec_with(&card(made));
                device.tell(&Command::Provision(Box::new(officers.provision(&spec))));
            }
            if !board.is_off() {
                break;
            }
            board.power_on();
            let flash = board.flash();
            let mut device = On::new(&board, &flash);
            let case = format!("{done:?} of operation {operation}");
            if device.info().stage == Stage::New {
                card(device.tell(&generate()));
            }
            if device.info().stage == Stage::Keys {
                let spec = spec_with(&card(device.tell(&Command::Card)));
                let provision = Command::Provision(Box::new(officers.provision(&spec)));
                assert_eq!(device.tell(&provision), Answer::Done, "{case}");
            }
            let stage = device.info().stage;
            assert!(
                matches!(stage, Stage::Provisioned { .. }),
                "{case}: {stage:?}"
            );
            assert_eq!(device.status().silent, None, "{case}");
        }
    }
}

/// Claim C5, regression N2's neighbour: an image of the flash that is copied back.
#[test]
fn c5_an_old_image_of_the_flash_is_silent() {
    let mut world = new_world();
    let steps = steps(&mut world);
    world.board.power_on();
    let mut images = vec![world.board.snapshot()];
    {
        let flash = world.board.flash();
        let mut device = On::new(&world.board, &flash);
        let mut released = Released::default();
        for step in &steps {
            assert!(released.note(step, &mut device));
            images.push(world.board.snapshot());
        }
    }
    let newest = images.pop().unwrap();
    let height = world.honest.tip().header.height.get();
    let later = approve(&world.honest, height, 1_000);
    // The last step takes a lease of its own, so that each older image is of an older one.
    for (number, image) in images.iter().enumerate() {
        world.board.restore(image);
        world.board.power_on();
        let flash = world.board.flash();
        let mut device = On::new(&world.board, &flash);
        assert_eq!(refused(&device.ask(&later)), Rule::Fresh, "image {number}");
        assert!(device.status().silent.is_some());
        assert_eq!(world.board.light(), Light::Silent);
    }
    world.board.restore(&newest);
    world.board.power_on();
    let flash = world.board.flash();
    let mut device = On::new(&world.board, &flash);
    assert!(matches!(device.ask(&later), Reply::Signature(_)));
}

/// An image of the same lease passes the counter: the lease's last slot is then what no vote goes below.
#[test]
fn c5_an_image_of_the_same_lease_votes_in_no_slot_twice() {
    let mut world = new_world();
    world.honest.grow(8);
    let (board, honest) = (&world.board, &world.honest);
    board.power_on();
    let flash = board.flash();
    let mut device = On::new(board, &flash);
    let signed = |reply: &Reply| matches!(reply, Reply::Signature(_));
    assert!(signed(&device.ask(&approve(honest, 2, 1))));
    let same_lease = board.snapshot();
    assert!(signed(&device.ask(&approve(honest, 3, 1))));
    drop(device);
    board.restore(&same_lease);
    let mut device = On::new(board, &flash);
    // The twin of the vote that the image does not know of, and all the lease's later slots.
    for (parent, slots) in [(2, 2), (4, 1), (4, LEASE_SLOTS - 3)] {
        let reply = device.ask(&approve(honest, parent, slots));
        assert_eq!(refused(&reply), Rule::SlotMonotonic, "{parent} {slots}");
    }
    assert!(signed(&device.ask(&approve(honest, 4, LEASE_SLOTS))));
}
