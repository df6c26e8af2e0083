use super::*;
use proptest::prelude::*;

const RULE: Rule = Rule::CapWindow;

fn at(seconds: u64) -> WindowTime {
    WindowTime::from_millis(seconds * 1000)
}

fn limit(seconds: u64, sats: u64) -> Limit<Sats> {
    Limit {
        length: Seconds::new(seconds),
        most: Sats::new(sats),
    }
}

/// Admits and charges, or not.
fn spend(window: &mut RollingWindow<Sats>, now: WindowTime, limit: Limit<Sats>, sats: u64) -> bool {
    let admitted = window.admit(RULE, now, limit, Sats::new(sats)).is_ok();
    if admitted {
        window.charge(now, limit.length, Sats::new(sats));
    }
    admitted
}

#[test]
fn a_window_fills_and_empties() {
    let mut window = RollingWindow::empty();
    let limit = limit(2_400, 100);
    assert!(spend(&mut window, at(0), limit, 60));
    assert!(spend(&mut window, at(1_000), limit, 40));
    assert!(!spend(&mut window, at(1_000), limit, 1));
    assert!(!spend(&mut window, at(2_400), limit, 1), "still within");
    assert!(spend(&mut window, at(2_401), limit, 60));
    assert!(!spend(&mut window, at(2_401), limit, 1));
    let refusal = window
        .admit(RULE, at(2_401), limit, Sats::new(1))
        .unwrap_err();
    assert_eq!(refusal.rule, RULE);
    assert_eq!(refusal.expected, "at most 100 sat in 2400 s");
    assert_eq!(refusal.found, "1 sat after 100");
}

#[test]
fn draining_in_small_steps_ends_at_the_limit() {
    let mut window = RollingWindow::empty();
    let limit = limit(86_400, 1_000);
    let spent = (0..86_400)
        .filter(|second| spend(&mut window, at(*second), limit, 1))
        .count();
    assert_eq!(spent, 1_000);
}

#[test]
fn a_restored_signer_waits_a_whole_length() {
    let mut window = RollingWindow::full(at(500));
    let limit = limit(1_000, u64::MAX);
    assert!(!spend(&mut window, at(500), limit, 1));
    assert!(!spend(&mut window, at(0), limit, 1), "the clock is behind");
    assert!(!spend(&mut window, at(1_500), limit, 1));
    assert!(spend(&mut window, at(1_501), limit, 1));
    let refusal = RollingWindow::full(at(0))
        .admit(RULE, at(0), limit, Sats::new(7))
        .unwrap_err();
    assert!(refusal.found.contains("does not know"), "{refusal}");
}

#[test]
fn nothing_fits_whatever_the_window_holds() {
    let none = Sats::ZERO;
    let window = RollingWindow::full(at(0));
    assert!(window.admit(RULE, at(0), limit(1, 0), none).is_ok());
}

#[test]
fn sums_do_not_wrap() {
    let mut window = RollingWindow::empty();
    let limit = limit(100, u64::MAX);
    assert!(spend(&mut window, at(0), limit, u64::MAX - 1));
    assert!(!spend(&mut window, at(1), limit, 2));
    assert!(spend(&mut window, at(1), limit, 1));
    assert!(!spend(&mut window, at(50), limit, 1));
}

#[test]
fn a_longer_length_does_not_forget() {
    let mut window = RollingWindow::empty();
    for hour in 0..200 {
        assert!(spend(&mut window, at(hour * 3_600), limit(3_600, 10), 5));
    }
    // Some of those are forgotten, so a week's window starts full rather than empty.
    assert!(!spend(&mut window, at(720_000), limit(604_800, 1_000), 1));
}

/// The slow way: every charge, for ever.
fn exact(list: &[(u64, u64)], now_ms: u64, length: Seconds) -> u128 {
    list.iter()
        .filter(|(then, _)| now_ms - then <= length.as_millis())
        .map(|(_, sats)| u128::from(*sats))
        .sum()
}

