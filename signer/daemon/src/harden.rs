//! Keeps keys out of swap and core dumps (claim C7).

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// What could be had of the protections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardening {
    /// Memory is locked: it is never swapped.
    pub locked: bool,
    /// What could not be had, in sentences for the operator.
    pub warnings: Vec<String>,
}

/// `MCL_ONFAULT` of mlockall(2), which nix does not name: lock pages when they are first used, so that the stacks of idle
/// threads take no memory.
const LOCK_ON_FAULT: i32 = 4;

/// Forbids core dumps and attaching debuggers, and locks memory where the system allows.
///
/// Call before any secret is in memory.
pub fn harden() -> Hardening {
    let mut warnings = Vec::new();
    if let Err(error) = prctl::set_dumpable(false) {
        warnings.push(format!("debuggers of the same user can attach: {error}"));
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warnings.push(format!("core dumps cannot be switched off: {error}"));
    }
    let locked = match lock_memory() {
        Ok(()) => true,
        Err(reason) => {
            warnings.push(format!(
                "memory is not locked, so keys may reach swap: {reason}; \
                 allow it (systemd: LimitMEMLOCK=infinity) or run without swap"
            ));
            false
        }
    };
    Hardening { locked, warnings }
}

fn lock_memory() -> Result<(), String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(|error| error.to_string())?;
    setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard).map_err(|error| error.to_string())?;
    // Under a finite limit a later allocation would fail and abort the process. Root is exempt from the limit.
    if hard != RLIM_INFINITY && !nix::unistd::geteuid().is_root() {
        return Err(format!("RLIMIT_MEMLOCK is {hard} bytes, expected no limit"));
    }
    let flags = MlockAllFlags::MCL_CURRENT
        | MlockAllFlags::MCL_FUTURE
        | MlockAllFlags::from_bits_retain(LOCK_ON_FAULT);
    mlockall(flags).map_err(|error| format!("mlockall: {error}"))
}
