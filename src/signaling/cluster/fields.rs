//! What several messages of the bus have in them, as bytes.

use std::{borrow::Cow, net::IpAddr};

use super::{
    bytes::{Reader, Writer},
    claim::{Rule, Standing},
    message::{Claim, Founding, Said},
};
use crate::signaling::{
    bans::{BanRoom, Barred},
    event::Data,
    room::Realm,
};

pub(super) fn write_claim(w: &mut Writer, claim: &Claim<'_>) {
    let standing = &claim.standing;
    w.text(&claim.peer).number(claim.since_ms).byte(claim.away.into());
    w.byte(standing.rule as u8);
    w.maybe(standing.owner, |w, owner| {
        w.array(&owner);
    });
    w.array(&standing.session);
    for digest in [standing.ousts, standing.proof] {
        w.maybe(digest, |w, digest| {
            w.array(&digest);
        });
    }
    w.text(&claim.meta);
}

pub(super) fn read_claim<'a>(r: &mut Reader<'a>) -> Option<Claim<'a>> {
    Some(Claim {
        peer: Cow::Borrowed(r.text()?),
        since_ms: r.number()?,
        away: r.flag()?,
        standing: Standing {
            rule: *Rule::ALL.get(usize::from(r.byte()?))?,
            owner: r.maybe(Reader::array)?,
            session: r.array()?,
            ousts: r.maybe(Reader::array)?,
            proof: r.maybe(Reader::array)?,
        },
        meta: Cow::Borrowed(r.text()?),
    })
}

pub(super) fn write_founding(w: &mut Writer, founding: &Founding) {
    w.maybe(founding.key_hash, |w, hash| {
        w.array(&hash);
    });
    w.array(&founding.max.to_be_bytes());
}

pub(super) fn read_founding(r: &mut Reader<'_>) -> Option<Founding> {
    Some(Founding {
        key_hash: r.maybe(Reader::array)?,
        max: u32::from_be_bytes(r.array()?),
    })
}

pub(super) fn write_said(w: &mut Writer, said: &Said<'_>) {
    match said {
        Said::Signal {
            kind,
            data,
            correlation,
        } => {
            w.byte(0).text(kind);
            for text in [data, correlation] {
                w.maybe(*text, |w, text| {
                    w.text(text);
                });
            }
        }
        Said::Message { data, reliable } => {
            match data {
                Data::Json(text) => w.byte(1).text(text),
                Data::Bytes(bytes) => w.byte(3).bytes(bytes),
            };
            w.byte((*reliable).into());
        }
        Said::Verbatim { frame } => {
            w.byte(2).text(frame);
        }
    }
}

pub(super) fn read_said<'a>(r: &mut Reader<'a>) -> Option<Said<'a>> {
    Some(match r.byte()? {
        0 => Said::Signal {
            kind: r.text()?,
            data: r.maybe(Reader::text)?,
            correlation: r.maybe(Reader::text)?,
        },
        1 => Said::Message {
            data: Data::Json(r.text()?),
            reliable: r.flag()?,
        },
        3 => Said::Message {
            data: Data::Bytes(r.bytes()?),
            reliable: r.flag()?,
        },
        2 => Said::Verbatim { frame: r.text()? },
        _ => return None,
    })
}

pub(super) fn write_maybe(w: &mut Writer, text: Option<&str>) {
    w.maybe(text, |w, text| {
        w.text(text);
    });
}

/// Where a ban holds, and for whom.
pub(super) fn write_place(w: &mut Writer, room: Option<&BanRoom>, who: &Barred) {
    w.maybe(room, |w, (realm, name)| {
        w.array(&realm.0.to_be_bytes()).text(name);
    });
    match who {
        Barred::Everybody => {
            w.byte(0);
        }
        Barred::Peer(peer) => {
            w.byte(1).text(peer);
        }
        Barred::User(user, tenant) => {
            w.byte(2).text(user);
            write_maybe(w, tenant.as_deref());
        }
        Barred::Address(IpAddr::V4(address)) => {
            w.byte(3).array(&address.octets());
        }
        Barred::Address(IpAddr::V6(address)) => {
            w.byte(4).array(&address.octets());
        }
    }
}

pub(super) fn read_place(r: &mut Reader<'_>) -> Option<(Option<BanRoom>, Barred)> {
    let room = r.maybe(|r| Some((Realm(u16::from_be_bytes(r.array()?)), r.text()?.into())))?;
    let who = match r.byte()? {
        0 => Barred::Everybody,
        1 => Barred::Peer(r.text()?.into()),
        2 => Barred::User(r.text()?.into(), r.maybe(Reader::text)?.map(Box::from)),
        3 => Barred::Address(IpAddr::from(r.array::<4>()?)),
        4 => Barred::Address(IpAddr::from(r.array::<16>()?)),
        _ => return None,
    };
    Some((room, who))
}
