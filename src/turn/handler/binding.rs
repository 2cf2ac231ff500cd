//! Binding: where do my packets come from? (RFC 8489 §6.3.1, §12), and what does my NAT let in? (RFC 5780 §6.1)

use std::net::SocketAddr;

use crate::turn::five_tuple::{ClientAddr, FiveTuple, Transport};
use crate::turn::input::Now;
use crate::turn::nat_discovery::{MAX_PADDING, Spot};
use crate::turn::request::{Reject, Request};
use crate::turn::server::Server;
use crate::turn::verdict::{Answer, DiscoveryAnswer, DropReason, Verdict};
use crate::wire::attribute::{
    ChangeRequest, MappedAddress, OtherAddress, Padding, ResponseOrigin, ResponsePort, XorMappedAddress,
};
use crate::wire::{AttributeType, Message};

/// What a client wants to know about its NAT.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    change: ChangeRequest,
    /// Another port of the client for the answer to go to.
    response_port: Option<u16>,
    /// Bytes of PADDING.
    padding: Option<usize>,
    /// There was any of the attributes.
    explicitly: bool,
}

impl Server {
    /// Answered to anybody, with or without credentials (RFC 8656 §7.2 step 1 leaves it open), with XOR-MAPPED-ADDRESS and
    /// nothing more: 32 bytes for a request of 20 (44 over IPv6). Only where NAT discovery is configured is more said. The
    /// source may be forged, so every answer counts against what one is due.
    pub(in crate::turn) fn handle_binding(&mut self, now: Now, request: &Request, message: &Message<'_>) -> Verdict {
        let discovery = self.config.nat_discovery.as_ref();
        let spot = discovery.and_then(|discovery| discovery.spot(&request.from));
        let is_udp = request.from.transport == Transport::Udp;
        let response_port = discovery.is_some_and(|discovery| discovery.response_port);
        // Without another address CHANGE-REQUEST is unknown (RFC 5780 §6.1). A stream can be answered by nothing but itself.
        let understood = |kind| match kind {
            AttributeType::CHANGE_REQUEST | AttributeType::PADDING => spot.is_some() && is_udp,
            AttributeType::RESPONSE_PORT => spot.is_some() && is_udp && response_port,
            _ => false,
        };
        if let Err(reject) = self.refuse_unknown_but(message, understood) {
            return self.reject(now, request, reject, None);
        }
        let Some(spot) = spot else {
            return self.answer_binding(now, request);
        };
        match asked(message) {
            Err(reject) => self.reject(now, request, reject, None),
            Ok(asked) if self.admit_discovery(now, &request.from) => self.answer_discovery(now, request, spot, asked),
            Ok(asked) if asked.explicitly => Verdict::Dropped(DropReason::RateLimited),
            // Its sender may never have heard of RFC 5780, and the short answer is no weapon.
            Ok(_) => {
                self.stats.discovery_answers[DiscoveryAnswer::Short.index()] += 1;
                self.answer_binding(now, request)
            }
        }
    }

    fn answer_binding(&mut self, now: Now, request: &Request) -> Verdict {
        if !self.admit_unauthenticated(now, &request.from) {
            return Verdict::Dropped(DropReason::RateLimited);
        }
        let mapped = XorMappedAddress(request.from.client.0);
        self.succeed(request, None, |builder| {
            builder.attribute(&mapped);
        })
    }

    /// The answer of RFC 5780 §6.1, from where and to where the client wants it.
    fn answer_discovery(&mut self, now: Now, request: &Request, at: Spot, asked: Asked) -> Verdict {
        if !self.admit_unauthenticated(now, &request.from) {
            return Verdict::Dropped(DropReason::RateLimited);
        }
        let ClientAddr(client) = request.from.client;
        let from = at.changed(asked.change);
        let port = asked.response_port.unwrap_or(client.port());
        let answer = Request {
            from: FiveTuple {
                transport: request.from.transport,
                // Never another address: that would make the server throw at whom a client points.
                client: ClientAddr(SocketAddr::new(client.ip(), port)),
                server: from.listen(),
            },
            ..*request
        };
        let is_moved = answer.from != request.from;
        let kind = if is_moved {
            DiscoveryAnswer::Moved
        } else {
            DiscoveryAnswer::Told
        };
        self.stats.discovery_answers[kind.index()] += 1;
        self.succeed(&answer, None, |builder| {
            builder
                .attribute(&XorMappedAddress(client))
                .attribute(&MappedAddress(client))
                .attribute(&ResponseOrigin(from.advertised()))
                .attribute(&OtherAddress(at.other().advertised()));
            if let Some(len) = asked.padding {
                builder.attribute(&Padding(&[0; MAX_PADDING][..len]));
            }
        })
    }
}

/// The attributes of RFC 5780 §7 that requests have.
fn asked(message: &Message<'_>) -> Result<Asked, Reject> {
    let bad = |_| Reject::from(Answer::BadRequest);
    let change = message.find::<ChangeRequest>().map_err(bad)?;
    let response_port = message.find::<ResponsePort>().map_err(bad)?;
    let padding = message.find::<Padding<'_>>().map_err(bad)?;
    // Both together would aim fragments at a port that did not ask for them (RFC 5780 §7.5).
    if response_port.is_some() && padding.is_some() {
        return Err(Answer::BadRequest.into());
    }
    if response_port == Some(ResponsePort(0)) {
        return Err(Answer::BadRequest.into());
    }
    Ok(Asked {
        change: change.unwrap_or_default(),
        response_port: response_port.map(|port| port.0),
        // No more than the client has sent itself: an answer is never a multiple of its request.
        padding: padding.map(|padding| padding.0.len().min(MAX_PADDING)),
        explicitly: change.is_some() || response_port.is_some() || padding.is_some(),
    })
}
