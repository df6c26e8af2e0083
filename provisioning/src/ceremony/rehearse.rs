//! All of it on one machine, with keys that are thrown away: the same code, and real signers as child processes.

use super::{CEREMONY_FILE, CeremonyError, Folder, Status};
use crate::ca::{AUTHORITY_DAYS, CertificateAuthority};
use crate::card::MemberCard;
use crate::config::{SIGNER_FILE, SignerConfig};
use crate::files::{self, Readers};
use crate::officer::{Officer, OfficersConfig};
use crate::parameters::{MemberParameters, Parameters, REGTEST_CHAIN_ID, Regtest};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::ceremony::Nonce;
use alys_protocol::spec::SchnorrPublicKeyBytes;
use alys_protocol::units::BtcHeight;
use bitcoin::Network;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// The members of a rehearsal.
pub const MEMBERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const RECOVERY: [&str; 2] = ["recovery-1", "recovery-2"];
const DICE_THROWS: usize = 60;

fn failed(what: &str, why: impl std::fmt::Display) -> CeremonyError {
    CeremonyError::Rehearsal(format!("{what}: {why}"))
}

/// Random bytes.
///
/// # Errors
/// - [`CeremonyError::Rehearsal`] where the operating system gives none.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, CeremonyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| failed("entropy", error))?;
    Ok(bytes)
}

/// A nonce for a new ceremony.
///
/// # Errors
/// - [`CeremonyError::Rehearsal`] where the operating system gives no entropy.
pub fn nonce() -> Result<Nonce, CeremonyError> {
    Ok(Nonce::new(*random()?))
}

fn dice() -> Result<Zeroizing<String>, CeremonyError> {
    let mut throws = Zeroizing::new(String::with_capacity(DICE_THROWS));
    while throws.len() < DICE_THROWS {
        let [byte] = *random::<1>()?;
        // 252 is the highest multiple of 6: each side is as likely as any other.
        if byte < 252 {
            throws.push(char::from(b'1'.saturating_add(byte % 6)));
        }
    }
    Ok(throws)
}

fn passphrase() -> Result<Zeroizing<String>, CeremonyError> {
    let bytes = random::<16>()?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(Zeroizing::new(digits.collect()))
}

/// Rehearses a ceremony in the new folder `home`, up to the spend test, which takes a running chain. `say` hears of each
/// step. Gives where it stands.
///
/// # Errors
/// - [`CeremonyError`] where a step fails or the folder exists.
pub fn rehearse(
    home: &Path,
    signer: &Path,
    mut say: impl FnMut(&str),
) -> Result<Status, CeremonyError> {
    if home.exists() {
        return Err(failed("expected a new folder, found one", home.display()));
    }
    let rehearsal = Rehearsal { home, signer };
    say("1. parameters, officers and recovery keys");
    let (folder, mut officers) = rehearsal.begin()?;
    say("2. each member's authorities, and its keys inside its signer");
    for member in MEMBERS {
        let card = rehearsal.make_member(member)?;
        folder.add_card(&card)?;
        say(&format!("   {member}: card made and verified"));
    }
    say("3. each member derives chain, address and transcript from the cards; its officer signs");
    folder.assemble()?;
    for member in MEMBERS {
        let own = rehearsal.own_folder(member)?;
        own.assemble()?;
        let officer = officers
            .remove(member)
            .ok_or_else(|| CeremonyError::NoMember(member.to_owned()))?;
        let hash = own.confirm(member, &officer)?;
        for suffix in ["toml", "toml.minisig"] {
            let name = format!("confirmations/{member}.{suffix}");
            copy(&own.path().join(&name), &folder.path().join(&name))?;
        }
        say(&format!("   {member}: {hash}"));
    }
    say("4. all confirmations are equal");
    folder.close()?;
    say(
        "5. next would be the spend test, on the running chain: `make devnet` shows a peg-in and a peg-out",
    );
    folder.record(&home.join("record.html"))
}

struct Rehearsal<'a> {
    home: &'a Path,
    signer: &'a Path,
}

