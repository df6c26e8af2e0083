//! What every host is asked: swap, core dumps, clock, disk, sockets, processes.

use crate::finding::Finding;
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a file that is read, at most.
const MAX_BYTES: u64 = 4 << 20;

/// The system, below a folder: `/`, or one that a test has prepared.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// This one.
    pub fn this() -> Self {
        Self::below("/")
    }

    /// The one below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where an absolute path of the system is.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file of the system.
    ///
    /// # Errors
    /// - where it cannot be read, is longer than 4 MiB or no UTF-8.
    pub fn read(&self, absolute: impl AsRef<Path>) -> io::Result<String> {
        read_text(&self.path(absolute))
    }

    /// The id of a user of the system, by `/etc/passwd`.
    pub fn user(&self, name: &str) -> Option<u32> {
        let text = self.read("/etc/passwd").ok()?;
        let entry = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        entry
            .filter(|fields| fields.first() == Some(&name))
            .find_map(|fields| fields.get(2)?.parse().ok())
    }
}

/// The text of a file of at most 4 MiB.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "expected at most {MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

/// What a program printed, or why there is nothing.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}", error.trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{program}: {error}"))
}

/// Swap is off, or encrypted. Memory of other processes, of the shell or editor that had a passphrase, is not locked.
pub fn swap(system: &System) -> Vec<Finding> {
    const WHY: &str = "what was in memory, passphrases among it, can be read from the disk later";
    let text = match system.read("/proc/swaps") {
        Ok(text) => text,
        Err(error) => {
            return vec![Finding::warning(
                "swap",
                format!("/proc/swaps: {error}"),
                WHY,
                "run it as root on Linux",
            )];
        }
    };
    let devices = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    let found: Vec<Finding> = devices
        .map(|device| {
            if encrypted(system, device) {
                Finding::fine("swap", format!("{device} is encrypted"))
            } else {
                Finding::error(
                    "swap",
                    format!("swap on {device}, which is not known to be encrypted"),
                    WHY,
                    format!("swapoff {device} and take it out of /etc/fstab, or put it on dm-crypt with a random key"),
                )
            }
        })
        .collect();
    if found.is_empty() {
        vec![Finding::fine("swap", "off")]
    } else {
        found
    }
}

fn encrypted(system: &System, device: &str) -> bool {
    // A link of /dev/mapper leads to /dev/dm-N; a fake root has the name itself.
    let resolved = std::fs::canonicalize(system.path(device)).ok();
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let Some(name) = resolved
        .as_deref()
        .and_then(name)
        .or_else(|| name(Path::new(device)))
    else {
        return false;
    };
    system
        .read(format!("/sys/block/{name}/dm/uuid"))
        .is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

/// Core dumps are off.
pub fn core_dumps(system: &System) -> Vec<Finding> {
    const WHY: &str =
        "a core dump is a copy of a process's memory on the disk, or sent away by a crash reporter";
    let remedy = "kernel.core_pattern = |/bin/false and fs.suid_dumpable = 0 in /etc/sysctl.d, then sysctl --system; \
                  the packages bring such a file";
    let setting = |name: &str| system.read(format!("/proc/sys/{name}"));
    let mut findings = Vec::new();
    for (name, good) in [
        (
            "kernel/core_pattern",
            &["|/bin/false", "|/usr/bin/false"][..],
        ),
        ("fs/suid_dumpable", &["0"]),
    ] {
        findings.push(match setting(name) {
            Ok(value) if good.contains(&value.trim()) => {
                Finding::fine("core-dumps", format!("{name} is {}", value.trim()))
            }
            Ok(value) => Finding::error(
                "core-dumps",
                format!(
                    "{name}: expected {}, found {:?}",
                    good.join(" or "),
                    value.trim()
                ),
                WHY,
                remedy,
            ),
            Err(error) => Finding::warning("core-dumps", format!("{name}: {error}"), WHY, remedy),
        });
    }
    findings
}

/// Whether the kernel says that a time server sets the clock, asked by `timedatectl`.
pub fn synchronized() -> Result<String, String> {
    output(
        "timedatectl",
        &["show", "--property=NTPSynchronized", "--value"],
    )
}

/// The clock is set by a time server: `said` is what [`synchronized`] gave. The kernel's flag is that of adjtimex(2), and
/// goes away when the estimated error passes 16 s.
pub fn clock(said: &Result<String, String>) -> Finding {
    const WHY: &str = "a signer votes at most slot_horizon_slots ahead of its clock, and its windows of peg-outs run by it";
    let remedy = "install chrony or systemd-timesyncd, name time servers, and let the firewall pass udp 123 to them";
    match said.as_deref().map(str::trim) {
        Ok("yes") => Finding::fine("clock", "synchronised"),
        Ok(other) => Finding::error(
            "clock",
            format!("NTPSynchronized is {other:?}, expected yes"),
            WHY,
            remedy,
        ),
        Err(error) => {
            Finding::warning("clock", format!("could not be asked: {error}"), WHY, remedy)
        }
    }
}

/// Free and total bytes of the filesystem that `path` is on.
///
/// # Errors
/// - where it cannot be asked.
pub fn free_space(path: &Path) -> io::Result<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(path)?;
    let size = found.fragment_size();
    Ok((
        found.blocks_available().saturating_mul(size),
        found.blocks().saturating_mul(size),
    ))
}

