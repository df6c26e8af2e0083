use super::*;
use proptest::prelude::*;

const CONFIG: BreakerConfig = BreakerConfig {
    failures_to_open: 3,
    pause: Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(8),
    },
};
/// Places each pause at its upper bound.
const FULL: u32 = u32::MAX;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fail(breaker: &mut CircuitBreaker, now: Duration) {
    let permit = breaker.admit(now).unwrap();
    breaker.finish(permit, CallEnd::Failed, now, FULL);
}

fn opened(now: Duration) -> CircuitBreaker {
    let mut breaker = CircuitBreaker::new(CONFIG);
    for _ in 0..3 {
        fail(&mut breaker, now);
    }
    breaker
}

#[test]
fn opens_after_failures_in_a_row_only() {
    let mut breaker = CircuitBreaker::new(CONFIG);
    fail(&mut breaker, at(0));
    fail(&mut breaker, at(0));
    let permit = breaker.admit(at(0)).unwrap();
    breaker.finish(permit, CallEnd::Answered, at(0), FULL);
    fail(&mut breaker, at(0));
    fail(&mut breaker, at(0));
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&mut breaker, at(0));
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(breaker.admit(at(0)), Err(CircuitOpen { retry_in: at(1) }));
}

#[test]
fn one_probe_after_the_pause_closes_it() {
    let mut breaker = opened(at(0));
    let probe = breaker.admit(at(1)).unwrap();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert_eq!(breaker.admit(at(1)), Err(CircuitOpen { retry_in: at(0) }));
    breaker.finish(probe, CallEnd::Answered, at(1), FULL);
    assert_eq!(breaker.state(), BreakerState::Closed);
    let _permit = breaker.admit(at(1)).unwrap();
}

#[test]
fn pauses_grow_with_failed_probes_and_start_anew_after_a_success() {
    let mut breaker = opened(at(0));
    let mut now = at(1);
    for pause in [2, 4, 8, 8] {
        fail(&mut breaker, now);
        assert_eq!(
            breaker.admit(now),
            Err(CircuitOpen {
                retry_in: at(pause)
            })
        );
        now += at(pause);
    }
    let probe = breaker.admit(now).unwrap();
    breaker.finish(probe, CallEnd::Answered, now, FULL);
    for _ in 0..3 {
        fail(&mut breaker, now);
    }
    assert_eq!(breaker.admit(now), Err(CircuitOpen { retry_in: at(1) }));
}

#[test]
fn an_abandoned_probe_leaves_the_way_free_for_the_next() {
    let mut breaker = opened(at(0));
    let probe = breaker.admit(at(1)).unwrap();
    breaker.finish(probe, CallEnd::Abandoned, at(1), FULL);
    let probe = breaker.admit(at(1)).unwrap();
    breaker.finish(probe, CallEnd::Answered, at(1), FULL);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_call_from_before_the_change_alters_nothing() {
    let mut breaker = CircuitBreaker::new(CONFIG);
    let slow_success = breaker.admit(at(0)).unwrap();
    let slow_failure = breaker.admit(at(0)).unwrap();
    for _ in 0..3 {
        fail(&mut breaker, at(0));
    }
    breaker.finish(slow_success, CallEnd::Answered, at(0), FULL);
    assert_eq!(breaker.state(), BreakerState::Open);
    let probe = breaker.admit(at(1)).unwrap();
    breaker.finish(slow_failure, CallEnd::Failed, at(1), FULL);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.finish(probe, CallEnd::Answered, at(1), FULL);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[derive(Debug, Clone)]
enum Action {
    Admit,
    Finish(CallEnd),
    Pass(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => Just(Action::Admit),
        1 => Just(Action::Finish(CallEnd::Answered)),
        2 => Just(Action::Finish(CallEnd::Failed)),
        1 => Just(Action::Finish(CallEnd::Abandoned)),
        2 => (0u64..5_000).prop_map(Action::Pass),
    ];
    prop::collection::vec(action, 0..200)
}

proptest! {
    /// Whatever the order of calls: never two probes at once, no call while the pause lasts, and, once every permit is
    /// back and the longest pause is over, a call is let through and its success closes the circuit.
    #[test]
    fn never_stuck_and_never_hammering(actions in actions(), random: u32) {
        let mut breaker = CircuitBreaker::new(CONFIG);
        let mut now = Duration::ZERO;
        let mut pending = Vec::new();
        let mut blocked_until = None;
        for action in actions {
            match action {
                Action::Pass(ms) => now += Duration::from_millis(ms),
                Action::Admit => {
                    let before = breaker.state();
                    match breaker.admit(now) {
                        Ok(permit) => {
                            prop_assert_ne!(before, BreakerState::HalfOpen);
                            prop_assert!(blocked_until.is_none_or(|until| now >= until));
                            blocked_until = None;
                            pending.push(permit);
                        }
                        Err(refusal) => {
                            prop_assert_ne!(before, BreakerState::Closed);
                            if before == BreakerState::Open {
                                prop_assert!(refusal.retry_in > Duration::ZERO);
                                prop_assert!(refusal.retry_in <= CONFIG.pause.longest);
                                blocked_until = Some(now + refusal.retry_in);
                            }
                        }
                    }
                }
                Action::Finish(end) => {
                    if !pending.is_empty() {
                        breaker.finish(pending.remove(0), end, now, random);
                    }
                }
            }
        }
        for permit in pending {
            breaker.finish(permit, CallEnd::Failed, now, random);
        }
        now += CONFIG.pause.longest;
        let permit = breaker.admit(now);
        prop_assert!(permit.is_ok());
        breaker.finish(permit.unwrap(), CallEnd::Answered, now, random);
        prop_assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
