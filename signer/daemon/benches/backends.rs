//! What keys and counter in a token cost a vote and a peg-out: the same requests, in turns, of one signer process for each
//! backend: a key file that a passphrase opens (software), one that a token opens (sealed, SoftHSM), and a token that signs
//! itself (native, our own module), all three with one kind of counter; then with the counter in the token, which advances with
//! every vote. Measured at the client: TLS, judgement, record with fsync, counter, signature. Each peg-out is a new batch
//! of one burn and one input, which always advances the counter.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../pkcs11/tests/support/mod.rs"]
mod own_module;
#[path = "../tests/support/mod.rs"]
mod support;

use alys_signer_client::SignerClient;
use std::process::Command;
use std::time::{Duration, Instant};
use support::fixtures::pegout::{self, Plan};
use support::tokens::Tokens;
use support::{Rig, Running};

const VOTES: u64 = 200;
const PEG_OUTS: u8 = 40;
const NO_LIMITS: &str = "requests_per_second = 1000000\nrequest_burst = 1000000";
const FILE: &str = "[counter]\nkind = 'development-file'\npath = 'counter'\n";
const TOKEN: &str = "[counter]\nkind = 'pkcs11'\nobject = 'freshness'\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Software,
    Sealed,
    Native,
}

struct Backend {
    name: &'static str,
    rig: Rig,
    running: Running,
    client: SignerClient,
    votes: Vec<Duration>,
    peg_outs: Vec<Duration>,
}

impl Backend {
    async fn start(name: &'static str, kind: Kind, counter: &str, lease_slots: u64) -> Self {
        let mut tables = format!("{counter}lease_slots = {lease_slots}\n");
        if kind == Kind::Native {
            tables.push_str(&native());
        }
        let mut rig = Rig::with(NO_LIMITS, &tables, |folder| {
            (kind == Kind::Sealed).then(|| Tokens::new(folder, "sealed"))
        });
        rig.honest.grow(1);
        let running = rig.start();
        let client = rig.client(&running, "node").await;
        Self {
            name,
            rig,
            running,
            client,
            votes: Vec::new(),
            peg_outs: Vec::new(),
        }
    }

    async fn vote(&mut self, slot: u64) {
        let block = self.rig.honest.child_of(1, slot, |_| ());
        let request = self.rig.honest.approve(&block);
        let start = Instant::now();
        self.client.approve(request).await.unwrap();
        self.votes.push(start.elapsed());
    }

    async fn peg_out(&mut self, number: u8) {
        let plan = Plan::simple(number.into(), number + 1);
        let request = pegout::request(&mut self.rig.honest, &plan);
        let start = Instant::now();
        self.client.sign_peg_out(request).await.unwrap();
        self.peg_outs.push(start.elapsed());
    }
}

/// The one token of our own module. Two signers of it would have one pair of keys, so that it is one backend's.
fn native() -> String {
    let folder = own_module::child_folder().unwrap();
    let module = own_module::test_module();
    own_module::make_token(&own_module::raw(&module), "alys");
    own_module::pin_file(&folder, own_module::PIN);
    format!(
        "[token]\nmodule = '{}'\nuri = '{}'\nmode = 'native'\n{}",
        module.display(),
        own_module::uri(&folder, "token=alys;object=seal"),
        own_module::native_table(),
    )
}

fn main() {
    // The module reads where its token is from the environment: again, with one.
    if own_module::child_folder().is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        own_module::with_tokens(&mut command, folder.path());
        assert!(command.status().unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(measure());
}

async fn measure() {
    let mut backends = [
        Backend::start("software, counter in a file", Kind::Software, FILE, 8).await,
        Backend::start("sealed, counter in a file", Kind::Sealed, FILE, 8).await,
        Backend::start("native, counter in a file", Kind::Native, FILE, 8).await,
        Backend::start("sealed, counter in the token", Kind::Sealed, TOKEN, 8).await,
        Backend::start("software, file, lease of 1", Kind::Software, FILE, 1).await,
        Backend::start("sealed, token, lease of 1", Kind::Sealed, TOKEN, 1).await,
    ];
    for vote in 0..VOTES {
        for backend in &mut backends {
            backend.vote(10 + vote).await;
        }
    }
    for number in 0..PEG_OUTS {
        for backend in &mut backends {
            backend.peg_out(number).await;
        }
    }
    for mut backend in backends {
        print(backend.name, "vote", &mut backend.votes);
        print(backend.name, "peg-out", &mut backend.peg_outs);
        drop(backend.client);
        assert!(backend.running.stop());
    }
}

fn print(name: &str, what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() - 1) * percent / 100;
        times[place].as_secs_f64() * 1e3
    };
    println!(
        "{name:<30} {what:<8} median {:6.2} ms, 90 % {:6.2} ms, 99 % {:6.2} ms",
        at(50),
        at(90),
        at(99)
    );
}
