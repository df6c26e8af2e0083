//! Certificates and approvals: everything that can be wrong with one.

use super::*;
use crate::spec::Roster;
use crate::spec::tests::{bls_key, members};
use proptest::prelude::*;

const CHAIN: ChainId = ChainId::new(5);
const BLOCK: BlockId = BlockId::new([7; 32]);

fn roster(count: u8) -> Roster {
    Roster::new(&members(count)).unwrap()
}

fn approval(member: u16, block: BlockId) -> Approval {
    let key = bls_key(u8::try_from(member).unwrap() + 1);
    Approval {
        block,
        member: MemberId::new(member),
        signature: key.sign(&approval_message(CHAIN, block)),
    }
}

fn approvals(of: &[u16]) -> Vec<Approval> {
    of.iter().map(|member| approval(*member, BLOCK)).collect()
}

fn certificate(roster: &Roster, of: &[u16]) -> Certificate {
    Certificate::aggregate(roster, &approvals(of)).unwrap()
}

fn bitfield(bytes: &[u8]) -> BoundedVec<u8, { MAX_MEMBERS / 8 }> {
    BoundedVec::new(bytes.to_vec()).unwrap()
}

fn verify(certificate: &Certificate, roster: &Roster) -> Result<(), CertificateError> {
    certificate.verify(CHAIN, roster, BLOCK)
}

#[test]
fn quorums_of_every_size_certify_and_one_less_does_not() {
    for count in [1u8, 2, 3, 4, 7, 8, 9, 16] {
        let roster = roster(count);
        let quorum = roster.quorum();
        // The last members, so that the highest bit is used.
        let last: Vec<u16> = (0..u16::from(count)).rev().take(quorum).collect();
        let good = certificate(&roster, &last);
        assert_eq!(good.signers.len(), usize::from(count).div_ceil(8));
        assert_eq!(verify(&good, &roster), Ok(()), "{count}");
        let named: Vec<u16> = good.members().map(MemberId::get).collect();
        assert!(named.iter().rev().eq(&last));
        let few = CertificateError::Quorum {
            quorum,
            found: quorum - 1,
        };
        assert_eq!(
            Certificate::aggregate(&roster, &approvals(&last[1..])),
            Err(few)
        );
    }
}

#[test]
fn too_few_members_do_not_certify_even_with_their_own_signature() {
    let roster = roster(4);
    let two = approvals(&[0, 2]);
    let signatures: Vec<_> = two.iter().map(|approval| approval.signature).collect();
    let few = Certificate {
        block: BLOCK,
        signers: bitfield(&[0b0101]),
        signature: bls::aggregate(&signatures).unwrap(),
    };
    assert_eq!(
        verify(&few, &roster),
        Err(CertificateError::Quorum {
            quorum: 3,
            found: 2
        })
    );
    let nobody = Certificate {
        signers: bitfield(&[0]),
        ..few
    };
    assert_eq!(
        verify(&nobody, &roster),
        Err(CertificateError::Quorum {
            quorum: 3,
            found: 0
        })
    );
}

#[test]
fn the_bitfield_is_as_long_as_the_roster_and_names_members_only() {
    let four = roster(4);
    let good = certificate(&four, &[0, 1, 3]);
    assert_eq!(good.signers, bitfield(&[0b1011]));
    // Empty, too long, and with a bit for the fifth of four.
    for bytes in [&[][..], &[0b1011, 0], &[0b1011; 8], &[0b1_1011], &[0xff]] {
        let changed = Certificate {
            signers: bitfield(bytes),
            ..good.clone()
        };
        assert_eq!(
            verify(&changed, &four),
            Err(CertificateError::Bitfield {
                expected: 1,
                members: 4,
                found: bytes.len()
            }),
            "{bytes:?}"
        );
    }
    let nine = roster(9);
    let truncated = Certificate {
        signers: bitfield(&[0x7f]),
        ..certificate(&nine, &[0, 1, 2, 3, 4, 5, 8])
    };
    assert_eq!(
        verify(&truncated, &nine),
        Err(CertificateError::Bitfield {
            expected: 2,
            members: 9,
            found: 1
        })
    );
    assert!(BoundedVec::<u8, { MAX_MEMBERS / 8 }>::new(alloc::vec![0; 9]).is_err());
}

#[test]
fn members_that_did_not_sign_are_not_believed_to_have() {
    let roster = roster(4);
    let good = certificate(&roster, &[0, 1, 2]);
    for bits in [0b1101, 0b1111, 0b1110] {
        let changed = Certificate {
            signers: bitfield(&[bits]),
            ..good.clone()
        };
        assert_eq!(
            verify(&changed, &roster),
            Err(CertificateError::Signature(BlsError::Mismatch)),
            "{bits:b}"
        );
    }
}

