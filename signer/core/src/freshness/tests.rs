use super::*;

const fn mark(value: u64, tag: u8) -> CounterMark {
    CounterMark {
        value: CounterValue::new(value),
        tag: Tag::new([tag; 16]),
    }
}

const LEASE: Lease = Lease {
    counter: mark(7, 7),
    before: Tag::new([6; 16]),
    until: Slot::new(100),
};

#[test]
fn equal_is_fresh_and_one_below_was_interrupted() {
    assert_eq!(fresh(&LEASE, Some(mark(7, 7))), Ok(Standing::Equal));
    assert_eq!(
        fresh(&LEASE, Some(mark(6, 6))),
        Ok(Standing::Interrupted(mark(6, 6)))
    );
    let freshness = |outside| Freshness {
        lease: LEASE,
        outside: Some(outside),
        floor: Slot::new(0),
    };
    assert_eq!(current(&freshness(mark(7, 7))), Ok(()));
    let refused = current(&freshness(mark(6, 6))).unwrap_err();
    assert_eq!(refused.rule, Rule::Counter, "not before it advanced");
}

#[test]
fn n1_an_old_state_a_copy_another_counter_and_none_are_refused() {
    for (outside, word) in [
        (Some(mark(8, 8)), "old"),
        (Some(mark(u64::MAX, 7)), "old"),
        (Some(mark(7, 8)), "another instance"),
        (Some(mark(6, 7)), "replaced"),
        (Some(mark(5, 6)), "replaced"),
        (Some(mark(0, 0)), "replaced"),
        (None, "officers"),
    ] {
        let refused = fresh(&LEASE, outside).unwrap_err();
        assert_eq!(refused.rule, Rule::Fresh);
        assert!(refused.found.contains(word), "{refused}");
    }
    let end = Lease {
        counter: mark(0, 0),
        ..LEASE
    };
    assert!(fresh(&end, Some(mark(u64::MAX, 6))).is_err());
}

#[test]
fn the_counter_must_show_the_new_value() {
    assert_eq!(counter(&LEASE, mark(7, 7)), Ok(()));
    for other in [mark(8, 7), mark(7, 8)] {
        let refused = counter(&LEASE, other).unwrap_err();
        assert_eq!(refused.rule, Rule::Counter);
    }
}

#[test]
fn a_lease_covers_its_slots_and_a_closing_one_ends_with_the_last_vote() {
    let next = LEASE.next(Slot::new(101), 10, Tag::new([8; 16])).unwrap();
    assert_eq!(next.counter, mark(8, 8));
    assert_eq!(next.before, LEASE.counter.tag);
    assert!(next.covers(Slot::new(110)) && !next.covers(Slot::new(111)));
    let closed = next.closing(Slot::new(103), Tag::new([9; 16])).unwrap();
    assert_eq!(closed.until, Slot::new(103));
    let end = Lease {
        counter: mark(u64::MAX, 1),
        ..LEASE
    };
    assert_eq!(end.next(Slot::new(101), 1, Tag::ZERO), None);
}

/// Every interleaving of write, advance and crash, against what was really signed: a start either knows a floor at or
/// above every slot signed in, or refuses.
#[test]
fn no_crash_or_older_lease_signs_below_what_was_signed() {
    // Snapshots of the state after each write; the counter's value beside it; the highest slot signed so far.
    let mut written = alloc::vec![LEASE];
    let mut outside = LEASE.counter;
    let mut signed = Slot::new(0);
    for step in 0..5u8 {
        let lease = written[written.len() - 1];
        let start = Slot::new(lease.until.get() + 1);
        let tag = Tag::new([100 + step; 16]);
        let next = lease.next(start, 3 + u64::from(step), tag).unwrap();
        written.push(next);
        check(&written, outside, signed);
        outside = next.counter;
        check(&written, outside, signed);
        for slot in start.get()..=next.until.get() {
            signed = Slot::new(slot);
            check(&written, outside, signed);
        }
    }

    fn check(written: &[Lease], outside: CounterMark, signed: Slot) {
        let mut fresh_ones = 0;
        for lease in written {
            if fresh(lease, Some(outside)).is_ok() {
                fresh_ones += 1;
                assert!(lease.until >= signed, "{lease:?}");
            }
        }
        assert!((1..=2).contains(&fresh_ones));
    }
}

/// Two copies of one state that both write their next lease and crash anywhere: the counter lets one of them on.
#[test]
fn of_two_copies_one_goes_on() {
    let copies = [1u8, 2].map(|tag| LEASE.next(Slot::new(101), 10, Tag::new([tag; 16])).unwrap());
    for winner in 0..2 {
        let outside = Some(copies[winner].counter);
        assert_eq!(fresh(&copies[winner], outside), Ok(Standing::Equal));
        assert!(fresh(&copies[1 - winner], outside).is_err());
        assert!(fresh(&LEASE, outside).is_err());
    }
}

#[test]
fn a_vouched_lease_goes_on_from_where_the_counter_stands() {
    // An old state, a counter that was reset, and another copy's tag at the same value.
    for outside in [mark(12, 9), CounterMark::ZERO, mark(7, 8)] {
        assert_eq!(fresh(&LEASE, Some(outside)).unwrap_err().rule, Rule::Fresh);
        let tag = Tag::new([3; 16]);
        let vouched = LEASE.vouched(outside, Slot::new(140), tag).unwrap();
        assert_eq!(
            fresh(&vouched, Some(outside)),
            Ok(Standing::Interrupted(outside)),
            "written, and the counter not advanced yet"
        );
        assert_eq!(fresh(&vouched, Some(vouched.counter)), Ok(Standing::Equal));
        assert_eq!(
            fresh(&LEASE, Some(vouched.counter)).unwrap_err().rule,
            Rule::Fresh,
            "the old state stays silent"
        );
        assert!(vouched.covers(Slot::new(140)) && !vouched.covers(Slot::new(141)));
    }
    let tag = Tag::ZERO;
    let lower = LEASE.vouched(mark(12, 9), Slot::new(3), tag).unwrap();
    assert_eq!(lower.until, LEASE.until, "never lower");
    assert_eq!(LEASE.vouched(mark(u64::MAX, 9), Slot::new(3), tag), None);
}
