//! The signer under attack: a real process with a real disk, asked over real mutual TLS.

use crate::federation::Setup;
use crate::support::fixtures::{self, Card, Honest};
use crate::support::{Rig, Running, envelope, read_reply, write};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{PROTOCOL_VERSION, Reply, Request};
use alys_protocol::spec::Chain;
use alys_signer::audit::open_state;
use alys_signer::audit::replay::replay;
use alys_signer::audit::verify::{Expectations, verify};
use alys_signer_client::Role;
use alys_signer_core::Policy;
use rustls::version::TLS13;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::client::TlsStream;

/// A provisioned signer of member 0, which runs, and what the attacker reaches it by: every certificate that was issued.
pub(crate) struct SignerProcess {
    pub(crate) rig: Rc<Rig>,
    running: Option<Running>,
    connections: BTreeMap<&'static str, TlsStream<TcpStream>>,
    runtime: Runtime,
    /// File of its state.
    state: &'static str,
    /// Refusals of this run and what they were given for: the same again is only counted in the log.
    given: BTreeSet<(Vec<u8>, String)>,
    /// How many there were in the runs before, all of which the log must have; none once it was killed or set back.
    logged: Option<usize>,
}

impl SignerProcess {
    /// Provisions a signer for a chain, and starts it.
    pub(crate) fn provision(setup: &Setup, checkpoint: (u32, bitcoin::BlockHash)) -> Self {
        let mut rig = Rig::with_limits(setup.limits);
        let mut spec = fixtures::spec(Some(&Card {
            bls: rig.card.bls,
            bls_possession: rig.card.bls_possession,
            schnorr: rig.card.schnorr,
        }));
        setup.complete(&mut spec, checkpoint);
        write(&rig.path("chain.toml"), &toml::to_string(&spec).unwrap());
        let chain = Chain::new(spec).unwrap();
        let mut policy = Policy::of_chain(&chain);
        (setup.policy)(&mut policy);
        rig.officers.publish(rig.directory.path(), 1, &policy);
        rig.honest = Honest::new(chain);
        let mut process = Self::not_started(Rc::new(rig));
        process.start().unwrap();
        process
    }

    fn not_started(rig: Rc<Rig>) -> Self {
        Self {
            rig,
            running: None,
            connections: BTreeMap::new(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            state: "state.redb",
            given: BTreeSet::new(),
            logged: Some(0),
        }
    }

    /// A second instance: copies of the keys and of the state, asked with the same certificates. The outside counter is
    /// the same, since no copy takes it along.
    pub(crate) fn second_instance(&self) -> Result<Self, String> {
        copy_state(&self.rig, "state.redb", "copy.redb");
        std::fs::copy(self.rig.path("keys.json"), self.rig.path("copy.json")).unwrap();
        let config = self.rig.path("signer.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let copied = text
            .replace("keys.json", "copy.json")
            .replace("state.redb", "copy.redb");
        write(&config, &copied);
        let mut second = Self::not_started(self.rig.clone());
        (second.state, second.logged) = ("copy.redb", None);
        let started = second.start();
        write(&config, &text);
        started.map(|()| second)
    }

    /// Copies the state away, as a backup does.
    pub(crate) fn snapshot(&self, name: &str) {
        copy_state(&self.rig, "state.redb", name);
    }

    /// Puts a copy back in place of the state.
    pub(crate) fn restore(&mut self, name: &str) {
        self.logged = None;
        copy_state(&self.rig, name, "state.redb");
    }

    /// Bytes that the signer has written: state, audit log and messages.
    pub(crate) fn written(&self) -> u64 {
        let audit = folder_of(&self.rig, "state.redb");
        let segments = std::fs::read_dir(audit).into_iter().flatten();
        [self.rig.path("state.redb"), self.running().log.clone()]
            .into_iter()
            .chain(segments.map(|entry| entry.unwrap().path()))
            .map(|path| std::fs::metadata(path).unwrap().len())
            .sum()
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.rig.honest.chain
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Asks as a node does.
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        self.ask_as(Role::Node, request)
    }

    /// Asks with the certificate of a role, over a connection that is kept.
    pub(crate) fn ask_as(&mut self, role: Role, request: Request) -> Reply {
        let frame = envelope(PROTOCOL_VERSION, request);
        let (rig, running) = (&self.rig, self.running.as_ref().unwrap());
        let connections = &mut self.connections;
        let reply = self.runtime.block_on(async {
            if !connections.contains_key(role.name()) {
                let connection = rig.raw(running, Some(role.name()), &[&TLS13]).await;
                connections.insert(role.name(), connection.unwrap());
            }
            let stream = connections.get_mut(role.name()).unwrap();
            stream.write_all(&frame).await.unwrap();
            read_reply(stream).await.expect("an answer")
        });
        self.note(frame, &reply);
        reply
    }

    /// Asks for everything at once, each over a connection of its own; the answers, in the requests' order.
    pub(crate) fn ask_at_once(&mut self, requests: Vec<Request>) -> Vec<Reply> {
        let frames: Vec<_> = requests
            .into_iter()
            .map(|request| envelope(PROTOCOL_VERSION, request))
            .collect();
        let (rig, running) = (&self.rig, self.running());
        let replies = self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _frame in &frames {
                let connection = rig.raw(running, Some(Role::Node.name()), &[&TLS13]).await;
                connections.push(connection.unwrap());
            }
            let asking: Vec<_> = connections
                .into_iter()
                .zip(frames.clone())
                .map(|(mut stream, frame)| {
                    tokio::spawn(async move {
                        stream.write_all(&frame).await.unwrap();
                        read_reply(&mut stream).await.expect("an answer")
                    })
                })
                .collect();
            let mut replies = Vec::new();
            for reply in asking {
                replies.push(reply.await.unwrap());
            }
            replies
        });
        for (frame, reply) in frames.into_iter().zip(&replies) {
            self.note(frame, reply);
        }
        replies
    }

