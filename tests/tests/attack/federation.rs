//! All nodes of a federation of four in an attacker's hands, three members' keys included, and the one honest signer that
//! they ask. The chain and Bitcoin are whatever the attacker builds.

use crate::bitcoin_kit::{Miner, Numbers, grind};
use crate::deposits::{BitcoinBlock, merkle_root};
use crate::harness::count_refused;
use crate::process::SignerProcess;
use crate::support::fixtures::pegout::{self, Plan};
use crate::support::fixtures::{Honest, Link};
use alys_protocol::bls::BlsSignature;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    ApproveRequest, BitcoinStanding, PegOutRequest, Reply, Request, SchnorrSignature,
};
use alys_protocol::spec::ChainSpec;
use alys_protocol::units::{BtcHeight, MemberId, Slot};
use alys_signer_core::Policy;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::{Transaction, TxMerkleNode};
use std::time::{SystemTime, UNIX_EPOCH};

/// Height of the Bitcoin block that the spec names, which the signer starts from.
pub(crate) const CHECKPOINT: u32 = 100;
/// Height of Bitcoin's tip at the start.
pub(crate) const TIP: u32 = 150;
/// More requests than any attack makes, except the flood.
const MANY: &str = "requests_per_second = 1000000\nrequest_burst = 1000000\n";

/// What is provisioned beside the defaults, and how old Bitcoin's tip is.
pub(crate) struct Setup {
    pub(crate) limits: &'static str,
    pub(crate) policy: fn(&mut Policy),
    pub(crate) spec: fn(&mut ChainSpec),
    /// Seconds from the newest header's time to now.
    pub(crate) tip_age: u32,
    /// Seconds between headers.
    pub(crate) spacing: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: MANY,
            policy: |_| (),
            spec: |_| (),
            // Room for new blocks that are not in the future.
            tip_age: 7_200,
            spacing: 600,
        }
    }
}

impl Setup {
    pub(crate) fn complete(&self, spec: &mut ChainSpec, (height, hash): (u32, bitcoin::BlockHash)) {
        spec.bitcoin.start_height = BtcHeight::new(height);
        spec.bitcoin.start_hash = hash;
        (self.spec)(spec);
    }

    /// A regtest chain up to [`TIP`].
    fn bitcoin(&self) -> Miner {
        let age = self.tip_age + TIP * self.spacing;
        let mut miner = Miner::new(Numbers::regtest());
        miner.headers[0].time = u32::try_from(unix_now()).unwrap() - age;
        grind(&mut miner.headers[0]);
        for _block in 0..TIP {
            miner.mine(miner.tip().time + self.spacing, 0);
        }
        miner
    }
}

/// Unix time in seconds.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What an attack changes in honest evidence, and the rule that notices.
pub(crate) type Changes<'a, T> = &'a [(Rule, &'a str, &'a dyn Fn(&mut T))];

pub(crate) struct Federation {
    pub(crate) honest: Honest,
    pub(crate) signer: SignerProcess,
    pub(crate) miner: Miner,
    last_slot: Slot,
    opened: bool,
}

impl Federation {
    pub(crate) fn new() -> Self {
        Self::with(&Setup::default())
    }

    /// A federation whose signer has Bitcoin's headers up to [`TIP`].
    pub(crate) fn with(setup: &Setup) -> Self {
        let mut federation = Self::without_headers(setup);
        federation.feed();
        federation
    }

    /// The same before the signer has any header.
    pub(crate) fn without_headers(setup: &Setup) -> Self {
        let miner = setup.bitcoin();
        let hash = miner.headers[CHECKPOINT as usize].block_hash();
        let signer = SignerProcess::provision(setup, (CHECKPOINT, hash));
        Self {
            honest: Honest::new(signer.chain().clone()),
            signer,
            miner,
            last_slot: Slot::new(0),
            opened: false,
        }
    }

    pub(crate) fn height(&self) -> u64 {
        self.honest.tip().header.height.get()
    }

