//! Client to server: one text frame into one typed request. Runs outside every lock.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

use crate::signaling::{
    event::Data,
    hub::Older,
    labels::{ErrorCode, MessageKind},
    meta::Entries,
};

/// Largest integer that every JSON parser keeps exact (2^53 − 1).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A well-formed request.
#[derive(Debug)]
pub struct Request<'a> {
    pub(crate) id: Option<u64>,
    pub(crate) body: Body<'a>,
}

/// A frame that is not a request, and what to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    pub(crate) kind: MessageKind,
    pub(crate) id: Option<u64>,
    pub(crate) code: ErrorCode,
    pub(crate) message: &'static str,
}

impl Malformed {
    /// What a binary frame is on a connection that did not say that it reads them, or of a dialect without them.
    pub const BINARY: Self = Self {
        kind: MessageKind::Binary,
        id: None,
        code: ErrorCode::BadFrame,
        message: "binary frames are for connections with bin in their caps",
    };

    /// What a frame above the limit is. The connection cannot go on after it.
    pub const OVERSIZE: Self = Self {
        kind: MessageKind::Oversize,
        id: None,
        code: ErrorCode::TooLarge,
        message: "the frame is longer than limits.frame",
    };

    const fn frame(message: &'static str) -> Self {
        Self {
            kind: MessageKind::Malformed,
            id: None,
            code: ErrorCode::BadFrame,
            message,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Body<'a> {
    Hello(Hello<'a>),
    Join(Join<'a>),
    Leave {
        room: Cow<'a, str>,
    },
    Sig(Sig<'a>),
    Send(Send<'a>),
    Meta(Change<'a>),
    Room {
        change: Change<'a>,
        if_version: Option<u64>,
    },
    Who(Who<'a>),
    Ice,
    Auth {
        token: Cow<'a, str>,
    },
    Ack {
        seq: u64,
    },
    Ping {
        n: u64,
    },
    Bye,
}

#[derive(Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) versions: Vec<u64>,
    pub(crate) token: Option<Cow<'a, str>>,
    pub(crate) peer: Option<Cow<'a, str>>,
    pub(crate) resume: Option<Resume<'a>>,
    /// What the client understands beyond the base.
    pub(crate) caps: Vec<Cow<'a, str>>,
    pub(crate) meta: Option<Entries<'a>>,
}

impl Hello<'_> {
    pub(crate) fn older(&self) -> Option<Older<'_>> {
        self.resume.as_ref().map(|resume| Older {
            sid: &resume.sid,
            key: &resume.key,
            seen: resume.seq,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resume<'a> {
    #[serde(borrow)]
    pub(crate) sid: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) key: Cow<'a, str>,
    pub(crate) seq: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Join<'a> {
    pub(crate) room: Cow<'a, str>,
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) meta: Option<Entries<'a>>,
    pub(crate) max: Option<u64>,
    pub(crate) create: bool,
}

#[derive(Debug)]
pub(crate) struct Sig<'a> {
    pub(crate) room: Cow<'a, str>,
    pub(crate) to: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) correlation: Option<Cow<'a, str>>,
}

#[derive(Debug)]
pub(crate) struct Send<'a> {
    pub(crate) room: Cow<'a, str>,
    /// `None` is the whole room.
    pub(crate) to: Option<Vec<Cow<'a, str>>>,
    pub(crate) data: Data<'a>,
    pub(crate) reliable: bool,
}

#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) room: Cow<'a, str>,
    pub(crate) set: Option<Entries<'a>>,
    pub(crate) del: Vec<Cow<'a, str>>,
}

#[derive(Debug)]
pub(crate) struct Who<'a> {
    pub(crate) room: Cow<'a, str>,
    pub(crate) filter: Vec<(Cow<'a, str>, Value)>,
    pub(crate) after: Option<Cow<'a, str>>,
}

/// Every field of every request, unread. Duplicates are an error: two readers of the same frame must not see two messages.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Fields<'a> {
    #[serde(borrow)]
    t: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    v: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    peer: Option<&'a RawValue>,
    #[serde(borrow)]
    resume: Option<&'a RawValue>,
    #[serde(borrow)]
    caps: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    max: Option<&'a RawValue>,
    #[serde(borrow)]
    create: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    cid: Option<&'a RawValue>,
    #[serde(borrow)]
    rel: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<&'a RawValue>,
    #[serde(borrow)]
    del: Option<&'a RawValue>,
    #[serde(borrow, rename = "if")]
    if_version: Option<&'a RawValue>,
    #[serde(borrow)]
    filter: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent: a payload may be `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A string that borrows from the frame unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A field's problem; becomes `bad_request`.
type Wrong = &'static str;

pub(super) fn read<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>, wrong: Wrong) -> Result<Option<T>, Wrong> {
    match field {
        None => Ok(None),
        // A client that writes `null` for "nothing" means nothing. (Payloads do not come through here.)
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map(Some).map_err(|_| wrong),
    }
}

fn text<'a>(field: Option<&'a RawValue>, wrong: Wrong) -> Result<Option<Cow<'a, str>>, Wrong> {
    Ok(read::<Text<'a>>(field, wrong)?.map(|text| text.0))
}

pub(super) fn integer(field: Option<&RawValue>, wrong: Wrong) -> Result<Option<u64>, Wrong> {
    match read::<u64>(field, wrong)? {
        Some(number) if number > MAX_INTEGER => Err(wrong),
        number => Ok(number),
    }
}

fn texts<'a>(field: Option<&'a RawValue>, wrong: Wrong) -> Result<Option<Vec<Cow<'a, str>>>, Wrong> {
    let texts = read::<Vec<Text<'a>>>(field, wrong)?;
    Ok(texts.map(|texts| texts.into_iter().map(|text| text.0).collect()))
}

/// The room of a request that names one.
pub(super) fn room<'a>(field: Option<&'a RawValue>) -> Result<Cow<'a, str>, Wrong> {
    text(field, "room must be a string")?.ok_or("room is missing")
}

/// The receivers of a `send`; `None` is the whole room.
pub(super) fn to<'a>(field: Option<&'a RawValue>) -> Result<Option<Vec<Cow<'a, str>>>, Wrong> {
    let wrong = "to must be a string or an array of strings";
    match field {
        Some(raw) if raw.get().starts_with('[') => texts(Some(raw), wrong),
        one => Ok(text(one, wrong)?.map(|one| vec![one])),
    }
}

impl<'a> Fields<'a> {
    fn room(&self) -> Result<Cow<'a, str>, Wrong> {
        room(self.room)
    }

    fn hello(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Hello(Hello {
            versions: read(self.v, "v must be an array of integers")?.ok_or("v is missing")?,
            token: text(self.token, "token must be a string")?,
            peer: text(self.peer, "peer must be a string")?,
            resume: read(self.resume, "resume must be an object with sid, key and seq")?,
            caps: texts(self.caps, "caps must be an array of strings")?.unwrap_or_default(),
            meta: read(self.meta, "meta must be an object")?,
        }))
    }

    fn join(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Join(Join {
            room: self.room()?,
            key: text(self.key, "key must be a string")?,
            meta: read(self.meta, "meta must be an object")?,
            max: match integer(self.max, "max must be a positive integer")? {
                Some(0) => return Err("max must be a positive integer"),
                max => max,
            },
            create: read(self.create, "create must be a boolean")?.unwrap_or(true),
        }))
    }

    fn sig(&self) -> Result<Body<'a>, Wrong> {
        let kind = text(self.kind, "kind must be a string")?.ok_or("kind is missing")?;
        let needs_data = match &*kind {
            "offer" | "answer" | "cand" => true,
            "end" | "restart" | "bye" => false,
            other if is_extension(other) => false,
            _ => return Err("kind must be offer, answer, cand, end, restart, bye or x-…"),
        };
        if needs_data && self.data.is_none() {
            return Err("data is missing");
        }
        let correlation = text(self.cid, "cid must be a string")?;
        if correlation.as_ref().is_some_and(|cid| cid.len() > 64) {
            return Err("cid is longer than 64 bytes");
        }
        Ok(Body::Sig(Sig {
            room: self.room()?,
            to: text(self.to, "to must be a string")?.ok_or("to is missing")?,
            kind,
            data: self.data,
            correlation,
        }))
    }

    fn send(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Send(Send {
            room: self.room()?,
            to: to(self.to)?,
            data: Data::Json(self.data.ok_or("data is missing")?.get()),
            reliable: read(self.rel, "rel must be a boolean")?.unwrap_or(false),
        }))
    }

    fn change(&self) -> Result<Change<'a>, Wrong> {
        let set = read(self.set, "set must be an object")?;
        let del = texts(self.del, "del must be an array of strings")?;
        if set.is_none() && del.is_none() {
            return Err("set or del is missing");
        }
        Ok(Change {
            room: self.room()?,
            set,
            del: del.unwrap_or_default(),
        })
    }

    fn who(&self) -> Result<Body<'a>, Wrong> {
        let filter = read::<Entries<'a>>(self.filter, "filter must be an object")?;
        let filter = filter.map(|filter| filter.0).unwrap_or_default();
        if filter.len() > 8 {
            return Err("filter has more than 8 keys");
        }
        let mut parsed = Vec::with_capacity(filter.len());
        for (key, value) in filter {
            parsed.push((
                key,
                serde_json::from_str(value.get()).map_err(|_| "filter is nested too deep")?,
            ));
        }
        let after = text(self.after, "after must be a string")?;
        Ok(Body::Who(Who {
            room: self.room()?,
            filter: parsed,
            after,
        }))
    }

    fn ping(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Ping {
            n: integer(self.n, "n must be an integer from 0 to 2^53-1")?.unwrap_or(0),
        })
    }

    fn ack(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Ack {
            seq: integer(self.seq, "seq must be an integer from 0 to 2^53-1")?.ok_or("seq is missing")?,
        })
    }

    fn auth(&self) -> Result<Body<'a>, Wrong> {
        Ok(Body::Auth {
            token: text(self.token, "token must be a string")?.ok_or("token is missing")?,
        })
    }
}

/// `x-` and 1 to 32 of `a-z 0-9 -`.
fn is_extension(kind: &str) -> bool {
    kind.strip_prefix("x-").is_some_and(|rest| {
        (1..=32).contains(&rest.len())
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

impl<'a> Request<'a> {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`Malformed`] with the answer to give when it is not a request of this protocol.
    pub fn parse(frame: &'a str) -> Result<Self, Malformed> {
        // The derived reader would take an array as well.
        if !frame.trim_ascii_start().starts_with('{') {
            return Err(Malformed::frame("a frame must be one JSON object"));
        }
        let fields: Fields<'a> =
            serde_json::from_str(frame).map_err(|_| Malformed::frame("a frame must be one JSON object"))?;
        let Ok(Some(kind)) = text(fields.t, "") else {
            return Err(Malformed::frame("t must be a string"));
        };
        let Ok(id) = integer(fields.id, "") else {
            return Err(Malformed::frame("id must be an integer from 0 to 2^53-1"));
        };
        let body = match &*kind {
            "hello" => fields.hello(),
            "join" => fields.join(),
            "leave" => fields.room().map(|room| Body::Leave { room }),
            "sig" => fields.sig(),
            "send" => fields.send(),
            "meta" => fields.change().map(Body::Meta),
            "room" => fields.change().and_then(|change| {
                let if_version = integer(fields.if_version, "if must be an integer")?;
                Ok(Body::Room { change, if_version })
            }),
            "who" => fields.who(),
            "ice" => Ok(Body::Ice),
            "auth" => fields.auth(),
            "ack" => fields.ack(),
            "ping" => fields.ping(),
            "bye" => Ok(Body::Bye),
            _ => {
                let (kind, code) = (MessageKind::Unknown, ErrorCode::UnknownType);
                return Err(Malformed {
                    kind,
                    id,
                    code,
                    message: "this server does not know that t",
                });
            }
        };
        let (kind, code) = (MessageKind::Malformed, ErrorCode::BadRequest);
        body.map(|body| Self { id, body }).map_err(|message| Malformed {
            kind,
            id,
            code,
            message,
        })
    }

    /// What kind of message this is.
    pub(crate) const fn kind(&self) -> MessageKind {
        match self.body {
            Body::Hello(_) => MessageKind::Hello,
            Body::Join(_) => MessageKind::Join,
            Body::Leave { .. } => MessageKind::Leave,
            Body::Sig(_) => MessageKind::Sig,
            Body::Send(_) => MessageKind::Send,
            Body::Meta(_) => MessageKind::Meta,
            Body::Room { .. } => MessageKind::Room,
            Body::Who(_) => MessageKind::Who,
            Body::Ice => MessageKind::Ice,
            Body::Auth { .. } => MessageKind::Auth,
            Body::Ack { .. } => MessageKind::Ack,
            Body::Ping { .. } => MessageKind::Ping,
            Body::Bye => MessageKind::Bye,
        }
    }

    /// The session that a `hello` comes back from.
    pub(crate) fn older(&self) -> Option<Older<'_>> {
        match &self.body {
            Body::Hello(hello) => hello.older(),
            _ => None,
        }
    }

    /// What the driver has to find out before the hub can carry this out.
    pub fn needs(&self) -> Needs<'_> {
        match &self.body {
            Body::Hello(hello) => Needs::Welcome {
                token: hello.token.as_deref(),
            },
            Body::Auth { token } => Needs::Identity { token },
            Body::Ice => Needs::Ice,
            _ => Needs::Nothing,
        }
    }
}

/// What the driver has to find out before the hub can carry out a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs<'a> {
    /// Nothing.
    Nothing,
    /// The identity behind the token (or behind none), and ICE servers for it.
    Welcome {
        /// As given in `hello`.
        token: Option<&'a str>,
    },
    /// The identity behind the token.
    Identity {
        /// As given in `auth`.
        token: &'a str,
    },
    /// The identity behind the token of the upgrade, if the connection has not been welcomed: for dialects that come to this again
    /// and again, and have no word for ICE servers.
    Name,
    /// ICE servers for the connection's user.
    Ice,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(frame: &str) -> Malformed {
        Request::parse(frame).unwrap_err()
    }

    #[test]
    fn junk_is_a_bad_frame() {
        for frame in [
            "",
            "x",
            "[]",
            "[1]",
            "\"hello\"",
            "null",
            "{",
            "{}x",
            "{\"t\":1}",
            "{}",
            "{\"t\":\"ping\",\"t\":\"bye\"}",
        ] {
            assert_eq!(refused(frame).code, ErrorCode::BadFrame, "{frame}");
            assert_eq!(refused(frame).kind, MessageKind::Malformed, "{frame}");
        }
    }

    #[test]
    fn an_unknown_type_keeps_its_request_number() {
        let refusal = refused(r#"{"t":"dance","id":9}"#);
        assert_eq!((refusal.code, refusal.id), (ErrorCode::UnknownType, Some(9)));
    }

    #[test]
    fn request_numbers_go_to_two_to_the_53_less_one_and_no_further() {
        assert_eq!(
            Request::parse(r#"{"t":"bye","id":9007199254740991}"#).unwrap().id,
            Some(MAX_INTEGER)
        );
        assert_eq!(
            refused(r#"{"t":"bye","id":9007199254740992}"#).code,
            ErrorCode::BadFrame
        );
        assert_eq!(refused(r#"{"t":"bye","id":-1}"#).code, ErrorCode::BadFrame);
        assert_eq!(refused(r#"{"t":"bye","id":"1"}"#).code, ErrorCode::BadFrame);
        assert_eq!(Request::parse(r#"{"t":"bye","id":null}"#).unwrap().id, None);
    }

    #[test]
    fn missing_and_wrong_fields_are_named() {
        let cases = [
            (r#"{"t":"hello"}"#, "v is missing"),
            (r#"{"t":"hello","v":1}"#, "v must be an array of integers"),
            (r#"{"t":"join"}"#, "room is missing"),
            (r#"{"t":"join","room":7}"#, "room must be a string"),
            (r#"{"t":"join","room":"r","max":0}"#, "max must be a positive integer"),
            (r#"{"t":"join","room":"r","meta":[]}"#, "meta must be an object"),
            (r#"{"t":"sig","room":"r","to":"p","kind":"offer"}"#, "data is missing"),
            (r#"{"t":"sig","room":"r","kind":"end"}"#, "to is missing"),
            (r#"{"t":"sig","room":"r","to":"p","data":1}"#, "kind is missing"),
            (r#"{"t":"send","room":"r"}"#, "data is missing"),
            (
                r#"{"t":"send","room":"r","to":[1],"data":1}"#,
                "to must be a string or an array of strings",
            ),
            (r#"{"t":"meta","room":"r"}"#, "set or del is missing"),
            (r#"{"t":"auth"}"#, "token is missing"),
        ];
        for (frame, message) in cases {
            let refusal = refused(frame);
            assert_eq!(
                (refusal.code, refusal.message),
                (ErrorCode::BadRequest, message),
                "{frame}"
            );
        }
    }

    #[test]
    fn kinds_of_signals_are_a_closed_set_with_an_open_prefix() {
        let kind = |kind: &str| {
            Request::parse(&format!(
                r#"{{"t":"sig","room":"r","to":"p","kind":"{kind}","data":0}}"#
            ))
            .is_ok()
        };
        for known in ["offer", "answer", "cand", "end", "restart", "bye", "x-a", "x-my-kind-2"] {
            assert!(kind(known), "{known}");
        }
        for unknown in [
            "",
            "Offer",
            "x-",
            "x-A",
            "x-a_b",
            "y-a",
            &format!("x-{}", "a".repeat(33)),
        ] {
            assert!(!kind(unknown), "{unknown}");
        }
        assert!(kind(&format!("x-{}", "a".repeat(32))));
    }

    #[test]
    fn a_correlation_of_64_bytes_passes_and_of_65_does_not() {
        let frame = |length: usize| {
            format!(
                r#"{{"t":"sig","room":"r","to":"p","kind":"end","cid":"{}"}}"#,
                "c".repeat(length)
            )
        };
        assert!(Request::parse(&frame(64)).is_ok());
        assert!(Request::parse(&frame(65)).is_err());
    }

    #[test]
    fn a_filter_of_8_keys_passes_and_of_9_does_not() {
        let frame = |keys: usize| {
            let keys: Vec<String> = (0..keys).map(|key| format!("\"{key}\":1")).collect();
            format!(r#"{{"t":"who","room":"r","filter":{{{}}}}}"#, keys.join(","))
        };
        assert!(Request::parse(&frame(8)).is_ok());
        assert!(Request::parse(&frame(9)).is_err());
    }

    #[test]
    fn payloads_are_borrowed_as_they_stand() {
        let frame = r#"{"t":"sig","room":"r","to":"p","kind":"offer","data": {"sdp":"v=0\r\n", "n":1.0e0} }"#;
        let request = Request::parse(frame).unwrap();
        let Body::Sig(sig) = request.body else {
            panic!("not a sig")
        };
        assert_eq!(sig.data.unwrap().get(), r#"{"sdp":"v=0\r\n", "n":1.0e0}"#);
        assert!(matches!(sig.room, Cow::Borrowed("r")));
    }

    #[test]
    fn a_payload_of_null_is_a_payload() {
        let request = Request::parse(r#"{"t":"send","room":"r","data":null}"#).unwrap();
        let Body::Send(send) = request.body else {
            panic!("not a send")
        };
        assert_eq!(send.data, Data::Json("null"));
    }

    #[test]
    fn deep_nesting_in_a_payload_is_only_bytes() {
        let deep = format!(
            r#"{{"t":"send","room":"r","data":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert!(Request::parse(&deep).is_ok());
        let deep = format!(
            r#"{{"t":"who","room":"r","filter":{{"a":{}{}}}}}"#,
            "[".repeat(2_000),
            "]".repeat(2_000)
        );
        assert_eq!(refused(&deep).message, "filter is nested too deep");
    }
}
