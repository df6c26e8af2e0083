//! What the device needs: flash, memory, and instructions of each operation, measured on the emulated board, and the wear
//! of its flash, measured on the simulated one. Prints Markdown for docs/device-report.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measurement"
)]

#[path = "../tests/kit/mod.rs"]
mod kit;

use alys_firmware_device::command::{Answer, Command, Meters};
use alys_firmware_device::layout::{Layout, SECTOR};
use alys_firmware_device::{Device, LEASE_SLOTS};
use alys_firmware_sim::Board;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{PROTOCOL_VERSION, Reply, Request, RequestEnvelope};
use alys_protocol::spec::Chain;
use kit::federation::bitcoin_kit::Miner;
use kit::fixtures::pegout::{Plan, outpoint, request};
use kit::fixtures::{Honest, Link};
use kit::{Kit, Officers, card, generate, image, spec_with};

/// Instructions of one tick under `-icount shift=0`: a nanosecond each, and 20 million ticks in a second.
const PER_TICK: u64 = 50;
/// Slots of 2 s in ten years.
const TEN_YEARS: u64 = 157_788_000;
/// What an STM32H573's flash and a serial NOR flash are specified for, in erasures of a sector.
const INTERNAL: u64 = 10_000;
const SERIAL: u64 = 100_000;

fn main() {
    println!("<!-- Made by `make firmware-report`; do not edit. -->");
    image_size();
    operations();
    signing();
    wear();
}

fn image_size() {
    let output = std::process::Command::new("arm-none-eabi-size")
        .arg(image())
        .output()
        .expect("arm-none-eabi-size");
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [text, data, bss, ..] = numbers[..] else {
        panic!("{numbers:?}")
    };
    println!("\n| image | bytes |\n|---|---:|");
    println!("| flash | {} |", text + data);
    println!(
        "| static memory, the heap of 327,680 and the link's buffer of 122,884 included | {} |",
        data + bss
    );
}

struct Row {
    name: String,
    bytes: usize,
    meters: Meters,
}

fn measured(kit: &mut Kit, name: &str, request: Request, yes: bool) -> Row {
    let bytes = postcard::to_allocvec(&request).unwrap().len();
    let reply = kit.device().ask(request).unwrap();
    let refused = matches!(reply, Reply::Refused(_) | Reply::Error(_));
    assert_eq!(refused, !yes, "{name}: {reply:?}");
    Row {
        name: name.to_owned(),
        bytes,
        meters: kit.info().last,
    }
}

fn approve(honest: &Honest, link: &Link) -> Request {
    Request::Approve(Box::new(honest.approve(link)))
}

fn operations() {
    let miner = Miner::regtest(200);
    let mut kit = Kit::with(true, |spec| {
        let checkpoint = miner.checkpoint(150);
        spec.bitcoin.start_height = checkpoint.height;
        spec.bitcoin.start_hash = checkpoint.hash;
    });
    let mut rows = Vec::new();
    let headers = |from, to| {
        let headers = BoundedVec::new(miner.bytes(from, to)).unwrap();
        Request::BitcoinHeaders(headers)
    };
    rows.push(measured(
        &mut kit,
        "open the chain of headers (151)",
        headers(0, 150),
        true,
    ));
    rows.push(measured(
        &mut kit,
        "one Bitcoin header",
        headers(151, 151),
        true,
    ));
    kit.honest.grow(8);
    let link = kit.honest.child_of(5, 1, |_| ());
    let first = approve(&kit.honest, &link);
    rows.push(measured(
        &mut kit,
        "approve, with a new lease",
        first.clone(),
        true,
    ));
    rows.push(measured(
        &mut kit,
        "the same again (one BLS signature)",
        first,
        true,
    ));
    let link = kit.honest.child_of(6, 1, |_| ());
    let request = approve(&kit.honest, &link);
    rows.push(measured(&mut kit, "**approve**", request, true));
    let wrong = kit.honest.certificate(kit.honest.links[3].header.id());
    let link = kit.honest.child_of(7, 1, |link| {
        let certificate = link.body.parent_certificate.as_mut().unwrap();
        certificate.signature = wrong.signature;
    });
    let request = approve(&kit.honest, &link);
    let name = "certificate check (approve, refused by it)";
    rows.push(measured(&mut kit, name, request, false));
    let proposal = (1..5)
        .map(|slots| kit.honest.child_of(8, slots, |_| ()))
        .find(|link| link.header.slot.get().is_multiple_of(4))
        .unwrap();
    let proposal = Request::SignProposal(Box::new(proposal.header));
    rows.push(measured(&mut kit, "sign a proposal", proposal, true));
    let account = kit.honest.extend_with_vault(None);
    kit.honest.grow(2);
    let _ = account;
    let account = kit.honest.extend_with_vault(None);
    let tip = kit.honest.tip().header.height.get();
    let (_link, request) = kit.honest.child_with_record(tip - 3, account);
    let request = Request::Approve(Box::new(request));
    rows.push(measured(
        &mut kit,
        "approve, with AuxPoW and fees",
        request,
        true,
    ));
    let mut first_burn = 0;
    for (coin, burns) in [(1u8, 1u64), (2, 10), (3, 50)] {
        let plan = Plan {
            first_burn,
            amounts: vec![2_000_000; usize::try_from(burns).unwrap()],
            inputs: vec![(outpoint(coin), 200_000_000)],
            ..Plan::simple(first_burn, coin)
        };
        let pegout = request_of(&mut kit.honest, &plan);
        let name = format!("peg-out of {burns} burns");
        rows.push(measured(&mut kit, &name, pegout, true));
        first_burn += burns;
    }
    println!("\n| operation | request, bytes | instructions, millions | at 250 MHz, one a cycle |");
    println!("|---|---:|---:|---:|");
    for row in &rows {
        let instructions = row.meters.ticks * PER_TICK;
        let (whole, tenths) = (instructions / 1_000_000, instructions / 100_000 % 10);
        println!(
            "| {} | {} | {whole}.{tenths} | {} ms |",
            row.name,
            row.bytes,
            instructions / 250_000
        );
    }
    let ticks = |burns: &str| {
        let row = rows.iter().find(|row| row.name.contains(burns)).unwrap();
        row.meters.ticks * PER_TICK
    };
    let receipt = ticks("of 50 burns").saturating_sub(ticks("of 10 burns")) / 40;
    let thousands = receipt / 1000;
    println!("\nOne burn more with its receipt proof: {thousands} thousand instructions.");
    let last = rows.last().unwrap().meters;
    println!(
        "\nAt most, over all of these and provisioning: {} bytes of stack, {} bytes of heap.",
        last.stack, last.heap
    );
}