    /// The highest slot that the signer voted in, or that the attacker skipped to.
    pub(crate) fn last_slot(&self) -> u64 {
        self.last_slot.get()
    }

    /// Slots from the tip to the first one that is free for the signer.
    pub(crate) fn free_slots(&self) -> u64 {
        let tip = self.honest.tip().header.slot.get();
        (self.last_slot.get() + 1).saturating_sub(tip).max(1)
    }

    /// Skips to the slot of the clock: what the next start of a signer may sign in.
    pub(crate) fn skip_to_now(&mut self) {
        self.last_slot = self.last_slot.max(Slot::new(unix_now() / 2));
    }

    /// A child of the tip.
    pub(crate) fn child(&self, change: impl FnOnce(&mut Link)) -> Link {
        self.honest
            .child_of(self.height(), self.free_slots(), change)
    }

    /// A request that a rule must refuse.
    pub(crate) fn refuses(&mut self, rule: Rule, what: &str, request: Request) {
        match self.signer.ask(request) {
            Reply::Refused(refusal) if refusal.rule == rule => count_refused(),
            Reply::Refused(refusal) => panic!("{what}: expected rule {rule}, found it {refusal}"),
            Reply::Error(error) => panic!("{what}: expected rule {rule}, found {error:?}"),
            given => panic!("{what}: expected rule {rule}, and the signer gave {given:?}"),
        }
    }

    pub(crate) fn refuses_vote(&mut self, rule: Rule, what: &str, request: &ApproveRequest) {
        self.refuses(rule, what, Request::Approve(Box::new(request.clone())));
    }

    pub(crate) fn refuses_payment(&mut self, rule: Rule, what: &str, request: &PegOutRequest) {
        self.refuses(rule, what, Request::SignPegOut(Box::new(request.clone())));
    }

    /// Each change of an honest request is refused; the request itself is left to the caller.
    pub(crate) fn refuses_votes(
        &mut self,
        honest: &ApproveRequest,
        changes: Changes<'_, ApproveRequest>,
    ) {
        for (rule, what, change) in changes {
            let mut request = honest.clone();
            change(&mut request);
            assert_ne!(request, *honest, "{what} changes nothing");
            self.refuses_vote(*rule, what, &request);
        }
    }

    pub(crate) fn refuses_payments(
        &mut self,
        honest: &PegOutRequest,
        changes: Changes<'_, PegOutRequest>,
    ) {
        for (rule, what, change) in changes {
            let mut request = honest.clone();
            change(&mut request);
            assert_ne!(request, *honest, "{what} changes nothing");
            self.refuses_payment(*rule, what, &request);
        }
    }

    /// The same, and again once the honest batch is signed: evidence of a batch that is known is judged all the same.
    pub(crate) fn refuses_payments_and_repeats(
        &mut self,
        honest: &PegOutRequest,
        changes: Changes<'_, PegOutRequest>,
    ) {
        self.refuses_payments(honest, changes);
        let shares = self.pays(honest);
        self.refuses_payments(honest, changes);
        assert_eq!(self.pays(honest), shares, "a repeat is the same signatures");
    }

    /// The vote, which verifies.
    pub(crate) fn signs(&mut self, request: &ApproveRequest) -> BlsSignature {
        let reply = self.signer.ask(Request::Approve(Box::new(request.clone())));
        let Reply::Signature(signature) = reply else {
            panic!("an honest vote is refused: {reply:?}");
        };
        let member = self.honest.chain.roster().member(MemberId::new(0)).unwrap();
        let message = request.header.approval_message();
        member.bls.verify(&message, &signature).unwrap();
        self.last_slot = self.last_slot.max(request.header.slot);
        signature
    }

    /// The same for a block that becomes the tip.
    pub(crate) fn votes(&mut self, link: Link, request: &ApproveRequest) {
        self.signs(request);
        self.honest.links.push(link);
    }

    /// The signer serves an honest request: a vote for the next block.
    pub(crate) fn serves(&mut self) {
        let link = self.child(|_| ());
        let request = self.honest.approve(&link);
        self.votes(link, &request);
    }