impl Rehearsal<'_> {
    fn begin(&self) -> Result<(Folder, BTreeMap<String, Officer>), CeremonyError> {
        let mut officers = BTreeMap::new();
        let mut public = BTreeMap::new();
        for member in MEMBERS {
            let passphrase = passphrase()?;
            let key = Officer::create(&self.home.join("officers"), member, &passphrase)?;
            public.insert(member.to_owned(), key.with_extension("pub"));
            officers.insert(member.to_owned(), Officer::open(&key, &passphrase)?);
        }
        let mut recovery_keys = Vec::new();
        for name in RECOVERY {
            recovery_keys.push(self.recovery_key(name)?);
        }
        let member = |name: &&str| MemberParameters {
            name: (*name).to_owned(),
            fee_recipient: EvmAddress::new([0x11; 20]),
        };
        let parameters = Parameters::regtest(Regtest {
            chain_id: REGTEST_CHAIN_ID,
            // A rehearsal's chain never starts; regtest's first block was said to be of then.
            genesis_ms: 1_296_688_602_000,
            start_height: BtcHeight::ZERO,
            start_hash: bitcoin::constants::genesis_block(Network::Regtest).block_hash(),
            recovery_keys,
            members: MEMBERS.iter().map(member).collect(),
            max_blocks_without_pow: 60,
        });
        let path = self.home.join("parameters.toml");
        crate::config::write(&path, "Parameters of a rehearsal.", &parameters)?;
        let folder = Folder::begin(&self.home.join("ceremony"), &path, &public, nonce()?)?;
        Ok((folder, officers))
    }

    /// A recovery key's public side. Keys like a member's, made without ceremony: their Schnorr key is what counts.
    fn recovery_key(&self, name: &str) -> Result<SchnorrPublicKeyBytes, CeremonyError> {
        let folder = self.signer_folder(name)?;
        let card = self.init(&folder, &[], &format!("{}\n", *passphrase()?))?;
        let card: MemberCard = serde_json::from_slice(&card)
            .map_err(|error| failed("the card that alys-signer init printed", error))?;
        Ok(card.schnorr)
    }

    fn signer_folder(&self, name: &str) -> Result<PathBuf, CeremonyError> {
        let folder = self.home.join(name).join("signer");
        let officers: Vec<_> = MEMBERS
            .iter()
            .map(|member| self.home.join("officers").join(format!("{member}.pub")))
            .collect();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        SignerConfig::new(listen, OfficersConfig::read(None, &officers)?).write(&folder)?;
        Ok(folder)
    }

    fn make_member(&self, member: &str) -> Result<PathBuf, CeremonyError> {
        let folder = self.signer_folder(member)?;
        let own = self.home.join(member).join("ceremony").join(CEREMONY_FILE);
        copy(&self.home.join("ceremony").join(CEREMONY_FILE), &own)?;
        let mut arguments = vec!["--ceremony".into(), own.into_os_string()];
        arguments.extend(["--member".into(), member.into()]);
        arguments.extend(["--entropy-fd".into(), "0".into()]);
        for kind in ["signer-ca", "client-ca"] {
            let authority = self.home.join(member).join(kind);
            let name = format!("{member} {kind}");
            let made = CertificateAuthority::create(&authority, &name, AUTHORITY_DAYS);
            made.map_err(|error| failed(&name, error))?;
            arguments.push(format!("--{kind}").into());
            arguments.push(authority.join("ca.pem").into_os_string());
        }
        let input = Zeroizing::new(format!("{}\n{}\n", *dice()?, *passphrase()?));
        let card = self.init(&folder, &arguments, &input)?;
        let path = self.home.join(member).join("card.json");
        files::write_new(&path, &card, Readers::All)?;
        Ok(path)
    }

    fn init(
        &self,
        folder: &Path,
        arguments: &[std::ffi::OsString],
        input: &str,
    ) -> Result<Vec<u8>, CeremonyError> {
        let failed = |error: std::io::Error| failed(&self.signer.display().to_string(), error);
        let mut child = Command::new(self.signer)
            .arg("init")
            .arg("--config")
            .arg(folder.join(SIGNER_FILE))
            .args(["--passphrase-fd", "0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // A child that refuses its arguments does not read: what it says on its way out is what counts then.
        let written = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(CeremonyError::Rehearsal(said));
        }
        written.map_err(failed)?;
        Ok(output.stdout)
    }

    /// A member's own copy, with all cards.
    fn own_folder(&self, member: &str) -> Result<Folder, CeremonyError> {
        let folder = Folder::open(&self.home.join(member).join("ceremony"))?;
        for other in MEMBERS {
            folder.add_card(&self.home.join(other).join("card.json"))?;
        }
        Ok(folder)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), CeremonyError> {
    let text = files::read(from)?;
    Ok(files::write_new(to, text.as_bytes(), Readers::All)?)
}
