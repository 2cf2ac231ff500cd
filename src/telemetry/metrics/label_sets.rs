//! Labels of metrics, and the closed sets of their values.

use super::family::Label;
use super::keys::MADE_KEYS;
use crate::credentials::DEFAULT_REALM;
use crate::signaling::{CloseCode, ErrorCode, MessageKind, RelayBudget};
use crate::telemetry::labels::{
    AdminRefusal, BackplaneFault, CertificateReload, FrontFailure, FrontListener, HookAttempt, HookEnd, HookVerdict,
    IssueResult, JwksFetch, KeyResult, Method, ProbeFault, ProbeTransport, QuotaGauge, RecordKind, ReloadResult, Route,
    StatusClass, Surface, TokenFailure, TokenMemory,
};
use crate::telemetry::{
    DtlsEnd, DtlsPhase, DtlsRefusal, SendFailure, StreamEnd, StreamKind, StreamRefusal, build_info,
};
use crate::{fleet, turn};

macro_rules! label {
    ($name:literal, $set:ty) => {
        Label {
            name: $name,
            values: || <$set>::ALL.iter().map(|value| value.as_label()).collect(),
        }
    };
}

pub(super) const TRANSPORT: Label = label!("transport", turn::Transport);
pub(super) const FAMILY: Label = label!("family", turn::Family);
pub(super) const DIRECTION: Label = label!("direction", turn::Direction);
pub(super) const ANSWER: Label = label!("answer", turn::Answer);
pub(super) const DROP_REASON: Label = label!("reason", turn::DropReason);
pub(super) const AUTH_FAILURE: Label = label!("reason", turn::AuthFailure);
pub(super) const PEER_CLASS: Label = label!("class", turn::PeerClass);
pub(super) const QUOTA: Label = label!("quota", turn::QuotaKind);
pub(super) const PEER_ERROR: Label = label!("result", turn::PeerErrorEnd);
pub(super) const REDIRECT: Label = label!("reason", turn::RedirectReason);
pub(super) const DISCOVERY_ANSWER: Label = label!("kind", turn::DiscoveryAnswer);
pub(super) const RESOURCE: Label = label!("quota", QuotaGauge);
pub(super) const ALLOCATE_REFUSAL: Label = label!("reason", turn::AllocateRefusal);
pub(super) const ISSUE_REFUSAL: Label = Label {
    name: "reason",
    values: || IssueResult::REFUSALS.iter().map(|value| value.as_label()).collect(),
};
pub(super) const RATE: Label = label!("limit", turn::RateKind);
pub(super) const MOVE_END: Label = label!("result", turn::MoveEnd);
pub(super) const CLOSE_REASON: Label = label!("reason", turn::CloseReason);
pub(super) const INITIATOR: Label = label!("by", turn::Initiator);
pub(super) const CONNECTION_END: Label = label!("reason", turn::ConnectionEnd);
pub(super) const SEND_FAILURE: Label = label!("reason", SendFailure);
pub(super) const STREAM: Label = label!("transport", StreamKind);
pub(super) const STREAM_END: Label = label!("reason", StreamEnd);
pub(super) const DTLS_PHASE: Label = label!("phase", DtlsPhase);
pub(super) const DTLS_END: Label = label!("reason", DtlsEnd);
pub(super) const DTLS_REFUSAL: Label = label!("reason", DtlsRefusal);
pub(super) const REFUSAL: Label = label!("reason", StreamRefusal);
pub(super) const FRONT_FAILURE: Label = label!("reason", FrontFailure);
pub(super) const CERTIFICATE_RELOAD: Label = label!("result", CertificateReload);
pub(super) const LISTENER: Label = label!("listener", FrontListener);
pub(super) const MESSAGE: Label = label!("kind", MessageKind);
pub(super) const ERROR: Label = label!("code", ErrorCode);
pub(super) const RELAY_BUDGET: Label = label!("budget", RelayBudget);
pub(super) const CLOSE: Label = label!("code", CloseCode);
pub(super) const ROUTE: Label = label!("route", Route);
pub(super) const METHOD: Label = label!("method", Method);
pub(super) const STATUS: Label = label!("status", StatusClass);
pub(super) const KEY_RESULT: Label = label!("result", KeyResult);
pub(super) const SURFACE: Label = label!("surface", Surface);
pub(super) const ISSUE: Label = label!("result", IssueResult);
pub(super) const TOKEN_FAILURE: Label = label!("reason", TokenFailure);
pub(super) const HOOK_VERDICT: Label = label!("result", HookVerdict);
pub(super) const TOKEN_MEMORY: Label = label!("result", TokenMemory);
pub(super) const JWKS_FETCH: Label = label!("result", JwksFetch);
pub(super) const RECORD: Label = label!("kind", RecordKind);
pub(super) const HOOK_END: Label = label!("result", HookEnd);
pub(super) const HOOK_ATTEMPT: Label = label!("result", HookAttempt);
pub(super) const ADMIN_REFUSAL: Label = label!("reason", AdminRefusal);
pub(super) const PROBE_TRANSPORT: Label = label!("transport", ProbeTransport);
pub(super) const PROBE_FAULT: Label = label!("reason", ProbeFault);
/// `own`, `extra`, and the names of the configuration: closed by that, not by the code.
pub(super) const SERVER: Label = Label {
    name: "server",
    values: || vec!["own", "extra"],
};
pub(super) const BACKPLANE_FAULT: Label = label!("reason", BackplaneFault);
pub(super) const REVOCATIONS_FULL: Label = label!("full", turn::RevocationsFull);
pub(super) const CHANGE_ORIGIN: Label = label!("origin", fleet::ChangeOrigin);
pub(super) const RELAY_STANDING: Label = label!("standing", fleet::Standing);
pub(super) const RELOAD: Label = label!("result", ReloadResult);
/// The names of the configuration: closed by that, not by the code.
pub(super) const REALM: Label = Label {
    name: "realm",
    values: || vec![DEFAULT_REALM],
};
pub(super) const KEY: Label = Label {
    name: "key",
    values: || vec![MADE_KEYS],
};
pub(super) const LIST: Label = Label {
    name: "list",
    values: || vec![DEFAULT_REALM],
};
pub(super) const VERSION: Label = Label {
    name: "version",
    values: || vec![build_info::VERSION],
};
pub(super) const REVISION: Label = Label {
    name: "revision",
    values: || vec![build_info::REVISION],
};
pub(super) const PROFILE: Label = Label {
    name: "profile",
    values: || vec![build_info::PROFILE],
};