proptest! {
    /// The invariant, against the slow way, over every stretch; the policy may change at any moment, and the clock may
    /// fall back to an earlier reading (a restart).
    #[test]
    fn no_stretch_of_the_length_holds_more_than_the_limit(
        steps in proptest::collection::vec(
            (0u64..400_000, 0u64..60, prop::bool::weighted(0.05), 1u64..2_000, 1u64..200),
            1..300,
        ),
    ) {
        let mut window = RollingWindow::empty();
        let mut list: Vec<(u64, u64)> = Vec::new();
        let mut limit = limit(600, 100);
        let mut real = 0;
        for (millis, sats, change, length, most) in steps {
            real += millis;
            if change {
                limit = super::tests::limit(length, most);
            }
            if spend(&mut window, WindowTime::from_millis(real), limit, sats) && sats > 0 {
                list.push((real, sats));
                let held = exact(&list, real, limit.length);
                prop_assert!(held <= u128::from(limit.most.get()), "{held} of {limit:?}");
            }
            prop_assert!(window.charges.len() <= MAX_CHARGES);
        }
    }

    /// With one policy: no pair of moments a length apart or nearer has more between them than the limit.
    #[test]
    fn every_stretch_not_only_the_charged_ones(
        steps in proptest::collection::vec((0u64..90_000, 1u64..40), 1..200),
    ) {
        let mut window = RollingWindow::empty();
        let limit = limit(900, 100);
        let mut list: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (millis, sats) in steps {
            now += millis;
            if spend(&mut window, WindowTime::from_millis(now), limit, sats) {
                list.push((now, sats));
            }
        }
        for (start, _) in &list {
            let held: u64 = list
                .iter()
                .filter(|(then, _)| then >= start && then - start <= limit.length.as_millis())
                .map(|(_, sats)| sats)
                .sum();
            prop_assert!(held <= limit.most.get());
        }
    }

    /// What is refused in error is refused for one grain at most: a length and a grain after the last charge, the whole
    /// limit is there again.
    #[test]
    fn an_idle_window_is_free_again(
        steps in proptest::collection::vec((0u64..90_000, 1u64..40), 1..200),
    ) {
        let mut window = RollingWindow::empty();
        let limit = limit(2_400, 100);
        let mut list: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (millis, sats) in steps {
            now += millis;
            let loose = super::tests::limit(2_400 + 2_400 / GRAINS, 100);
            let fits = exact(&list, now, loose.length) + u128::from(sats) <= 100;
            let admitted = spend(&mut window, WindowTime::from_millis(now), limit, sats);
            prop_assert!(admitted || !fits, "only the grain is lost");
            if admitted {
                list.push((now, sats));
            }
        }
        prop_assert!(spend(&mut window, WindowTime::from_millis(now + 2_400_001), limit, 100));
    }

    /// A clock that falls back never opens a window.
    #[test]
    fn a_clock_that_falls_back_gains_nothing(
        steps in proptest::collection::vec((-500_000i64..400_000, 1u64..60), 1..200),
    ) {
        let mut window = RollingWindow::empty();
        let limit = limit(600, 100);
        let mut list: Vec<(u64, u64)> = Vec::new();
        let (mut clock, mut highest) = (0i64, 0u64);
        for (step, sats) in steps {
            clock = (clock + step).max(0);
            let now = u64::try_from(clock).unwrap();
            if spend(&mut window, WindowTime::from_millis(now), limit, sats) {
                // Where the clock is behind, the charge counts as made at the last one.
                highest = highest.max(now);
                list.push((highest, sats));
                prop_assert!(exact(&list, highest, limit.length) <= 100);
            }
        }
    }

    /// The state survives its encoding, and stays small.
    #[test]
    fn the_state_is_small_and_encodes(steps in proptest::collection::vec((0u64..90_000, 1u64..400), 1..200)) {
        let mut window = RollingWindow::empty();
        let mut now = 0;
        for (millis, sats) in steps {
            now += millis;
            window.charge(WindowTime::from_millis(now), Seconds::new(60), Sats::new(sats));
        }
        let bytes = postcard::to_allocvec(&window).unwrap();
        prop_assert!(bytes.len() < 1_024);
        prop_assert_eq!(postcard::from_bytes::<RollingWindow<Sats>>(&bytes).unwrap(), window);
    }
}
