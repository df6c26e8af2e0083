//! The transport: certificates of the wrong kind for every operation, frames that are none, floods.

use crate::federation::{Federation, Setup};
use crate::harness::count_refused;
use crate::support::fixtures::pegout::Plan;
use crate::support::{Authority, client_certificate, envelope, expired, server_certificate};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{MAX_FRAME_BYTES, PROTOCOL_VERSION, ProtocolError, Reply, Request};
use alys_signer_client::Role;

/// One honest request of each kind that signs or moves something, and its operation's name.
fn operations(federation: &mut Federation) -> Vec<(&'static str, Request)> {
    let proposal = federation.honest.child_of(0, 8, |_| ()).header;
    let payment = federation.batch(&Plan::simple(0, 1));
    let vote = federation.honest.approve(&federation.child(|_| ()));
    let headers = federation.miner.bytes(1, federation.miner.height());
    vec![
        ("sign-proposal", Request::SignProposal(Box::new(proposal))),
        ("approve", Request::Approve(Box::new(vote))),
        ("sign-peg-out", Request::SignPegOut(Box::new(payment))),
        (
            "bitcoin-headers",
            Request::BitcoinHeaders(BoundedVec::new(headers).unwrap()),
        ),
    ]
}

/// Officers' and auditors' certificates, good for their own operations, for each of a node's.
pub(crate) fn n1_roles_for_operations_of_others() {
    let mut federation = Federation::new();
    let operations = operations(&mut federation);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Node) {
        for (operation, request) in &operations {
            match federation.signer.ask_as(role, request.clone()) {
                Reply::Error(ProtocolError::Forbidden {
                    role: said,
                    operation: refused,
                }) => {
                    assert_eq!((said.as_str(), refused.as_str()), (role.name(), *operation));
                    count_refused();
                }
                other => panic!("{operation} by {role}: expected Forbidden, found {other:?}"),
            }
        }
        let status = federation.signer.ask_as(role, Request::Status);
        assert!(matches!(status, Reply::Status(_)), "{status:?}");
    }
    for (operation, request) in operations {
        let reply = federation.signer.ask(request);
        let served = matches!(
            reply,
            Reply::Signature(_) | Reply::Shares(_) | Reply::Bitcoin(_)
        );
        assert!(served, "{operation}: {reply:?}");
    }
}

/// Certificates that nobody issued, that ran out, that are a server's, that have no role or two; and none.
pub(crate) fn n1_certificates_that_are_wrong_for_every_operation() {
    let mut federation = Federation::new();
    let rig = federation.signer.rig.clone();
    let (stranger, node) = (Authority::new("clients"), Role::Node.uri());
    rig.issue_by(&stranger, "stranger", |params| {
        client_certificate(params, &node)
    });
    rig.issue("expired", expired);
    rig.issue("server", server_certificate);
    rig.issue("unknown", |params| {
        client_certificate(params, "alys://role/root")
    });
    rig.issue("elsewhere", |params| {
        client_certificate(params, "alys://elsewhere")
    });
    rig.issue("two", |params| {
        client_certificate(params, &node);
        let second = Role::Officer.uri();
        params
            .subject_alt_names
            .push(rcgen::SanType::URI(second.as_str().try_into().unwrap()));
    });
    let mut operations = operations(&mut federation);
    operations.push(("status", Request::Status));
    for (operation, request) in operations {
        let frame = envelope(PROTOCOL_VERSION, request);
        for name in ["stranger", "expired", "server"] {
            let reply = federation.signer.send(Some(name), &frame);
            assert_eq!(reply, None, "{operation} by {name}");
            count_refused();
        }
        assert_eq!(
            federation.signer.send(None, &frame),
            None,
            "{operation} by nobody"
        );
        count_refused();
        for name in ["unknown", "elsewhere", "two"] {
            match federation.signer.send(Some(name), &frame) {
                Some(Reply::Error(ProtocolError::Forbidden { .. })) => count_refused(),
                other => panic!("{operation} by {name}: expected Forbidden, found {other:?}"),
            }
        }
    }
    federation.serves();
}

