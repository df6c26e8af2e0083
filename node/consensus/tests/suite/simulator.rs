//! A deterministic simulator of whole federations. Members run the real state machine and a model of the signer over a
//! network that drops, delays, reorders, duplicates and partitions; nodes crash and restart from what they stored; up
//! to f members are Byzantine, with signers that sign anything. After some time the network heals.
//!
//! Signatures are ideal: a registry knows who signed what, and nothing else becomes a `Verified…`. A seed fixes a run; a
//! run that fails is run again with its event log, which the failure prints. `ALYS_SIMULATOR_SEED=7` runs one seed.

mod byzantine;
mod faults;
mod invariants;
mod node;
mod random;
mod shell;
mod world;

use faults::Scenario;
use std::fmt::Write as _;
use world::{Report, World};

fn run(scenario: Scenario, seed: u64) -> Report {
    match World::new(scenario, seed, false).run() {
        Ok(report) => report,
        Err(violation) => {
            let mut world = World::new(scenario, seed, true);
            let again = world.run().expect_err("the same seed fails again");
            assert_eq!(again, violation, "the simulator is deterministic");
            panic!(
                "{violation}\n{scenario:?}, seed {seed}; events:\n{}",
                world.log()
            );
        }
    }
}

fn run_seeds(scenario: Scenario, seeds: std::ops::Range<u64>) {
    let one = std::env::var("ALYS_SIMULATOR_SEED").ok();
    let one: Option<u64> = one.map(|seed| seed.parse().expect("ALYS_SIMULATOR_SEED is a number"));
    let seeds = one.map_or(seeds, |seed| seed..seed + 1);
    let reports: Vec<Report> = seeds.map(|seed| run(scenario, seed)).collect();
    let mut summary = String::new();
    let most = |of: fn(&Report) -> u64| reports.iter().map(of).max().unwrap_or_default();
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    writeln!(
        summary,
        "{scenario:?}: {} runs, {} events, {} blocks final, {} crashes, {} equivocations seen, {} signers out of reach; \
         slots to recover: at most {}",
        reports.len(),
        sum(|report| report.events),
        sum(|report| report.final_height),
        sum(|report| report.crashes),
        sum(|report| report.equivocations),
        sum(|report| report.refusals),
        most(|report| report.recovery_slots),
    )
    .unwrap();
    println!("{summary}");
    // A simulator in which nothing goes wrong tests nothing.
    if scenario.byzantine > 0 && one.is_none() {
        assert!(sum(|report| report.equivocations) > 0);
    }
    if one.is_none() {
        assert!(sum(|report| report.crashes) > 0);
        assert!(sum(|report| report.final_height) > 0);
    }
}

#[test]
fn four_members_one_byzantine_then_silent() {
    run_seeds(Scenario::new(4, 1, false), 0..120);
}

#[test]
fn four_members_one_byzantine_throughout() {
    run_seeds(Scenario::new(4, 1, true), 1000..1100);
}

#[test]
fn four_members_all_honest() {
    run_seeds(Scenario::new(4, 0, false), 2000..2060);
}

#[test]
fn five_members_one_byzantine_then_silent() {
    run_seeds(Scenario::new(5, 1, false), 3000..3080);
}

#[test]
fn five_members_one_byzantine_throughout() {
    run_seeds(Scenario::new(5, 1, true), 4000..4060);
}

#[test]
fn seven_members_two_byzantine_then_silent() {
    run_seeds(Scenario::new(7, 2, false), 5000..5060);
}

#[test]
fn seven_members_two_byzantine_throughout() {
    run_seeds(Scenario::new(7, 2, true), 6000..6040);
}

/// The negative control: with more than f Byzantine members the same runs must break the same invariants.
#[test]
fn more_byzantine_members_than_tolerated_are_found_out() {
    let scenario = Scenario::new(4, 2, true);
    let violations: Vec<String> = (9000..9020)
        .filter_map(|seed| World::new(scenario, seed, false).run().err())
        .collect();
    let unsafe_runs = violations
        .iter()
        .filter(|violation| violation.contains("SAFETY") || violation.contains("conflicting"))
        .count();
    assert!(
        unsafe_runs >= 5,
        "{unsafe_runs} of 20 runs: {violations:#?}"
    );
}
