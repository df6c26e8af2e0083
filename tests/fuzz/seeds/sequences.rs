//! Sequences that lead to each accepting path. Numbers of ballots and payments are places in the target's universe; a
//! place that moves there shows here as a path that is not reached any more.

use crate::Seed;

const VOTE: u8 = 0;
const PAY: u8 = 5;
const PROPOSE: u8 = 9;
const FEED: u8 = 10;
const LIVE: u8 = 12;
const SLOT: u8 = 13;
const TIME: u8 = 14;
const OTHER: u8 = 15;

/// Limits that requests just meet, and headers up to 170, none, or up to 165.
const AT_LIMITS: [u8; 5] = [0; 5];
const NO_HEADERS: [u8; 5] = [0, 0, 0, 0, 1];
const UP_TO_165: [u8; 5] = [0, 0, 0, 0, 4];

fn sequence(name: &'static str, setup: [u8; 5], steps: &[[u8; 4]]) -> Seed {
    Seed::new(
        "sequence",
        name,
        [&setup[..], steps.as_flattened()].concat(),
    )
}

pub fn seeds() -> Vec<Seed> {
    let all_votes: Vec<[u8; 4]> = (0..40).map(|ballot| [VOTE, ballot, 0, 0]).collect();
    let reversed: Vec<[u8; 4]> = (20..60).rev().map(|ballot| [VOTE, ballot, 0, 0]).collect();
    let payments: Vec<[u8; 4]> = (0..17)
        .flat_map(|batch| [[PAY, batch, 0, 0], [PAY, batch, 0, 0]])
        .collect();
    let hours = [[LIVE, 15, 0, 0]; 3];
    let mints = [
        [VOTE, 0, 0, 0],
        [VOTE, 6, 0, 0],
        [VOTE, 6, 0, 0],
        [VOTE, 7, 0, 0],
        [VOTE, 8, 0, 0],
        [VOTE, 9, 0, 0],
    ];
    let batches = [
        [PAY, 0, 0, 0],
        [PAY, 1, 0, 0],
        [PAY, 2, 0, 0],
        [PAY, 12, 0, 0],
    ];
    let end_of_window = [TIME, 1, 1, 0];
    vec![
        sequence("votes", AT_LIMITS, &all_votes),
        sequence("votes-reversed", AT_LIMITS, &reversed),
        sequence(
            "votes-spoiled",
            AT_LIMITS,
            &[
                [VOTE, 0, 217, 9],
                [VOTE, 0, 0, 0],
                [VOTE, 0, 130, 0],
                [VOTE, 6, 170, 0],
                [VOTE, 6, 200, 3],
                [VOTE, 6, 186, 0],
                [VOTE, 1, 0, 0],
                [VOTE, 6, 0, 0],
            ],
        ),
        sequence(
            "mints",
            AT_LIMITS,
            &[&mints[..], &hours, &[[VOTE, 9, 0, 0]]].concat(),
        ),
        sequence(
            "slots",
            AT_LIMITS,
            &[
                [SLOT, 0, 0, 0],
                [VOTE, 0, 0, 0],
                [SLOT, 0, 1, 0],
                [VOTE, 0, 0, 0],
                [OTHER, 1, 6, 0],
                [VOTE, 6, 0, 0],
                [OTHER, 2, 1, 0],
                [VOTE, 7, 0, 0],
                [OTHER, 2, 7, 0],
                [VOTE, 7, 0, 0],
            ],
        ),
        sequence("payments", AT_LIMITS, &payments),
        sequence(
            "batches",
            AT_LIMITS,
            &[&batches[..], &hours, &[end_of_window, [PAY, 12, 0, 0]]].concat(),
        ),
        sequence(
            "replacements",
            AT_LIMITS,
            &[
                [PAY, 3, 0, 0],
                [PAY, 0, 0, 0],
                [PAY, 3, 0, 0],
                [PAY, 4, 0, 0],
                [OTHER, 0, 0, 0],
                [PAY, 3, 0, 0],
                [PAY, 0, 210, 40],
            ],
        ),
        sequence(
            "proposals",
            AT_LIMITS,
            &[
                [PROPOSE, 0, 0, 0],
                [PROPOSE, 0, 1, 0],
                [PROPOSE, 0, 2, 0],
                [PROPOSE, 0, 3, 0],
                [PROPOSE, 0, 3, 0],
                [PROPOSE, 0, 7, 0],
            ],
        ),
        sequence(
            "opening",
            NO_HEADERS,
            &[
                [VOTE, 0, 0, 0],
                [VOTE, 6, 0, 0],
                [FEED, 0, 0, 9],
                [FEED, 0, 3, 20],
                [VOTE, 6, 0, 0],
                [FEED, 0, 0, 9],
                [TIME, 0, 1, 0],
                [VOTE, 6, 0, 0],
                [TIME, 0, 2, 0],
                [VOTE, 7, 0, 0],
            ],
        ),
        sequence(
            "reorganisation",
            UP_TO_165,
            &[
                [VOTE, 17, 0, 0],
                [FEED, 1, 1, 23],
                [VOTE, 20, 0, 0],
                [FEED, 2, 1, 23],
                [FEED, 0, 1, 23],
                [FEED, 0, 192, 0],
                [FEED, 0, 192, 1],
                [FEED, 0, 192, 2],
                [FEED, 0, 192, 3],
                [OTHER, 0, 0, 0],
                [LIVE, 3, 0, 0],
            ],
        ),
        sequence(
            "vouched",
            AT_LIMITS,
            &[
                &[
                    [PAY, 0, 0, 0],
                    [SLOT, 0, 1, 0],
                    // The floor just too low.
                    [OTHER, 5, 6, 6],
                    [VOTE, 0, 0, 0],
                    [OTHER, 4, 0, 0],
                    [PAY, 1, 0, 0],
                    // Nobody's signature, and as it should be.
                    [OTHER, 5, 2, 4],
                    [OTHER, 5, 2, 6],
                    [SLOT, 0, 3, 0],
                    [VOTE, 7, 0, 0],
                    [VOTE, 49, 0, 0],
                    [PAY, 1, 0, 0],
                    [PAY, 12, 0, 0],
                ][..],
                &hours,
                &[
                    [PAY, 1, 0, 0],
                    [PAY, 12, 0, 0],
                    [OTHER, 5, 0, 5],
                    [PAY, 12, 0, 0],
                    [OTHER, 5, 1, 5],
                    [OTHER, 5, 1, 6],
                    [PAY, 12, 0, 0],
                ],
            ]
            .concat(),
        ),
        // Just as long as the window: the first charges still count; and one millisecond more.
        sequence(
            "end-of-the-window",
            AT_LIMITS,
            &[
                &batches[..],
                &[
                    [LIVE, 15, 0, 0],
                    [LIVE, 15, 0, 0],
                    [FEED, 0, 0, 11],
                    [TIME, 1, 0, 0],
                    [PAY, 12, 0, 0],
                    [TIME, 1, 1, 0],
                    [PAY, 12, 0, 0],
                ],
            ]
            .concat(),
        ),
        sequence(
            "end-of-the-mint-window",
            AT_LIMITS,
            &[
                &mints[..],
                &[
                    [LIVE, 15, 0, 0],
                    [LIVE, 15, 0, 0],
                    [FEED, 0, 0, 11],
                    [TIME, 1, 0, 1],
                    [VOTE, 9, 0, 0],
                    [TIME, 1, 1, 1],
                    [VOTE, 9, 0, 0],
                ],
            ]
            .concat(),
        ),
        // Ten blocks may be taken off the chain, eleven may not.
        sequence(
            "deepest-reorganisation",
            AT_LIMITS,
            &[
                [VOTE, 0, 0, 0],
                [FEED, 1, 1, 23],
                // Its parent's cursor is in a block of the branch that is gone.
                [VOTE, 40, 0, 0],
                [VOTE, 41, 0, 0],
            ],
        ),
        sequence(
            "too-deep-a-reorganisation",
            AT_LIMITS,
            &[
                [VOTE, 0, 0, 0],
                [FEED, 0, 0, 10],
                [FEED, 1, 1, 23],
                [VOTE, 40, 0, 0],
                [VOTE, 41, 0, 0],
            ],
        ),
        sequence(
            "a-block-too-late",
            AT_LIMITS,
            &[[FEED, 0, 0, 0], [FEED, 1, 1, 23]],
        ),
    ]
}