/// Regression A7: frames too long, cut off, with bytes left over, of another version, or of random bytes.
pub(crate) fn a7_frames_oversized_and_malformed() {
    let mut federation = Federation::new();
    federation.honest.grow(3);
    let vote = federation.honest.approve(&federation.child(|_| ()));
    let honest = envelope(PROTOCOL_VERSION, Request::Approve(Box::new(vote)));
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let body = &honest[4..];
    let mut malformed: Vec<Vec<u8>> = vec![
        u32::try_from(MAX_FRAME_BYTES + 1)
            .unwrap()
            .to_be_bytes()
            .to_vec(),
        vec![0xff; 4],
        [&[0xff; 4][..], &[0; 4096]].concat(),
        vec![0; 4],
        framed(&[1]),
        framed(&[1, 250]),
        framed(&[body, &[0]].concat()),
        // Sequences that claim 2^63 items, or more than their bound.
        framed(&[1, 4, 255, 255, 255, 255, 255, 255, 255, 255, 127]),
        framed(&[1, 4, 0xe1, 0x0f]),
    ];
    // Cut off at many places, with a length that fits.
    malformed.extend(
        (2..body.len())
            .step_by(97)
            .map(|length| framed(&body[..length])),
    );
    for frame in malformed {
        match federation.signer.send(Some("node"), &frame) {
            Some(Reply::Error(ProtocolError::Malformed(_))) => count_refused(),
            other => panic!("{} bytes: expected Malformed, found {other:?}", frame.len()),
        }
    }
    // Connections that end within a frame get nothing.
    for length in [1, 3, 4, 5, honest.len() - 1] {
        assert_eq!(
            federation.signer.send(Some("node"), &honest[..length]),
            None
        );
        count_refused();
    }
    for version in [0, 2, u16::MAX] {
        let frame = envelope(version, Request::Status);
        let expected = ProtocolError::Version {
            expected: PROTOCOL_VERSION,
            found: version,
        };
        assert_eq!(
            federation.signer.send(Some("node"), &frame),
            Some(Reply::Error(expected))
        );
        count_refused();
    }
    // Every eleventh byte of an honest request inverted: never a signature, and never silence.
    for place in (4..honest.len()).step_by(11) {
        let mut frame = honest.clone();
        frame[place] ^= 0xff;
        match federation.signer.send(Some("node"), &frame) {
            Some(Reply::Refused(_) | Reply::Error(_)) => count_refused(),
            other => panic!("byte {place}: expected a refusal, found {other:?}"),
        }
    }
    federation.serves();
}

/// Connections that say nothing, or stop within a frame: others are served, and beyond the limit new ones are closed.
pub(crate) fn connections_that_say_nothing() {
    let mut federation = Federation::with(&Setup {
        limits: "connections = 12\nrequests_per_second = 1000\nrequest_burst = 1000\n",
        ..Setup::default()
    });
    let silent = federation.signer.leave_open(5, &[]);
    let halves = federation.signer.leave_open(5, &[0, 0, 1, 0, 1]);
    federation.serves();
    // One is the attacker's own that asks for votes; one is left.
    let last = federation.signer.leave_open(1, &[]);
    let frame = envelope(PROTOCOL_VERSION, Request::Status);
    for _attempt in 0..20 {
        assert_eq!(federation.signer.send(Some("node"), &frame), None);
        count_refused();
    }
    federation.serves();
    drop((silent, halves, last));
    // As soon as the signer has noticed that they are gone.
    while federation.signer.send(Some("node"), &frame).is_none() {}
    federation.serves();
}

/// Requests that a rule refuses, as fast as they go: beyond the rate they are dropped unjudged, they fill no disk, other
/// certificates are served meanwhile, and the same one is soon after.
pub(crate) fn a_flood_of_refusable_requests() {
    let mut federation = Federation::with(&Setup {
        limits: "requests_per_second = 1\nrequest_burst = 4\n",
        ..Setup::default()
    });
    federation.honest.grow(3);
    let mut far = federation.honest.approve(&federation.child(|_| ()));
    far.header.slot = alys_protocol::units::Slot::new(u64::MAX);
    let flood = |federation: &mut Federation| {
        let (mut judged, mut dropped) = (0, 0);
        for _request in 0..2_000 {
            match federation
                .signer
                .ask(Request::Approve(Box::new(far.clone())))
            {
                Reply::Refused(refusal) if refusal.rule == Rule::SlotHorizon => judged += 1,
                Reply::Refused(refusal) if refusal.rule == Rule::Rate => dropped += 1,
                other => panic!("expected rule slot-horizon or rate, found {other:?}"),
            }
            count_refused();
        }
        (judged, dropped)
    };
    let (judged, dropped) = flood(&mut federation);
    assert!(
        judged > 0 && dropped > 0,
        "{judged} judged, {dropped} dropped"
    );
    let before = federation.signer.written();
    let (_, dropped) = flood(&mut federation);
    let grown = federation.signer.written().saturating_sub(before);
    assert!(dropped > 0);
    // What was sent is thirty times as much.
    assert!(
        grown < 256 << 10,
        "2,000 requests left {grown} bytes behind"
    );
    let status = federation.signer.ask_as(Role::Auditor, Request::Status);
    assert!(matches!(status, Reply::Status(_)), "{status:?}");
    let link = federation.child(|_| ());
    let request = federation.honest.approve(&link);
    // As soon as the bucket has a token again.
    loop {
        match federation
            .signer
            .ask(Request::Approve(Box::new(request.clone())))
        {
            Reply::Refused(refusal) if refusal.rule == Rule::Rate => {}
            Reply::Signature(_) => break,
            other => panic!("an honest vote is refused: {other:?}"),
        }
    }
}