/// Enough space for what is written at `path`: an error below `least` bytes, a warning below twice that or 5 %.
pub fn disk(path: &Path, space: io::Result<(u64, u64)>, least: u64) -> Finding {
    const WHY: &str = "a signer that cannot write its state signs nothing, and a database that cannot write stops";
    let remedy = "make space or enlarge the filesystem; never delete the state or the audit log";
    let mib = |bytes: u64| bytes >> 20;
    match space {
        Ok((free, total)) => {
            let found = format!(
                "{} MiB of {} MiB free for {}",
                mib(free),
                mib(total),
                path.display()
            );
            if free < least {
                Finding::error("disk", found, WHY, remedy)
            } else if free < least.saturating_mul(2) || free < total / 20 {
                Finding::warning("disk", found, WHY, remedy)
            } else {
                Finding::fine("disk", found)
            }
        }
        Err(error) => Finding::warning("disk", format!("{}: {error}", path.display()), WHY, remedy),
    }
}

/// Nothing listens beyond loopback but `expected` ports.
pub fn listening(system: &System, expected: &BTreeSet<u16>) -> Vec<Finding> {
    const WHY: &str = "each open port is a way in; a signer has exactly one";
    let remedy = "stop and remove the service, or bind it to loopback; the firewall is the second line, not the first";
    let mut found = BTreeSet::new();
    for (file, wide) in [("/proc/net/tcp", false), ("/proc/net/tcp6", true)] {
        match system.read(file) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(listener)),
            // IPv6 may be off.
            Err(error) if wide && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return vec![Finding::warning(
                    "sockets",
                    format!("{file}: {error}"),
                    WHY,
                    "run it as root",
                )];
            }
        }
    }
    let open = found
        .into_iter()
        .filter(|it| !it.ip().to_canonical().is_loopback());
    let (known, strange): (Vec<_>, Vec<_>) = open.partition(|it| expected.contains(&it.port()));
    let mut findings: Vec<Finding> = strange
        .into_iter()
        .map(|it| {
            Finding::error(
                "sockets",
                format!("something unexpected listens on {it}"),
                WHY,
                remedy,
            )
        })
        .collect();
    if findings.is_empty() {
        let known: Vec<String> = known.iter().map(SocketAddr::to_string).collect();
        let known = if known.is_empty() {
            "nothing".to_owned()
        } else {
            known.join(", ")
        };
        findings.push(Finding::fine(
            "sockets",
            format!("beyond loopback: {known}"),
        ));
    }
    findings
}

/// The address of a line of `/proc/net/tcp{,6}` whose state is LISTEN (0A).
fn listener(line: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.get(3) != Some(&"0A") {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each 32-bit word is printed as a number of the host's byte order.
    let word = |at: usize| {
        let text = address.get(at.checked_mul(8)?..at.checked_add(1)?.checked_mul(8)?)?;
        Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What the kernel says of running processes called `name`: memory locked without limit, no core dumps, nothing swapped.
pub fn processes(system: &System, name: &str) -> Vec<Finding> {
    const WHY: &str = "keys are in this process's memory";
    let remedy = "start it by its systemd unit, which sets LimitMEMLOCK=infinity and LimitCORE=0";
    let Ok(entries) = std::fs::read_dir(system.path("/proc")) else {
        return vec![Finding::warning(
            "process",
            "/proc cannot be read",
            WHY,
            "run it as root",
        )];
    };
    let mut findings = Vec::new();
    for entry in entries.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let file = |file: &str| {
            system
                .read(format!("/proc/{pid}/{file}"))
                .unwrap_or_default()
        };
        if file("comm").trim() != name {
            continue;
        }
        let (limits, status) = (file("limits"), file("status"));
        let limit = |name: &str| {
            limits.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()
                    .map(str::to_owned)
            })
        };
        let kib = |name: &str| {
            status.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
        };
        let mut wrong = Vec::new();
        if limit("Max locked memory").as_deref() != Some("unlimited") {
            wrong.push(format!(
                "memory lock limit {}",
                limit("Max locked memory").unwrap_or_else(|| "unknown".to_owned())
            ));
        }
        if limit("Max core file size").as_deref() != Some("0") {
            wrong.push("core dumps allowed".to_owned());
        }
        if kib("VmSwap:").unwrap_or(0) > 0 {
            wrong.push("part of it is in swap".to_owned());
        }
        if kib("VmLck:").unwrap_or(0) == 0 {
            wrong.push("no memory is locked".to_owned());
        }
        findings.push(if wrong.is_empty() {
            Finding::fine(
                "process",
                format!("{name} ({pid}): memory locked, no core dumps"),
            )
        } else {
            Finding::error(
                "process",
                format!("{name} ({pid}): {}", wrong.join(", ")),
                WHY,
                remedy,
            )
        });
    }
    if findings.is_empty() {
        findings.push(Finding::warning(
            "process",
            format!("{name} does not run"),
            "its limits can only be seen while it does",
            format!("systemctl status {name}"),
        ));
    }
    findings
}