    /// The shares of a peg-out, which spend.
    pub(crate) fn pays(&mut self, request: &PegOutRequest) -> Vec<SchnorrSignature> {
        let reply = self
            .signer
            .ask(Request::SignPegOut(Box::new(request.clone())));
        let Reply::Shares(shares) = reply else {
            panic!("an honest peg-out is refused: {reply:?}");
        };
        let chain = &self.honest.chain;
        let transaction = request.record.decode_transaction().unwrap();
        let sighashes = chain
            .wallet()
            .sighashes(&transaction, &request.values)
            .unwrap();
        let key = chain.roster().member(MemberId::new(0)).unwrap().schnorr;
        assert_eq!(shares.len(), transaction.input.len());
        for (share, sighash) in shares.iter().zip(sighashes) {
            let signature = schnorr::Signature::from_slice(share.as_bytes()).unwrap();
            Secp256k1::new()
                .verify_schnorr(&signature, &Message::from_digest(sighash), &key)
                .unwrap();
        }
        shares.into_inner()
    }

    /// An honest peg-out of a plan, on the attacker's chain.
    pub(crate) fn batch(&mut self, plan: &Plan) -> PegOutRequest {
        pegout::request(&mut self.honest, plan)
    }

    /// What a chain that forks off here has to show; then it is forgotten.
    pub(crate) fn on_a_fork<T>(&mut self, build: impl FnOnce(&mut Honest) -> T) -> T {
        let kept = self.honest.links.clone();
        let built = build(&mut self.honest);
        self.honest.links = kept;
        built
    }

    /// Mines a Bitcoin block with these transactions a minute after the tip.
    pub(crate) fn mine(&mut self, transactions: Vec<Transaction>) -> BitcoinBlock {
        let root = merkle_root(&transactions);
        self.mine_root(transactions, root)
    }

    /// The same under any Merkle root.
    pub(crate) fn mine_root(
        &mut self,
        transactions: Vec<Transaction>,
        root: [u8; 32],
    ) -> BitcoinBlock {
        let header = self.miner.child(self.miner.tip().time + 60, |header| {
            header.merkle_root = TxMerkleNode::from_byte_array(root);
        });
        self.miner.headers.push(header);
        BitcoinBlock {
            transactions,
            height: self.miner.height(),
            hash: header.block_hash(),
        }
    }

    /// Mines so many blocks on top.
    pub(crate) fn bury(&mut self, blocks: u32) {
        for _block in 0..blocks {
            self.miner.mine(self.miner.tip().time + 60, 0);
        }
    }

    /// Sends headers of the Bitcoin chain from one height to another.
    pub(crate) fn headers(&mut self, from: u32, to: u32) -> Reply {
        let headers = BoundedVec::new(self.miner.bytes(from, to)).unwrap();
        self.signer.ask(Request::BitcoinHeaders(headers))
    }

    /// Feeds the signer with every header that it may lack, up to the tip; it takes them.
    pub(crate) fn feed(&mut self) {
        // A chain that is open goes on with children of headers that it has.
        let height = self.miner.height();
        let from = if self.opened {
            height.saturating_sub(1_000).max(1)
        } else {
            0
        };
        let reply = self.headers(from, height);
        self.stands_at_the_tip(&reply);
        self.opened = true;
    }

    pub(crate) fn stands_at_the_tip(&self, reply: &Reply) {
        let Reply::Bitcoin(BitcoinStanding { tip: Some(tip), .. }) = reply else {
            panic!("expected a standing of the Bitcoin chain, found {reply:?}");
        };
        assert_eq!(*tip, self.miner.tip_of());
    }
}

/// Changes the items of a bounded sequence.
pub(crate) fn edit<T, const N: usize>(
    items: &mut BoundedVec<T, N>,
    change: impl FnOnce(&mut Vec<T>),
) {
    let mut inner = std::mem::take(items).into_inner();
    change(&mut inner);
    *items = BoundedVec::new(inner).unwrap();
}
