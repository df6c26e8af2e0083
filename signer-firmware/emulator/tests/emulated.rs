//! The image on QEMU's `mps2-an505`, over its link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod kit;

use alys_firmware_device::command::{Answer, Command, Failure, Stage};
use alys_firmware_emulator::{EmulatorError, Machine, PowerCut};
use alys_protocol::bls;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ProtocolError, Reply, Request};
use bitcoin::XOnlyPublicKey;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use kit::fixtures::pegout::{Plan, outpoint, request, transaction};
use kit::{Kit, card, generate, image, info, refused};

#[test]
fn keys_are_made_once_and_with_the_button() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path(), &image()).unwrap();
    let mut device = machine.start(false).unwrap();
    assert_eq!(info(&mut device).stage, Stage::New);
    let none = device.ask(Request::Status).unwrap();
    assert!(matches!(none, Reply::Error(ProtocolError::Internal(_))));
    let answer = device.tell(&generate()).unwrap();
    assert_eq!(answer, Answer::Failed(Failure::Button));
    machine.press(true).unwrap();
    let made = card(device.tell(&generate()).unwrap());
    let key = bls::PublicKey::from_bytes(&made.bls).unwrap();
    assert_eq!(key.verify_possession(&made.bls_possession), Ok(()));
    assert_eq!(
        (made.entropy.host_bits, made.entropy.token_bits),
        (512, 512)
    );
    let again = device.tell(&generate()).unwrap();
    assert_eq!(again, Answer::Failed(Failure::HasKeys));
    // They are there after a loss of power, and gone once the case was opened, also after it is closed.
    drop(device);
    let mut device = machine.start(false).unwrap();
    assert_eq!(card(device.tell(&Command::Card).unwrap()), made);
    machine.open_case().unwrap();
    let stage = info(&mut device).stage;
    assert!(matches!(&stage, Stage::Broken(why) if why.contains("opened")));
    drop(device);
    std::fs::remove_file(folder.path().join("tamper")).unwrap();
    let mut device = machine.start(false).unwrap();
    assert_eq!(info(&mut device).stage, Stage::New);
    let flash = std::fs::read(machine.flash()).unwrap();
    assert!(flash.starts_with(&[0xff; 16 << 10]), "keys are left");
}

#[test]
fn a_device_votes_with_real_certificates() {
    let mut kit = Kit::new(true);
    kit.honest.grow(6);
    let Reply::Status(status) = kit.device().ask(Request::Status).unwrap() else {
        panic!("no status");
    };
    assert_eq!((status.bls, status.silent), (kit.card.bls, None));
    let link = kit.honest.child_of(5, 1, |_| ());
    let request = kit.honest.approve(&link);
    let ask = Request::Approve(Box::new(request.clone()));
    let Reply::Signature(signature) = kit.device().ask(ask.clone()).unwrap() else {
        panic!("no signature");
    };
    let key = bls::PublicKey::from_bytes(&kit.card.bls).unwrap();
    let message = link.header.approval_message();
    assert_eq!(key.verify(&message, &signature), Ok(()));
    let meters = kit.info().last;
    // A tick of 20 MHz is 50 instructions under `-icount shift=0`.
    println!("approve: {} instructions, {meters:?}", meters.ticks * 50);
    // The same again gives the same; another block in the slot gives none.
    assert_eq!(kit.device().ask(ask).unwrap(), Reply::Signature(signature));
    let twin = kit.honest.child_of(4, 2, |_| ());
    let twin = Request::Approve(Box::new(kit.honest.approve(&twin)));
    assert_eq!(
        refused(&kit.device().ask(twin).unwrap()),
        Rule::SlotMonotonic
    );
    let next = kit.honest.child_of(6, 1, |link| {
        let wrong = kit.honest.certificate(kit.honest.links[3].header.id());
        let certificate = link.body.parent_certificate.as_mut().unwrap();
        certificate.signature = wrong.signature;
    });
    let forged = Request::Approve(Box::new(kit.honest.approve(&next)));
    assert_eq!(
        refused(&kit.device().ask(forged).unwrap()),
        Rule::ParentCertified
    );
}

