//! One file per method. Each follows the numbered steps of its RFC section, in their order.

mod allocate;
mod bind;
mod binding;
mod channel_bind;
mod channel_data;
mod connect;
mod connection_attempt;
mod connection_bind;
mod create_permission;
mod elsewhere;
mod peer;
mod peer_error;
mod refresh;
mod resume;
mod send;

pub(super) use peer::Judge;

use super::allocation::Allocation;
use super::auth::{Account, Authenticated, Grant, Identity, Purpose, Refusal};
use super::input::Now;
use super::request::{Reject, Request, Signer};
use super::server::Server;
use super::verdict::{Answer, AuthFailure, Verdict};
use crate::wire::{AttributeType, Message, Method};

/// The comprehension-required attributes this server understands, whatever the message (RFC 8489 §6.3.1). Those that a
/// message has no use for are ignored.
const fn understood(kind: AttributeType) -> bool {
    matches!(
        kind,
        AttributeType::MAPPED_ADDRESS
            | AttributeType::USERNAME
            | AttributeType::ERROR_CODE
            | AttributeType::UNKNOWN_ATTRIBUTES
            | AttributeType::CHANNEL_NUMBER
            | AttributeType::LIFETIME
            | AttributeType::XOR_PEER_ADDRESS
            | AttributeType::DATA
            | AttributeType::REALM
            | AttributeType::NONCE
            | AttributeType::ACCESS_TOKEN
            | AttributeType::XOR_RELAYED_ADDRESS
            | AttributeType::REQUESTED_ADDRESS_FAMILY
            | AttributeType::EVEN_PORT
            | AttributeType::REQUESTED_TRANSPORT
            | AttributeType::DONT_FRAGMENT
            | AttributeType::PASSWORD_ALGORITHM
            | AttributeType::USERHASH
            | AttributeType::XOR_MAPPED_ADDRESS
            | AttributeType::RESERVATION_TOKEN
            | AttributeType::CONNECTION_ID
    )
}

impl Server {
    /// Refuses comprehension-required attributes that are not understood (RFC 8489 §6.3.1): after authentication.
    fn refuse_unknown(&self, message: &Message<'_>) -> Result<(), Reject> {
        self.refuse_unknown_but(message, |_| false)
    }

    /// As [`Server::refuse_unknown`], where one method understands more.
    fn refuse_unknown_but(&self, message: &Message<'_>, more: impl Fn(AttributeType) -> bool) -> Result<(), Reject> {
        // Without a driver that can set DF, DONT-FRAGMENT is one of them (RFC 8656 §7.2 step 4, §11.2).
        let dont_fragment = self.config.dont_fragment;
        // And so is ACCESS-TOKEN where nobody's tokens are taken.
        let tokens = self.config.third_party.is_some();
        let unknown = message.unknown_required(|kind| match kind {
            AttributeType::DONT_FRAGMENT if !dont_fragment => more(kind),
            AttributeType::ACCESS_TOKEN if !tokens => more(kind),
            _ => understood(kind) || more(kind),
        });
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Reject::Unknown(unknown))
        }
    }

    /// Authenticates a request that concerns a living allocation: Refresh, CreatePermission, ChannelBind (RFC 8656 §5).
    /// The allocation's index, and the key for the answer; or the verdict, when the request is answered already.
    fn authorize(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Result<(u32, Signer), Verdict> {
        let found = self.allocations.find_live(&request.from).map(|(index, _)| index);
        let (index, signer) = self.authorize_for(now, request, message, found)?;
        self.heard(now, index, &request.from);
        Ok((index, signer))
    }

    /// As [`Server::authorize`], for the allocation that the request is about.
    fn authorize_for(
        &mut self,
        now: Now,
        request: &Request,
        message: &Message<'_>,
        index: Option<u32>,
    ) -> Result<(u32, Signer), Verdict> {
        let allocation = index.and_then(|index| self.allocations.get(index));
        let result = self
            .authenticator
            .authenticate(now, &request.from, message, allocation, Purpose::Other);
        let Authenticated {
            signer,
            identity,
            grant,
        } = match result {
            Ok(authenticated) => authenticated,
            Err(refusal) => return Err(self.refuse_authentication(now, request, refusal)),
        };
        if let Err(reject) = self.refuse_unknown(message) {
            return Err(self.reject(now, request, reject, Some(&signer)));
        }
        let Some(index) = index else {
            return Err(self.reject(now, request, Answer::AllocationMismatch.into(), Some(&signer)));
        };
        match identity {
            Identity::Owner => Ok((index, signer)),
            Identity::Other(account) if self.may_renew(index, message, &account) && grant.is_some() => {
                self.renew(now, index, account, &signer, grant);
                Ok((index, signer))
            }
            Identity::Other(account) => {
                let whom = (account.realm, Some(&*account.username));
                self.fail_authentication(now, &request.from, whom, AuthFailure::WrongUser);
                Err(self.reject(now, request, Answer::WrongCredentials.into(), Some(&signer)))
            }
        }
    }

    /// Whether a new token may take the place of the one that an allocation was made with: in a Refresh from where the client
    /// is (RFC 7635 §4.1.2), and within the realm. Not from elsewhere: a ticket and any token of anybody would do then.
    fn may_renew(&self, index: u32, message: &Message<'_>, account: &Account) -> bool {
        let renewable = |held: &Allocation| held.token_expires.is_some() && held.realm == account.realm;
        message.method() == Method::REFRESH
            && !message.has(AttributeType::MOBILITY_TICKET)
            && self.allocations.get(index).is_some_and(renewable)
    }

    /// From now on the allocation belongs to the holder of this token. It goes on to count for the first one.
    fn renew(&mut self, now: Now, index: u32, account: Account, signer: &Signer, grant: Option<Grant>) {
        if let (Some(allocation), Some(grant)) = (self.allocations.get_mut(index), grant) {
            allocation.username = account.username;
            allocation.algorithm = account.algorithm;
            allocation.challenge = account.challenge;
            allocation.signer = signer.clone();
            allocation.token_expires = Some(grant.ends(now));
        }
    }

    fn refuse_authentication(&mut self, now: Now, request: &Request, refusal: Refusal) -> Verdict {
        self.fail_authentication(now, &request.from, (refusal.realm, None), refusal.failure);
        self.reject(now, request, refusal.reject, None)
    }
}