#[test]
fn a_certificate_is_of_one_block_of_one_chain_by_one_roster() {
    let own = roster(4);
    let good = certificate(&own, &[0, 1, 2]);
    let other = BlockId::new([8; 32]);
    assert_eq!(
        good.verify(CHAIN, &own, other),
        Err(CertificateError::Block {
            expected: other,
            found: BLOCK
        })
    );
    // Named as the other block's, the signature is not.
    let renamed = Certificate {
        block: other,
        ..good.clone()
    };
    let mismatch = Err(CertificateError::Signature(BlsError::Mismatch));
    assert_eq!(renamed.verify(CHAIN, &own, other), mismatch);
    assert_eq!(good.verify(ChainId::new(6), &own, BLOCK), mismatch);
    let mut strangers = members(5);
    strangers.remove(0);
    let strangers = Roster::new(&strangers).unwrap();
    assert_eq!(verify(&good, &strangers), mismatch);
}

#[test]
fn a_signature_that_is_no_point_is_named() {
    let roster = roster(4);
    for bytes in [[0; 96], [0xff; 96]] {
        let broken = Certificate {
            signature: BlsSignature::new(bytes),
            ..certificate(&roster, &[0, 1, 2])
        };
        assert!(matches!(
            verify(&broken, &roster),
            Err(CertificateError::Signature(BlsError::Signature(_)))
        ));
        let mut approvals = approvals(&[0, 1, 2]);
        approvals[1].signature = BlsSignature::new(bytes);
        assert!(matches!(
            Certificate::aggregate(&roster, &approvals),
            Err(CertificateError::Signature(BlsError::Signature(_)))
        ));
    }
}

#[test]
fn a8_approvals_of_strangers_and_repeated_ones_add_up_to_nothing() {
    let roster = roster(4);
    let with = |extra: Approval| {
        let approvals = [approvals(&[0, 1]), alloc::vec![extra]].concat();
        Certificate::aggregate(&roster, &approvals)
    };
    // A fifth in the same byte, one in the next byte, and one far beyond every bitfield.
    for member in [4, 8, 64, u16::MAX] {
        let stranger = Approval {
            member: MemberId::new(member),
            ..approval(2, BLOCK)
        };
        assert_eq!(with(stranger), Err(CertificateError::Approvals), "{member}");
        assert_eq!(
            stranger.verify(CHAIN, &roster),
            Err(CertificateError::Approvals)
        );
    }
    assert_eq!(with(approval(1, BLOCK)), Err(CertificateError::Approvals));
    let elsewhere = approval(2, BlockId::new([8; 32]));
    assert_eq!(with(elsewhere), Err(CertificateError::Approvals));
    assert_eq!(
        Certificate::aggregate(&roster, &[]),
        Err(CertificateError::Quorum {
            quorum: 3,
            found: 0
        })
    );
}

#[test]
fn an_approval_is_its_members_own() {
    let roster = roster(4);
    let own = approval(2, BLOCK);
    assert_eq!(own.verify(CHAIN, &roster), Ok(()));
    let mismatch = Err(CertificateError::Signature(BlsError::Mismatch));
    let claimed = Approval {
        member: MemberId::new(1),
        ..own
    };
    assert_eq!(claimed.verify(CHAIN, &roster), mismatch);
    let moved = Approval {
        block: BlockId::new([8; 32]),
        ..own
    };
    assert_eq!(moved.verify(CHAIN, &roster), mismatch);
    assert_eq!(own.verify(ChainId::new(6), &roster), mismatch);
}

#[test]
fn cut_off_bytes_are_no_certificate() {
    let good = certificate(&roster(4), &[0, 1, 2]);
    let bytes = postcard::to_allocvec(&good).unwrap();
    assert_eq!(bytes.len(), 32 + 1 + 1 + 96);
    for length in 0..bytes.len() {
        assert!(postcard::from_bytes::<Certificate>(&bytes[..length]).is_err());
    }
    assert_eq!(postcard::from_bytes(&bytes), Ok(good));
    // A bitfield that claims more bytes than the largest roster needs.
    let mut long = bytes[..32].to_vec();
    long.push(9);
    long.extend([0; 9 + 96]);
    assert!(postcard::from_bytes::<Certificate>(&long).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a7_no_changed_byte_certifies(place in 0usize..130, flip in 1u8..=255) {
        let roster = roster(4);
        let mut bytes = postcard::to_allocvec(&certificate(&roster, &[0, 1, 2])).unwrap();
        bytes[place] ^= flip;
        if let Ok(changed) = postcard::from_bytes::<Certificate>(&bytes) {
            prop_assert!(verify(&changed, &roster).is_err());
        }
    }

    #[test]
    fn any_quorum_in_any_order_makes_the_same_certificate(
        order in Just(alloc::vec![0u16, 1, 2, 3, 4, 5, 6]).prop_shuffle(), size in 5usize..=7,
    ) {
        let roster = roster(7);
        let mut named = order[..size].to_vec();
        let shuffled = certificate(&roster, &named);
        named.sort_unstable();
        prop_assert_eq!(&certificate(&roster, &named), &shuffled);
        prop_assert_eq!(verify(&shuffled, &roster), Ok(()));
    }
}
