//! The signer's host.

use crate::cli::Doctor;
use crate::files::{Secrecy, file};
use crate::finding::Finding;
use crate::system::{self, System, read_text};
use crate::{backup, certificates, firewall, token, unit};
use alys_protocol::spec::{Chain, ChainSpec};
use alys_signer::config::{Config, CounterConfig, Overrides};
use alys_signer::counter::FileCounter;
use alys_signer::policy_file::ReadPolicy;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

/// Least free bytes for the state: a day of a busy audit log and the reserve of votes.
const LEAST_FREE: u64 = 1 << 30;

/// All checks.
pub fn examine(system: &System, doctor: &Doctor) -> Vec<Finding> {
    let mut findings = system::swap(system);
    findings.extend(system::core_dumps(system));
    findings.push(system::clock(&system::synchronized()));
    findings.extend(system::processes(system, "alys-signer"));
    findings.extend(unit::unit(system, "alys-signer.service", unit::SIGNER_UNIT));
    if let Some(record) = &doctor.backup_record {
        findings.push(backup::backup(record, SystemTime::now()));
    }
    let path = doctor.config_path();
    let config = match configuration(&path) {
        Ok(config) => config,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    findings.push(Finding::fine("config", path.display().to_string()));
    findings.extend(owners(system, &path, &config));
    findings.extend(consistent(&config, doctor.chain.as_deref()));
    for file in [&config.tls.certificate, &config.tls.client_ca] {
        findings.push(certificates::certificates(
            file,
            certificates::now(),
            doctor.expiry_days,
        ));
    }
    findings.push(counter(&config));
    if let Some(wanted) = &config.token {
        let module = token::module(&wanted.module, &[0]);
        let safe = module.iter().all(|it| it.severity < crate::Severity::Error);
        findings.extend(module);
        // What others could have changed is not loaded into a process of root's.
        if safe {
            findings.push(token::unique(&wanted.uri, &token::tokens(&wanted.module)));
        }
    }
    let folder = config.state.parent().unwrap_or(Path::new("/"));
    findings.push(system::disk(folder, system::free_space(folder), LEAST_FREE));
    let port = config.listen.port();
    findings.extend(firewall::firewall(&firewall::table(), port));
    findings.extend(system::listening(system, &BTreeSet::from([port])));
    findings
}

/// The configuration, as the signer itself reads it.
///
/// # Errors
/// - the finding, where it cannot be used.
pub fn configuration(path: &Path) -> Result<Config, Finding> {
    Config::load(path, &Overrides::default()).map_err(|error| {
        Finding::error(
            "config",
            error.to_string(),
            "the signer does not start",
            "see docs/running.md for the keys",
        )
    })
}

/// Owners and modes of all files that the configuration names.
fn owners(system: &System, path: &Path, config: &Config) -> Vec<Finding> {
    // Without the package's user (or on a fake root) the one who runs this counts.
    let own = system
        .user("alys-signer")
        .unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    let both = [0, own];
    let mut rules = vec![
        (path, Secrecy::Public, &both[..1]),
        (&config.chain_spec, Secrecy::Public, &both[..1]),
        (&config.policy, Secrecy::Public, &both[..1]),
        (&config.tls.certificate, Secrecy::Public, &both[..]),
        (&config.tls.client_ca, Secrecy::Public, &both[..1]),
        (&config.tls.key, Secrecy::Group, &both[..]),
        (&config.keys, Secrecy::Owner, &both[1..]),
        (&config.state, Secrecy::Owner, &both[1..]),
    ];
    if let Some(pin) = config
        .token
        .as_ref()
        .and_then(|token| token.uri.pin_source.as_ref())
    {
        rules.push((pin, Secrecy::Owner, &both[..]));
    }
    rules
        .into_iter()
        .flat_map(|(path, secrecy, owners)| file(path, secrecy, owners))
        .collect()
}

/// A chain spec.
pub(crate) fn chain(path: &Path) -> Result<Chain, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = read_text(path).map_err(|error| named(&error))?;
    let spec: ChainSpec = toml::from_str(&text).map_err(|error| named(&error))?;
    Chain::new(spec).map_err(|error| named(&error))
}

/// The chain spec holds and is the one of `other`, a copy from another host.
pub(crate) fn same_chain(path: &Path, other: Option<&Path>) -> (Vec<Finding>, Option<Chain>) {
    const WHY: &str = "node and signer of different specs do not work together, and only one of them is the federation's";
    let remedy =
        "compare the digest with the other members by another way, and copy the right file";
    let wrong = |found: String| Finding::error("chain", found, WHY, remedy);
    let own = match chain(path) {
        Ok(own) => own,
        Err(error) => return (vec![wrong(error)], None),
    };
    let digest = own.digest();
    let finding = match other.map(chain) {
        None => Finding::fine("chain", format!("{}: digest {digest}", path.display())),
        Some(Ok(other)) if other.digest() == digest => {
            Finding::fine("chain", format!("both have digest {digest}"))
        }
        Some(Ok(other)) => wrong(format!(
            "{}: expected digest {}, found {digest}",
            path.display(),
            other.digest()
        )),
        Some(Err(error)) => wrong(error),
    };
    (vec![finding], Some(own))
}

/// Chain spec, policy and officers fit together.
pub fn consistent(config: &Config, other: Option<&Path>) -> Vec<Finding> {
    let (mut findings, chain) = same_chain(&config.chain_spec, other);
    let Some(chain) = chain else {
        return findings;
    };
    let policy = || -> Result<String, String> {
        let officers = config
            .officers
            .trusted()
            .map_err(|error| error.to_string())?;
        let read = ReadPolicy::read(&config.policy).map_err(|error| error.to_string())?;
        let signed = read
            .verify(&chain, &officers)
            .map_err(|error| error.to_string())?;
        let (iteration, count) = (read.file.iteration, signed.officers.len());
        Ok(format!("iteration {iteration}, signed by {count} officers"))
    };
    findings.push(match policy() {
        Ok(found) => Finding::fine("policy", found),
        Err(error) => Finding::error(
            "policy",
            error,
            "the signer does not start under a policy that its officers did not sign",
            "have it signed (alys-provision officer sign), and put the signatures beside it",
        ),
    });
    findings
}

/// The outside counter is outside.
pub fn counter(config: &Config) -> Finding {
    const WHY: &str = "a state that was put back would sign a second time what it has forgotten";
    let remedy = "use a token's counter: [counter] kind = \"pkcs11\"";
    match &config.counter {
        Some(CounterConfig::Pkcs11 { object, .. }) => {
            Finding::fine("counter", format!("object {object:?} in the token"))
        }
        None => Finding::warning(
            "counter",
            "none: officers must vouch for the state after each start",
            WHY,
            remedy,
        ),
        Some(CounterConfig::DevelopmentFile { path, .. }) => {
            match FileCounter::new(path.clone()).is_apart_from(&config.state) {
                Ok(true) => Finding::warning(
                    "counter",
                    format!(
                        "a file, {}, on another filesystem than the state",
                        path.display()
                    ),
                    WHY,
                    remedy,
                ),
                Ok(false) => Finding::error(
                    "counter",
                    format!(
                        "{} is on the state's own filesystem: one snapshot takes both back",
                        path.display()
                    ),
                    WHY,
                    remedy,
                ),
                Err(error) => Finding::error("counter", error.to_string(), WHY, remedy),
            }
        }
    }
}
