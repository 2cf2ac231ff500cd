//! One operation: what it takes, what it answers, and which errors.

use axum::http::Method;
use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::{
    AllOfBuilder, Content, ContentBuilder, HttpMethod, RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::code::Code;
use super::error::Body as ProblemBody;

/// Where an operation stands in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Ice,
    Compat,
    Signaling,
    Health,
    Pages,
    Admin,
    Hub,
}

impl Tag {
    pub(super) const ALL: [(Self, &str); 7] = [
        (Self::Ice, "TURN credentials and ICE lists"),
        (
            Self::Compat,
            "The same in the forms of other services, those that `http.compat` names",
        ),
        (Self::Signaling, "The hub, and WebSockets"),
        (Self::Health, "Probes, numbers, metrics"),
        (Self::Pages, "The console, this reference, the JavaScript client"),
        (Self::Admin, "For operators: the relay and the process"),
        (Self::Hub, "For operators: rooms, bans, tokens"),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ice => "ICE",
            Self::Compat => "As another service",
            Self::Signaling => "Signaling",
            Self::Health => "Health",
            Self::Pages => "Pages",
            Self::Admin => "Admin",
            Self::Hub => "Rooms",
        }
    }
}

/// Who may, and how that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Everybody,
    /// Whoever may have credentials: with a token in one of these ways, and anybody where none is asked for.
    Client(&'static [&'static str]),
    /// The servers of a tenant alone.
    Tenant,
    /// Operators, and holders of keys for keys.
    Administrator,
    /// Operators.
    Operator,
}

/// The schemes of [`Access::Client`] where a token is in `Authorization`.
pub(super) const BEARER: Access = Access::Client(&["jwt", "realmToken", "apiKey"]);
/// The same, where a key may stand in the query too.
pub(super) const BEARER_OR_QUERY: Access = Access::Client(&["jwt", "realmToken", "apiKey", "apiKeyQuery", "keyQuery"]);

