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
    /// [`Request::Challenge`].
    Challenge,
    /// [`Request::Statement`].
    Statement,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 7] = [
        Self::Status,
        Self::SignProposal,
        Self::Approve,
        Self::SignPegOut,
        Self::BitcoinHeaders,
        Self::Challenge,
        Self::Statement,
    ];

    /// The operation of a request.
    pub const fn of(request: &Request) -> Self {
        match request {
            Request::Status => Self::Status,
            Request::SignProposal(_) => Self::SignProposal,
            Request::Approve(_) => Self::Approve,
            Request::SignPegOut(_) => Self::SignPegOut,
            Request::BitcoinHeaders(_) => Self::BitcoinHeaders,
            Request::Challenge => Self::Challenge,
            Request::Statement(_) => Self::Statement,
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
            Self::Challenge => "challenge",
            Self::Statement => "statement",
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
        Role::Officer => &[
            Operation::Status,
            Operation::Challenge,
            Operation::Statement,
        ],
        Role::Auditor => &[Operation::Status],
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
    fn only_nodes_get_signatures_and_only_officers_are_listened_to() {
        for role in Role::ALL {
            let signs = may(role, Operation::Approve)
                || may(role, Operation::SignPegOut)
                || may(role, Operation::SignProposal);
            assert_eq!(signs, role == Role::Node);
            for says in [Operation::Challenge, Operation::Statement] {
                assert_eq!(may(role, says), role == Role::Officer);
            }
            assert!(may(role, Operation::Status));
        }
    }
}
