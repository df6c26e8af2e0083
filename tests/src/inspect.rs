//! What the system tells about a process: memory, arguments, environment, sockets (Linux, `/proc`).

use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;

/// Bytes of memory that are looked at together.
const PIECE: usize = 1 << 20;
/// Longer than what anybody looks for.
const OVERLAP: usize = 128;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const LISTENING: &str = "0A";

/// Resident memory in kibibytes.
///
/// # Errors
/// - where there is no such process.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

/// Arguments and environment, as anybody with the same user sees them; entries are separated by zero bytes.
///
/// # Errors
/// - where there is no such process.
pub fn arguments_and_environment(pid: u32) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{pid}/{file}");
        bytes.extend(fs::read(&path).with_context(|| path)?);
    }
    Ok(bytes)
}

/// Shows all memory that a process can read, in pieces that overlap by 128 bytes. It runs on meanwhile.
///
/// # Errors
/// - where the process is gone, or the system does not let us.
pub fn visit_memory(pid: u32, mut visit: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut piece = vec![0u8; PIECE];
    let mut seen = 0u64;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, access) = (fields.next(), fields.next());
        let readable = access.is_some_and(|access| access.starts_with('r'));
        // The kernel's own pages.
        if !readable || line.contains("[v") {
            continue;
        }
        let (start, end) = range
            .and_then(|range| range.split_once('-'))
            .with_context(|| format!("expected a range of memory, found {line}"))?;
        let (mut at, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        while at < end {
            let length = usize::try_from(end - at)?.min(PIECE);
            // It may have been given back meanwhile.
            let Ok(read) = memory.read_at(&mut piece[..length], at) else {
                break;
            };
            visit(&piece[..read]);
            seen += read as u64;
            if read <= OVERLAP {
                break;
            }
            at += (read - OVERLAP) as u64;
        }
    }
    ensure!(seen > 0, "no memory of process {pid} could be read");
    Ok(())
}

/// A socket that others can send to: TCP that listens, or UDP that is bound and not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenSocket {
    /// `tcp`, `tcp6`, `udp` or `udp6`.
    pub kind: &'static str,
    /// The address that it is bound to.
    pub address: SocketAddr,
}

/// The open sockets of a process.
///
/// # Errors
/// - where there is no such process, or the kernel's tables have another form.
pub fn open_sockets(pid: u32) -> anyhow::Result<Vec<OpenSocket>> {
    let mut own = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed meanwhile.
        let Ok(target) = fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[");
        own.extend(inode.map(|inode| inode.trim_end_matches(']').to_owned()));
    }
    let mut found = Vec::new();
    for kind in ["tcp", "tcp6", "udp", "udp6"] {
        for line in read(pid, &format!("net/{kind}"))?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else {
                bail!("/proc/net/{kind}: {line}");
            };
            let open = if kind.starts_with("tcp") {
                state == LISTENING
            } else {
                parse(remote)?.port() == 0
            };
            if open && own.contains(inode) {
                let address = parse(local)?;
                found.push(OpenSocket { kind, address });
            }
        }
    }
    Ok(found)
}

/// `0100007F:1F90` or the same with 32 digits: words in the machine's byte order, then the port.
fn parse(text: &str) -> anyhow::Result<SocketAddr> {
    let (address, port) = text.split_once(':').context("no port")?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        ensure!(word.len() == 8, "no address: {text}");
        let word = u32::from_str_radix(std::str::from_utf8(word)?, 16)?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match (
        <[u8; 4]>::try_from(&bytes[..]),
        <[u8; 16]>::try_from(&bytes[..]),
    ) {
        (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
        (_, Ok(sixteen)) => IpAddr::V6(Ipv6Addr::from(sixteen)),
        _ => bail!("no address: {text}"),
    };
    Ok(SocketAddr::new(address, u16::from_str_radix(port, 16)?))
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn own_sockets_are_found() {
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = open_sockets(std::process::id()).unwrap();
        let sockets = [
            ("tcp", loopback.local_addr()),
            ("tcp", everywhere.local_addr()),
            ("udp", udp.local_addr()),
        ];
        for (kind, address) in sockets {
            let address = address.unwrap();
            assert!(found.contains(&OpenSocket { kind, address }), "{found:?}");
        }
        let client = std::net::TcpStream::connect(loopback.local_addr().unwrap()).unwrap();
        let address = client.local_addr().unwrap();
        let connected = OpenSocket {
            kind: "tcp",
            address,
        };
        assert!(
            !open_sockets(std::process::id())
                .unwrap()
                .contains(&connected)
        );
    }

    #[test]
    fn addresses_of_both_versions() {
        let v6 = parse("00000000000000000000000001000000:0050");
        if cfg!(target_endian = "little") {
            assert_eq!(v6.unwrap().to_string(), "[::1]:80");
            let v4 = parse("0100007F:1F90").unwrap();
            assert_eq!(v4.to_string(), "127.0.0.1:8080");
        }
        assert!(parse("0100007F").is_err());
        assert!(parse("01:1F90").is_err());
    }

    #[test]
    fn own_memory_and_environment() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 0);
        let seen = arguments_and_environment(pid).unwrap();
        let program = std::env::args().next().unwrap();
        assert!(seen.starts_with(program.as_bytes()));
    }
}
