//! Templates, shares and their bounds.

use super::*;
use crate::block_builder::tests::solved_block;

fn templates() -> Templates {
    let mining = MiningSpec {
        aux_chain_id: 0xa175,
        pow_limit: Target::new([0xff; 32]),
        anchor_target: Target::new([0xff; 32]),
        slots_per_record: 10,
        half_life_slots: 10,
        max_blocks_without_pow: 100,
    };
    Templates::new(ChainId::new(1), mining, Slot::ZERO)
}

fn range(end: u8) -> Range {
    Range {
        start: BlockId::new([1; 32]),
        start_height: SideHeight::new(1),
        end: BlockId::new([end; 32]),
        end_height: SideHeight::new(u64::from(end)),
    }
}

const NOW: (PowCount, Slot) = (PowCount::ZERO, Slot::new(1000));

#[test]
fn a_share_becomes_the_record_until_its_range_is_finalised() {
    let mut templates = templates();
    let recipient = EvmAddress::new([7; 20]);
    let old = templates.create(range(5), recipient).unwrap();
    let new = templates.create(range(9), recipient).unwrap();
    for template in [old, new] {
        let auxpow = solved_block(&template.hash).auxpow.encode();
        let share = templates
            .submit(template.hash, &auxpow, NOW.0, NOW.1)
            .unwrap();
        assert_eq!(share.record.fee_recipient, recipient);
    }
    let start = BlockId::new([1; 32]);
    let best = |final_height: u64| {
        templates
            .best(start, SideHeight::new(final_height), NOW.0, NOW.1, |_| true)
            .map(|share| share.template.range.end_height.get())
    };
    assert_eq!(best(20), Some(9));
    assert_eq!(
        best(8),
        Some(5),
        "a range must be final on the block's own chain"
    );
    assert_eq!(best(4), None);
    templates.retain_from(&[BlockId::new([2; 32])]);
    assert_eq!(templates.counts(), (0, 0));
}

#[test]
fn work_for_another_payout_or_no_template_is_refused() {
    let mut templates = templates();
    let template = templates
        .create(range(5), EvmAddress::new([7; 20]))
        .unwrap();
    let stranger = bundle_hash(
        ChainId::new(1),
        template.range.start,
        template.range.end,
        EvmAddress::new([8; 20]),
    );
    let auxpow = solved_block(&stranger).auxpow.encode();
    assert!(matches!(
        templates.submit(stranger, &auxpow, NOW.0, NOW.1),
        Err(ShareError::UnknownTemplate(_))
    ));
    assert!(matches!(
        templates.submit(template.hash, &auxpow, NOW.0, NOW.1),
        Err(ShareError::AuxPow(AuxPowError::Commitment { .. }))
    ));
    assert!(matches!(
        templates.submit(template.hash, &auxpow[1..], NOW.0, NOW.1),
        Err(ShareError::AuxPow(AuxPowError::Encoding(_)))
    ));
}

#[test]
fn a_peers_share_needs_no_template_and_leaves_none() {
    let mut templates = templates();
    let (recipient, other) = (EvmAddress::new([7; 20]), EvmAddress::new([8; 20]));
    let hash = templates.template(range(5), recipient).hash;
    let auxpow = solved_block(&hash).auxpow.encode();
    let taken = |templates: &mut Templates, recipient| {
        templates.submit_foreign(range(5), recipient, &auxpow, NOW.0, NOW.1)
    };
    assert!(matches!(
        taken(&mut templates, other),
        Err(ShareError::AuxPow(AuxPowError::Commitment { .. }))
    ));
    assert_eq!(templates.counts(), (0, 0));
    let share = taken(&mut templates, recipient).unwrap();
    assert_eq!(share.template.hash, hash);
    assert_eq!(templates.counts(), (0, 1));
    let best = templates.best(range(5).start, SideHeight::new(5), NOW.0, NOW.1, |_| true);
    assert_eq!(best, Some(&share));
}

fn address(number: usize) -> EvmAddress {
    let mut address = [0; 20];
    address[..8].copy_from_slice(&(number as u64).to_le_bytes());
    EvmAddress::new(address)
}