fn request_of(honest: &mut Honest, plan: &Plan) -> Request {
    Request::SignPegOut(Box::new(request(honest, plan)))
}

/// The same kind of signature by keys that nobody chose: a repeated vote, which does nothing but read, judge no rule, sign.
fn signing() {
    let mut counts = Vec::new();
    for _device in 0..3 {
        let mut kit = Kit::new(true);
        kit.honest.grow(6);
        for parent in [4, 5] {
            let link = kit.honest.child_of(parent, 1, |_| ());
            let request = approve(&kit.honest, &link);
            measured(&mut kit, "vote", request.clone(), true);
            let row = measured(&mut kit, "vote again", request, true);
            counts.push(row.meters.ticks * PER_TICK);
        }
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    println!(
        "\nOne BLS signature by three devices with keys of their own, two votes each: {least} to {most} instructions, \
         a spread of {}. The resolution is {PER_TICK}.",
        most - least
    );
}

/// Bytes that votes write, by a device on the simulated board.
fn wear() {
    let board = Board::new();
    let flash = board.flash();
    let mut device = Device::start(&flash, board.parts());
    let layout = Layout::of(&*flash.borrow()).unwrap();
    board.press(true);
    let tell = |device: &mut Device<'_, _>, command: &Command| -> Answer {
        let message = alys_firmware_device::command::encode(command).unwrap();
        postcard::from_bytes(&device.handle(&message)).unwrap()
    };
    let card = card(tell(&mut device, &generate()));
    let spec = spec_with(&card);
    let provision = Command::Provision(Box::new(Officers::three().provision(&spec)));
    assert_eq!(tell(&mut device, &provision), Answer::Done);
    let mut honest = Honest::new(Chain::new(spec).unwrap());
    let ask = |device: &mut Device<'_, _>, request: Request| {
        let envelope = RequestEnvelope {
            version: PROTOCOL_VERSION,
            request,
        };
        let message = postcard::to_allocvec(&envelope).unwrap();
        let reply: Reply = postcard::from_bytes(&device.handle(&message)).unwrap();
        assert!(matches!(reply, Reply::Signature(_)), "{reply:?}");
    };
    let slots = 4 * LEASE_SLOTS;
    let before = board.written();
    for _slot in 0..slots {
        let link = honest.child_of(honest.tip().header.height.get(), 1, |_| ());
        if link.header.slot.get().is_multiple_of(4) {
            let proposal = Request::SignProposal(Box::new(link.header.clone()));
            ask(&mut device, proposal);
        }
        let request = approve(&honest, &link);
        ask(&mut device, request);
        honest.links.push(link);
    }
    let written = board.written() - before;
    let sectors = u64::from((layout.head.end - layout.head.start) / SECTOR);
    // A sector has two words of its own.
    let usable = u64::from(SECTOR) - 32;
    let erasures = |sectors: u64| written * TEN_YEARS / slots / (sectors * usable);
    let needed = |endurance: u64| written * TEN_YEARS / slots / (endurance * usable) + 1;
    println!(
        "\nFlash wear of votes and proposals (one of four members, a lease of {LEASE_SLOTS} slots), over ten years of 2 s \
         slots: {} bytes a slot, {} erasures of each of the journal's {sectors} sectors. An internal flash of {INTERNAL} \
         erasures would need {} such sectors ({} MiB), a serial NOR flash of {SERIAL} erasures {} ({} KiB).",
        written / slots,
        erasures(sectors),
        needed(INTERNAL),
        (needed(INTERNAL) * u64::from(SECTOR)) >> 20,
        needed(SERIAL),
        (needed(SERIAL) * u64::from(SECTOR)) >> 10,
    );
}
