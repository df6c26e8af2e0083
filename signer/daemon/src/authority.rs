//! Which role may ask what. What is not listed is denied.

use alys_protocol::signer::Request;
use alys_signer_client::Role;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Request::Status`].
    Status,
    /// [`Request::SignProposal`].
    SignProposal,
    /// [`Request::Approve`].
    Approve,
    /// [`Request::SignPegOut`].
    SignPegOut,
    /// [`Request::BitcoinHeaders`].
    BitcoinHeaders,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [
        Self::Status,
        Self::SignProposal,
        Self::Approve,
        Self::SignPegOut,
        Self::BitcoinHeaders,
    ];

    /// The operation of a request.
    pub const fn of(request: &Request) -> Self {
        match request {
            Request::Status => Self::Status,
            Request::SignProposal(_) => Self::SignProposal,
            Request::Approve(_) => Self::Approve,
            Request::SignPegOut(_) => Self::SignPegOut,
            Request::BitcoinHeaders(_) => Self::BitcoinHeaders,
        }
    }

    /// Its name in logs and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SignProposal => "sign-proposal",
            Self::Approve => "approve",
            Self::SignPegOut => "sign-peg-out",
            Self::BitcoinHeaders => "bitcoin-headers",
        }
    }
}

/// The operations of a role.
pub const fn operations(role: Role) -> &'static [Operation] {
    match role {
        Role::Node => &[
            Operation::Status,
            Operation::SignProposal,
            Operation::Approve,
            Operation::SignPegOut,
            Operation::BitcoinHeaders,
        ],
        Role::Officer | Role::Auditor => &[Operation::Status],
    }
}

/// Whether a role may ask for an operation.
pub fn may(role: Role, operation: Operation) -> bool {
    operations(role).contains(&operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_get_signatures() {
        for role in Role::ALL {
            let signs = may(role, Operation::Approve)
                || may(role, Operation::SignPegOut)
                || may(role, Operation::SignProposal);
            assert_eq!(signs, role == Role::Node);
            assert!(may(role, Operation::Status));
        }
    }
}