/// Between a request and its signature (issue 5).
const APPROVE_BUDGET: u64 = 250_000_000;
/// Of a tick under `-icount shift=0`.
const INSTRUCTIONS: u64 = 50;

#[test]
fn approve_fits_its_budget() {
    let mut kit = Kit::new(true);
    kit.honest.grow(80);
    // The second one takes a new lease, the first after provisioning does, too.
    for parent in [1, 2, 79] {
        let link = kit.honest.child_of(parent, 1, |_| ());
        let request = Request::Approve(Box::new(kit.honest.approve(&link)));
        let reply = kit.device().ask(request).unwrap();
        assert!(matches!(reply, Reply::Signature(_)), "{reply:?}");
        let meters = kit.info().last;
        let instructions = meters.ticks * INSTRUCTIONS;
        assert!(instructions < APPROVE_BUDGET, "{instructions}");
        assert!(
            instructions > 50_000_000,
            "{instructions}: nothing was verified"
        );
    }
}

#[test]
fn a_peg_out_of_fifty_burns_fits_the_memory() {
    let mut kit = Kit::new(false);
    let plan = Plan {
        amounts: vec![2_000_000; 50],
        inputs: vec![(outpoint(1), 200_000_000)],
        ..Plan::simple(0, 1)
    };
    let pegout = request(&mut kit.honest, &plan);
    let ask = Request::SignPegOut(Box::new(pegout.clone()));
    let Reply::Shares(shares) = kit.device().ask(ask.clone()).unwrap() else {
        panic!("no shares");
    };
    // A repeat is the same, also after power went.
    kit.restart(false);
    assert_eq!(
        kit.device().ask(ask).unwrap(),
        Reply::Shares(shares.clone())
    );
    let key = XOnlyPublicKey::from_slice(kit.card.schnorr.as_bytes()).unwrap();
    let batch = kit.honest.chain.wallet();
    let transaction = transaction(&kit.honest.chain, &plan);
    let sighashes = batch.sighashes(&transaction, &pegout.values).unwrap();
    assert_eq!(shares.len(), sighashes.len());
    for (share, sighash) in shares.iter().zip(sighashes) {
        let signature = schnorr::Signature::from_slice(share.as_bytes()).unwrap();
        let message = Message::from_digest(sighash);
        Secp256k1::verification_only()
            .verify_schnorr(&signature, &message, &key)
            .unwrap();
    }
    // Other burns of the same numbers are not paid.
    let mut other = Plan::simple(0, 2);
    other.amounts[0] += 1;
    let other = request(&mut kit.honest, &other);
    let reply = kit
        .device()
        .ask(Request::SignPegOut(Box::new(other)))
        .unwrap();
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

/// Power goes for real: SIGKILL while the emulated core stands in the middle of an operation of its flash.
#[test]
fn killed_in_its_flash_operations_it_forgets_nothing() {
    let mut kit = Kit::new(false);
    kit.honest.grow(4);
    let vote = |kit: &Kit, parent: u64, slots: u64| {
        let link = kit.honest.child_of(parent, slots, |_| ());
        Request::Approve(Box::new(kit.honest.approve(&link)))
    };
    let mut slot = kit.honest.tip().header.slot.get();
    let mut released: Option<u64> = None;
    let mut cuts = 0;
    for (operation, bytes) in [
        (0, 0),
        (0, 8),
        (0, 40),
        (1, 0),
        (1, 17),
        (2, 0),
        (2, 16),
        (3, 5),
    ] {
        let cut = PowerCut { operation, bytes };
        kit.machine.cut_power(Some(cut)).unwrap();
        kit.restart(false);
        // Votes, each beyond the lease of the start before, until power goes.
        let went = (0..4).any(|_vote| {
            slot += 100;
            let slots = slot - kit.honest.links[4].header.slot.get();
            let request = vote(&kit, 4, slots);
            match kit.device().ask(request) {
                Ok(Reply::Signature(_)) => {
                    released = Some(slot);
                    false
                }
                Err(EmulatorError::PowerCut) => true,
                other => panic!("{other:?}"),
            }
        });
        assert!(went, "no operation {operation}");
        cuts += 1;
        // Dropping it kills QEMU.
        kit.machine.cut_power(None).unwrap();
        kit.restart(false);
        let stage = kit.info().stage;
        assert!(
            matches!(stage, Stage::Provisioned { .. }),
            "{cut:?}: {stage:?}"
        );
        if let Some(last) = released {
            let slots = last - kit.honest.links[3].header.slot.get();
            let twin = vote(&kit, 3, slots);
            let rule = refused(&kit.device().ask(twin).unwrap());
            assert_eq!(rule, Rule::SlotMonotonic, "{cut:?}");
        }
    }
    assert_eq!(cuts, 8);
}

/// Claim C5 on the emulated board: the flash's file is copied back, the counter is not in it.
#[test]
fn c5_a_flash_that_was_copied_back_is_silent() {
    let mut kit = Kit::new(false);
    kit.honest.grow(4);
    let vote = |kit: &mut Kit, slots: u64| {
        let link = kit.honest.child_of(4, slots, |_| ());
        let request = Request::Approve(Box::new(kit.honest.approve(&link)));
        kit.device().ask(request).unwrap()
    };
    assert!(matches!(vote(&mut kit, 1), Reply::Signature(_)));
    kit.device = None;
    let old = std::fs::read(kit.machine.flash()).unwrap();
    kit.restart(false);
    assert!(matches!(vote(&mut kit, 200), Reply::Signature(_)));
    kit.device = None;
    let new = std::fs::read(kit.machine.flash()).unwrap();
    std::fs::write(kit.machine.flash(), old).unwrap();
    kit.restart(false);
    assert_eq!(refused(&vote(&mut kit, 400)), Rule::Fresh);
    kit.device = None;
    std::fs::write(kit.machine.flash(), new).unwrap();
    kit.restart(false);
    assert!(matches!(vote(&mut kit, 600), Reply::Signature(_)));
}

#[test]
fn noise_and_nonsense_are_answered_and_survived() {
    let mut kit = Kit::new(false);
    let answer = kit.device().exchange(&[9, 9, 9]).unwrap();
    let reply: Reply = postcard::from_bytes(&answer).unwrap();
    assert!(matches!(
        reply,
        Reply::Error(ProtocolError::Version { found: 9, .. })
    ));
    let answer = kit.device().exchange(&[1, 99]).unwrap();
    let reply: Reply = postcard::from_bytes(&answer).unwrap();
    assert!(matches!(reply, Reply::Error(ProtocolError::Malformed(_))));
    let answer = kit.device().exchange(&[0, 99]).unwrap();
    let reply: Answer = postcard::from_bytes(&answer).unwrap();
    assert!(matches!(reply, Answer::Failed(Failure::Malformed(_))));
    let status = kit.device().ask(Request::Status).unwrap();
    assert!(matches!(status, Reply::Status(_)));
}

/// The core stands still, as after a panic or memory that ran out. Nobody turns it off: two periods of the watchdog later it
/// starts again.
#[test]
fn a_device_that_hangs_is_reset_by_its_watchdog() {
    let mut kit = Kit::new(false);
    kit.honest.grow(4);
    let cut = PowerCut {
        operation: 0,
        bytes: 3,
    };
    kit.machine.cut_power(Some(cut)).unwrap();
    kit.restart(false);
    let link = kit.honest.child_of(4, 200, |_| ());
    let vote = Request::Approve(Box::new(kit.honest.approve(&link)));
    let hung = kit.device().ask(vote.clone());
    assert!(matches!(hung, Err(EmulatorError::PowerCut)), "{hung:?}");
    kit.machine.cut_power(None).unwrap();
    // What is sent meanwhile waits in the line.
    let answer = (0..4).find_map(|_patience| match kit.device().ask(vote.clone()) {
        Err(EmulatorError::Silent(_)) => None,
        other => Some(other.unwrap()),
    });
    let answer = answer.expect("no reset");
    assert!(matches!(answer, Reply::Signature(_)), "{answer:?}");
}
