//! What keys and counter in a token cost a vote: the same votes, in turns, of a signer process with a key file that a
//! passphrase opens, one with a key file that a token (SoftHSM) opens, and one whose counter is in the token as well and
//! advances with every vote. Measured at the client: TLS, judgement, record with fsync, counter, signature.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use alys_signer_client::SignerClient;
use std::time::{Duration, Instant};
use support::tokens::Tokens;
use support::{Rig, Running};

const VOTES: u64 = 200;
const NO_LIMITS: &str = "requests_per_second = 1000000\nrequest_burst = 1000000";
const FILE: &str = "[counter]\nkind = 'development-file'\npath = 'counter'\n";
const TOKEN: &str = "[counter]\nkind = 'pkcs11'\nobject = 'freshness'\n";

struct Backend {
    name: &'static str,
    rig: Rig,
    running: Running,
    client: SignerClient,
    times: Vec<Duration>,
}

impl Backend {
    async fn start(name: &'static str, counter: &str, lease_slots: u64, sealed: bool) -> Self {
        let counter = format!("{counter}lease_slots = {lease_slots}\n");
        let mut rig = Rig::with(NO_LIMITS, &counter, |folder| {
            sealed.then(|| Tokens::new(folder, "sealed"))
        });
        rig.honest.grow(1);
        let running = rig.start();
        let client = rig.client(&running, "node").await;
        Self {
            name,
            rig,
            running,
            client,
            times: Vec::new(),
        }
    }

    async fn vote(&mut self, slot: u64) {
        let block = self.rig.honest.child_of(1, slot, |_| ());
        let request = self.rig.honest.approve(&block);
        let start = Instant::now();
        self.client.approve(request).await.unwrap();
        self.times.push(start.elapsed());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut backends = [
        Backend::start("passphrase, counter in a file, lease of 8", FILE, 8, false).await,
        Backend::start("token, counter in a file, lease of 8", FILE, 8, true).await,
        Backend::start("token, counter in it, lease of 8", TOKEN, 8, true).await,
        Backend::start("passphrase, counter in a file, lease of 1", FILE, 1, false).await,
        Backend::start("token, counter in it, lease of 1", TOKEN, 1, true).await,
    ];
    for vote in 0..VOTES {
        for backend in &mut backends {
            backend.vote(10 + vote).await;
        }
    }
    for mut backend in backends {
        backend.times.sort_unstable();
        let at = |percent: usize| {
            let place = (backend.times.len() - 1) * percent / 100;
            backend.times[place].as_secs_f64() * 1e3
        };
        println!(
            "{:<45} median {:6.2} ms, 90 % {:6.2} ms, 99 % {:6.2} ms",
            backend.name,
            at(50),
            at(90),
            at(99)
        );
        drop(backend.client);
        assert!(backend.running.stop());
    }
}