/// What errors look like.
type ErrorForm = fn() -> RefOr<Schema>;

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) tag: Tag,
    access: Access,
    summary: &'static str,
    description: Option<String>,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: Vec<(u16, Response)>,
    codes: Vec<Code>,
    error_form: Option<ErrorForm>,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Operation {
    pub(super) fn new(method: &Method, path: &'static str, tag: Tag, summary: &'static str) -> Self {
        let method = match *method {
            Method::POST => HttpMethod::Post,
            Method::PUT => HttpMethod::Put,
            Method::DELETE => HttpMethod::Delete,
            Method::PATCH => HttpMethod::Patch,
            _ => HttpMethod::Get,
        };
        Self {
            method,
            path,
            tag,
            access: Access::Everybody,
            summary,
            description: None,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            // What may become of any request.
            codes: vec![
                Code::RequestTimeout,
                Code::UriTooLong,
                Code::WrongHost,
                Code::HeaderTooLarge,
                Code::Internal,
            ],
            error_form: None,
            schemas: Vec::new(),
        }
    }

    pub(super) fn get(path: &'static str, tag: Tag, summary: &'static str) -> Self {
        Self::new(&Method::GET, path, tag, summary)
    }

    pub(super) fn post(path: &'static str, tag: Tag, summary: &'static str) -> Self {
        Self::new(&Method::POST, path, tag, summary)
    }

    pub(super) fn delete(path: &'static str, tag: Tag, summary: &'static str) -> Self {
        Self::new(&Method::DELETE, path, tag, summary)
    }

    /// More than the summary says.
    pub(super) fn says(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Who may; brings the errors that go with it.
    pub(super) fn by(mut self, access: Access) -> Self {
        self.access = access;
        let codes: &[Code] = match access {
            Access::Everybody => &[],
            Access::Client(_) => &[
                Code::TokenRequired,
                Code::InvalidToken,
                Code::ExpiredToken,
                Code::KeyRequired,
                Code::InvalidKey,
                Code::ExpiredKey,
                Code::Forbidden,
                Code::NoRealm,
                Code::OriginNotAllowed,
                Code::KeyDisabled,
                Code::RateLimited,
                Code::QuotaExceeded,
                Code::AuthUnavailable,
            ],
            Access::Tenant | Access::Administrator => &[
                Code::KeyRequired,
                Code::InvalidKey,
                Code::ExpiredKey,
                Code::Forbidden,
                Code::OriginNotAllowed,
                Code::KeyDisabled,
                Code::RateLimited,
            ],
            Access::Operator => &[
                Code::TokenRequired,
                Code::InvalidToken,
                Code::NotFound,
                Code::RateLimited,
            ],
        };
        if access == Access::Operator {
            // Operators reach it by any name.
            self.codes.retain(|code| *code != Code::WrongHost);
        }
        self.fails(codes)
    }

    /// What may stand in the query.
    pub(super) fn query<P: IntoParams>(mut self) -> Self {
        self.parameters.extend(P::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// A part of the path: a text.
    pub(super) fn part(self, name: &str, description: &str) -> Self {
        self.part_of(name, description, String::schema())
    }

    /// A part of the path of some form.
    pub(super) fn part_of(mut self, name: &str, description: &str, schema: RefOr<Schema>) -> Self {
        let part = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(schema));
        self.parameters.push(part.build());
        self
    }

    /// A JSON body. Brings the errors that go with bodies.
    pub(super) fn takes<T: ToSchema>(self, required: bool, example: Value) -> Self {
        self.takes_as::<T>("application/json", required, example)
            .fails(&[Code::UnsupportedMediaType])
    }

    /// A body of another type.
    pub(super) fn takes_as<T: ToSchema>(mut self, kind: &str, required: bool, example: Value) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(self.refer::<T>()))
            .example(Some(example));
        let needed = if required { Required::True } else { Required::False };
        let body = RequestBodyBuilder::new()
            .content(kind, content.build())
            .required(Some(needed));
        self.body = Some(body.build());
        self.fails(&[Code::BodyTooLarge])
    }

    /// An answer in JSON.
    pub(super) fn answers<T: ToSchema>(self, status: u16, says: &str, example: Value) -> Self {
        self.answers_as::<T>(status, says, "application/json", example)
    }

    /// An answer of another type that is described all the same.
    pub(super) fn answers_as<T: ToSchema>(mut self, status: u16, says: &str, kind: &str, example: Value) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(self.refer::<T>()))
            .example(Some(example));
        self.answer(status, says, Some((kind, content.build())))
    }

    /// An answer that is a text or a file.
    pub(super) fn answers_text(self, status: u16, says: &str, kind: &str) -> Self {
        self.answer(status, says, Some((kind, Content::new(Some(String::schema())))))
    }

    /// A file of any type.
    pub(super) fn answers_file(self, status: u16, says: &str) -> Self {
        self.answer(status, says, Some(("*/*", Content::default())))
    }

    /// An answer without a body.
    pub(super) fn answers_nothing(self, status: u16, says: &str) -> Self {
        self.answer(status, says, None)
    }

    /// A WebSocket's handshake (RFC 6455 §4), which OpenAPI has no more words for.
    pub(super) fn upgrades(mut self) -> Self {
        // Who somebody is is judged on the socket.
        self.access = Access::Client(&["jwt", "accessTokenQuery"]);
        self.answers_nothing(
            101,
            "It is a WebSocket from now on; who is not let in is told there, and closed",
        )
        .fails(&[
            Code::UpgradeRequired,
            Code::UnsupportedVersion,
            Code::BadKey,
            Code::UnsupportedSubprotocol,
            Code::NotUpgradable,
            Code::OriginNotAllowed,
            Code::RateLimited,
            Code::TooManyConnections,
            Code::ServerFull,
            Code::NotReady,
        ])
    }

    fn answer(mut self, status: u16, says: &str, content: Option<(&str, Content)>) -> Self {
        let mut response = named(ResponseBuilder::new().description(says));
        if let Some((kind, content)) = content {
            response = response.content(kind, content);
        }
        self.answers.push((status, response.build()));
        self
    }

    /// Errors it may answer beside those of every operation.
    pub(super) fn fails(mut self, codes: &[Code]) -> Self {
        self.codes.extend_from_slice(codes);
        self
    }

    /// Errors that it never answers though every operation may.
    pub(super) fn never(mut self, codes: &[Code]) -> Self {
        self.codes.retain(|code| !codes.contains(code));
        self
    }

    /// Errors have the body of another service, and the statuses of ours.
    pub(super) fn fails_as<T: ToSchema>(mut self) -> Self {
        let _ = self.refer::<T>();
        self.error_form = Some(|| Ref::from_schema_name(T::name()).into());
        self
    }

    /// A schema that an answer refers to and does not bring.
    pub(super) fn with<T: ToSchema>(mut self) -> Self {
        let _ = self.refer::<T>();
        self
    }

    fn refer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name();
        let schema = T::schema();
        T::schemas(&mut self.schemas);
        // Texts, numbers and lists have no name worth one.
        if !matches!(&schema, RefOr::T(Schema::Object(object)) if !object.properties.is_empty())
            && !matches!(
                &schema,
                RefOr::T(Schema::AllOf(_) | Schema::OneOf(_) | Schema::AnyOf(_))
            )
        {
            return schema;
        }
        self.schemas.push((name.to_string(), schema));
        Ref::from_schema_name(name).into()
    }

    /// As it is written, where `open`: anybody may what clients may.
    pub(super) fn into_openapi(self, open: bool) -> utoipa::openapi::path::Operation {
        let id = self.id();
        let mut operation = OperationBuilder::new()
            .tag(self.tag.name())
            .summary(Some(self.summary))
            .description(self.description)
            .operation_id(Some(id))
            .request_body(self.body);
        for parameter in self.parameters {
            operation = operation.parameter(parameter);
        }
        let mut codes = self.codes;
        codes.sort_unstable();
        codes.dedup();
        let mut responses: Vec<(u16, Response)> = self.answers;
        while let Some(first) = codes.first() {
            let status = first.status();
            let (same, others): (Vec<Code>, Vec<Code>) = codes.iter().partition(|code| code.status() == status);
            responses.push((status.as_u16(), failure(&same, self.error_form)));
            codes = others;
        }
        for (status, response) in responses {
            operation = operation.response(status.to_string(), response);
        }
        let scheme = |name: &str| SecurityRequirement::new::<_, [&str; 0], _>(name, []);
        let schemes: Vec<SecurityRequirement> = match self.access {
            Access::Everybody => Vec::new(),
            Access::Client(schemes) => {
                let anybody = open.then(SecurityRequirement::default);
                anybody
                    .into_iter()
                    .chain(schemes.iter().map(|name| scheme(name)))
                    .collect()
            }
            Access::Tenant => vec![scheme("realmToken"), scheme("apiKey")],
            Access::Administrator => vec![scheme("adminToken"), scheme("apiKey")],
            Access::Operator => vec![scheme("adminToken")],
        };
        operation.securities(Some(schemes)).build()
    }

    /// `get_v1_rooms_room`: method and path, so that it stays whatever the code calls it.
    fn id(&self) -> String {
        let path = self.path.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let parts = path.split('_').filter(|part| !part.is_empty());
        let method = self.method_name();
        std::iter::once(method).chain(parts).collect::<Vec<_>>().join("_")
    }

    pub(super) const fn method_name(&self) -> &'static str {
        match self.method {
            HttpMethod::Post => "post",
            HttpMethod::Put => "put",
            HttpMethod::Delete => "delete",
            HttpMethod::Patch => "patch",
            _ => "get",
        }
    }
}