fn ends_at(height: u64, branch: u8) -> Range {
    let mut end = [branch; 32];
    end[..8].copy_from_slice(&height.to_le_bytes());
    Range {
        end: BlockId::new(end),
        end_height: SideHeight::new(height),
        ..range(0)
    }
}

fn share(templates: &mut Templates, range: Range, recipient: EvmAddress) -> Share {
    let hash = templates.template(range, recipient).hash;
    let auxpow = solved_block(&hash).auxpow.encode();
    templates
        .submit_foreign(range, recipient, &auxpow, NOW.0, NOW.1)
        .unwrap()
}

#[test]
fn a_range_has_one_share_the_one_with_the_most_work() {
    let mut templates = templates();
    let low = share(&mut templates, range(5), address(0));
    let shares: Vec<Share> = (1..40)
        .map(|number| share(&mut templates, range(9), address(number)))
        .collect();
    assert_eq!(templates.counts(), (0, 2));
    let best = |height| {
        let height = SideHeight::new(height);
        templates.best(range(9).start, height, NOW.0, NOW.1, |_| true)
    };
    assert_eq!(best(9), shares.iter().min_by_key(|share| share.work));
    assert_eq!(best(8), Some(&low));
}

#[test]
fn a_share_of_another_branch_hides_none_that_the_block_can_carry() {
    let mut templates = templates();
    let good = share(&mut templates, ends_at(5, 1), address(1));
    share(&mut templates, ends_at(6, 2), address(1));
    let on_chain = |range: &Range| range.end == good.template.range.end;
    let height = SideHeight::new(20);
    let best = templates.best(good.template.range.start, height, NOW.0, NOW.1, on_chain);
    assert_eq!(best, Some(&good));
}

#[test]
fn shares_are_bounded_and_the_longest_ranges_stay() {
    let mut templates = templates();
    let heights = 1..=MAX_SHARES as u64 + 5;
    for height in heights.clone() {
        share(&mut templates, ends_at(height, 1), address(1));
    }
    assert_eq!(templates.counts(), (0, MAX_SHARES));
    let lowest = templates.shares.values().next().unwrap();
    assert_eq!(lowest.template.range.end_height, SideHeight::new(6));
}

#[test]
fn a_flood_of_payouts_closes_no_template_but_its_own() {
    let mut templates = templates();
    let pool = EvmAddress::new([7; 20]);
    let older = templates.create(range(5), pool).unwrap();
    let same = templates.create(range(9), pool).unwrap();
    for number in 0..MAX_TEMPLATES - 2 {
        templates.create(range(9), address(number)).unwrap();
    }
    assert_eq!(
        templates.create(range(9), address(MAX_TEMPLATES)),
        Err(TooManyTemplates)
    );
    let newer = templates.create(range(11), pool).unwrap();
    assert_eq!(templates.counts().0, MAX_TEMPLATES);
    for template in [older, same, newer] {
        assert_eq!(templates.templates.get(&template.hash), Some(&template));
        // Found again, it is not opened twice.
        assert_eq!(templates.create(template.range, pool), Ok(template));
    }
    let listed = templates.ranges.values().map(Vec::len).sum::<usize>();
    assert_eq!(listed, MAX_TEMPLATES);
    templates.retain_from(&[]);
    assert!(templates.ranges.is_empty() && templates.templates.is_empty());
}

#[test]
fn a_foreign_range_ends_on_the_chain_above_its_start() {
    let (now, older) = (ends_at(9, 1), ends_at(5, 1));
    let chain = |height: SideHeight| Some(ends_at(height.get(), 1).end);
    let ending = |end: Range| now.ending_at(end.end, end.end_height, chain);
    assert_eq!(ending(older), Some(older));
    assert_eq!(ending(ends_at(5, 2)), None, "another branch");
    assert_eq!(ending(ends_at(0, 1)), None, "below the start");
    let unknown = now.ending_at(older.end, older.end_height, |_| None);
    assert_eq!(unknown, None);
}
