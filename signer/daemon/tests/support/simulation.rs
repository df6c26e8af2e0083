//! A signer device in a process of its own: the real link, and behind it the real core with its state on a disk, so that
//! `kill -9` is a loss of power. It listens on a Unix socket, as an emulator does.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

use alys_firmware_core::link::{
    Collector, DeviceEvent, DeviceLink, DeviceSettings, Hello, NoEntropy, Provisioned, PublicKey,
    StaticKey, WIRE_BYTES, Words,
};
use alys_protocol::signer::{PROTOCOL_VERSION, RequestEnvelope, decode_frame};
use alys_signer::audit::{Approval, Recorder, UnixMillis};
use alys_signer::circumstances::Circumstances;
use alys_signer::cli::read_chain;
use alys_signer::config::{Config, Overrides};
use alys_signer::engine::{Asker, Engine};
use alys_signer::files::{Existing, write_durably};
use alys_signer::limits::Fingerprint;
use alys_signer::passphrase::Passphrase;
use alys_signer::policy_file::ReadPolicy;
use alys_signer::seal::{self, Sealer};
use alys_signer::store::Store;
use alys_signer_client::Role;
use alys_signer_core::Signer;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Names the folder of the device that a test's process is to be.
const FOLDER: &str = "ALYS_TEST_DEVICE";
/// The ignored test that is the device's program.
const PROGRAM: &str = "the_device_itself";

/// A device that is switched on; off when dropped.
pub struct Powered {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Drop for Powered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Powered {
    /// Switches on the device whose flash is `folder`, and waits until it listens.
    pub fn on(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([PROGRAM, "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut device = Self { child, output };
        device.says("ready");
        device
    }

    /// The next thing that it says of this kind.
    pub fn says(&mut self, kind: &str) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.split_once(&format!("device {kind}")) {
                return rest.1.trim().to_owned();
            }
            line.clear();
        }
        panic!("the device ended");
    }
}

/// The device's program; does nothing in a process that is to be none.
pub fn program() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let engine = engine(&folder.join("software.toml"));
    let path = folder.join("line");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    say("ready");
    for stream in listener.incoming() {
        serve(stream.unwrap(), &folder, &engine);
    }
}

fn say(what: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "\ndevice {what}").unwrap();
    output.flush().unwrap();
}

/// As `run` makes it, without certificates.
fn engine(config: &Path) -> Engine {
    let config = Config::load(config, &Overrides::default()).unwrap();
    let chain = read_chain(&config.chain_spec).unwrap();
    let card = seal::card(&config.keys).unwrap();
    let officers = config.officers.trusted().unwrap();
    let digest = officers.officers().digest();
    let store = Store::open(&config.state, &card.bls, chain.digest(), digest).unwrap();
    let read = ReadPolicy::read(&config.policy).unwrap();
    let signed = read.verify(&chain, &officers).unwrap();
    let policy = read.file.policy.clone();
    let signer = Signer::new(chain, policy, &card.bls, &card.schnorr).unwrap();
    let passphrase = || Ok(Passphrase::new(super::PASSPHRASE.to_owned()));
    let sealer = Sealer::for_file(&config, None, passphrase).unwrap();
    let keys = sealer.open(&config.keys).unwrap();
    let approval = Approval::new(read, signed, officers.clone(), config.officers.clone());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = UnixMillis::new(u64::try_from(now).unwrap());
    let recorder = Recorder::start(store, &signer, &keys, &approval, config.audit.clone(), now);
    let recorder = recorder.unwrap();
    let counter = config.open_counter(None).unwrap();
    let circumstances = Circumstances::start(&recorder, &signer, counter, 1).unwrap();
    Engine::new(signer, keys, recorder, circumstances, officers, false)
}

fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(bytes.as_mut_slice())
        .unwrap();
    bytes
}

/// A value of 32 bytes in the device's flash.
fn stored(path: &Path) -> Option<[u8; 32]> {
    std::fs::read(path).ok().map(|it| it.try_into().unwrap())
}

fn serve(mut line: UnixStream, folder: &Path, engine: &Engine) {
    let (key, host) = (folder.join("link.key"), folder.join("link.host"));
    let secret = stored(&key).unwrap_or_else(|| {
        let secret = random();
        write_durably(&key, secret.as_slice(), Existing::Refuse).unwrap();
        *secret
    });
    let config = Config::load(&folder.join("software.toml"), &Overrides::default()).unwrap();
    let chain = read_chain(&config.chain_spec).unwrap();
    let mut link = DeviceLink::new(DeviceSettings {
        key: StaticKey::new(Zeroizing::new(secret)),
        host: stored(&host).map(PublicKey::new),
        hello: Hello {
            protocol: PROTOCOL_VERSION,
            provisioned: Some(Provisioned {
                chain_id: chain.id(),
                epoch: chain.spec().epoch,
                member: alys_protocol::units::MemberId::new(0),
                spec: chain.digest(),
            }),
            firmware: Words::new("device simulation 0.1"),
        },
        max_request_bytes: 512 << 10,
        credit: 4,
    })
    .unwrap();
    if folder.join("open").exists() {
        link.open_pairing();
    }
    let asker = Asker {
        role: Role::Node,
        certificate: Fingerprint([0; 32]),
    };
    let mut entropy = || Ok::<_, NoEntropy>(random());
    let mut collector = Collector::new();
    let (mut read, mut wire) = ([0u8; 4096], [0u8; WIRE_BYTES]);
    while let Ok(length @ 1..) = line.read(&mut read) {
        for byte in &read[..length] {
            let mut pressed = false;
            let whole = match link.feed(*byte, &mut entropy) {
                Some(DeviceEvent::Part(part)) => {
                    let whole = collector.take(&part).unwrap();
                    whole.map(|whole| (part.request, whole))
                }
                Some(DeviceEvent::PairingCode(code)) => {
                    say(&format!("code {code}"));
                    None
                }
                Some(DeviceEvent::PairingConfirmed) => {
                    pressed = true;
                    None
                }
                Some(DeviceEvent::PairingCancelled) | None => None,
            };
            if pressed {
                let paired = link.pairing().unwrap().host.to_bytes();
                write_durably(&host, &paired, Existing::Replace).unwrap();
                link.accept_pairing().unwrap();
            }
            if let Some((id, body)) = whole {
                let envelope: RequestEnvelope = decode_frame(&body).unwrap();
                let reply = engine.handle(asker, &body, &envelope.request);
                // A newer session may have come meanwhile.
                let _ = link.reply(id, postcard::to_allocvec(&reply).unwrap());
            }
            while let Some(length) = link.poll_transmit(&mut wire) {
                if line.write_all(&wire[..length]).is_err() {
                    return;
                }
            }
        }
    }
}