/// With the header that every answer has.
fn named(response: ResponseBuilder) -> ResponseBuilder {
    response.header_ref("X-Request-Id", Ref::new("#/components/headers/RequestId"))
}

/// The answer for all errors of one status.
fn failure(codes: &[Code], form: Option<ErrorForm>) -> Response {
    let status = codes.first().map_or(500, |code| code.status().as_u16());
    let says: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.name(), code.meaning()))
        .collect();
    let mut response = named(ResponseBuilder::new().description(says.join("; ")));
    if matches!(status, 429 | 503) {
        response = response.header_ref("Retry-After", Ref::new("#/components/headers/RetryAfter"));
    }
    if status == 401 {
        response = response.header_ref("WWW-Authenticate", Ref::new("#/components/headers/Challenge"));
    }
    // What no handler answers has our form on every path.
    let ours = codes.iter().all(|code| {
        matches!(
            code,
            Code::RequestTimeout
                | Code::BodyTooLarge
                | Code::UriTooLong
                | Code::WrongHost
                | Code::HeaderTooLarge
                | Code::Internal
        )
    });
    if let Some(form) = form.filter(|_| !ours) {
        return response.content("application/json", Content::new(Some(form()))).build();
    }
    let names = codes.iter().map(|code| code.name());
    let of_these = ObjectBuilder::new()
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .enum_values(Some([status])),
        )
        .property(
            "code",
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)),
        );
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(ProblemBody::name()))
        .item(of_these);
    let example = codes.first().map(|code| {
        json!({
            "type": "about:blank",
            "title": code.status().canonical_reason(),
            "status": status,
            "code": code.name(),
            "detail": code.meaning(),
            "requestId": "4c63899244cabca9",
        })
    });
    let content = ContentBuilder::new()
        .schema(Some(Schema::AllOf(schema.build())))
        .example(example);
    response.content("application/problem+json", content.build()).build()
}