    /// Opens connections with a node's certificate, sends these bytes on each, and leaves them open.
    pub(crate) fn leave_open(&self, count: usize, bytes: &[u8]) -> Vec<TlsStream<TcpStream>> {
        self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _connection in 0..count {
                let (rig, running) = (&self.rig, self.running());
                let connection = rig.raw(running, Some(Role::Node.name()), &[&TLS13]).await;
                let mut stream = connection.unwrap();
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
                connections.push(stream);
            }
            connections
        })
    }

    fn note(&mut self, frame: Vec<u8>, reply: &Reply) {
        if let Reply::Refused(refusal) = reply
            && refusal.rule != Rule::Rate
        {
            self.given.insert((frame, refusal.to_string()));
        }
    }

    /// Sends bytes on a connection of their own; the answer, or none where the signer closes the connection.
    pub(crate) fn send(&mut self, certificate: Option<&str>, bytes: &[u8]) -> Option<Reply> {
        let reply = self.runtime.block_on(async {
            let connection = self.rig.raw(self.running(), certificate, &[&TLS13]).await;
            let mut stream = connection.ok()?;
            // A signer that has had enough closes before the last byte.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            read_reply(&mut stream).await
        })?;
        self.note(bytes.to_vec(), &reply);
        Some(reply)
    }

    /// An orderly stop.
    pub(crate) fn stop(&mut self) {
        let given = std::mem::take(&mut self.given).len();
        self.logged = self.logged.map(|logged| logged + given);
        self.connections.clear();
        let running = self.running.take().unwrap();
        assert!(running.stop(), "the signer ends well");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.logged = None;
        self.connections.clear();
        drop(self.running.take());
    }

    /// Starts it again on whatever is on its disk; what it said where it would not.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        self.running = Some(self.rig.try_start()?);
        Ok(())
    }
}

/// Claim C8, at the end of every attack: the log verifies, has every refusal, and the core decides the same again.
impl Drop for SignerProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.running.is_some() {
            self.stop();
        }
        let archive = open_state(&self.rig.path(self.state)).unwrap();
        let report = verify(&archive, &Expectations::default()).unwrap();
        if let Some(logged) = self.logged {
            assert_eq!(report.refused, logged as u64, "{report:?}");
        }
        let replayed = replay(&archive).unwrap();
        assert!(replayed.is_complete(), "{replayed:?}");
    }
}

/// The folder of a state's audit log.
fn folder_of(rig: &Rig, state: &str) -> PathBuf {
    rig.path(&format!("{state}.audit"))
}

fn copy_state(rig: &Rig, from: &str, to: &str) {
    std::fs::copy(rig.path(from), rig.path(to)).unwrap();
    let (source, target) = (folder_of(rig, from), folder_of(rig, to));
    if target.exists() {
        std::fs::remove_dir_all(&target).unwrap();
    }
    if !source.exists() {
        return;
    }
    std::fs::create_dir(&target).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
    }
}
