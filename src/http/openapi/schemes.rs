//! What all operations share: how a token is shown, and the headers that every answer may have.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::{Tag as Written, TagBuilder};
use utoipa::openapi::{ComponentsBuilder, Header};

use crate::http::operation::Tag;

/// The tags that are used, in the order of the page.
pub(super) fn tags(used: &[Tag]) -> Vec<Written> {
    let used = Tag::ALL.into_iter().filter(|(tag, _)| used.contains(tag));
    used.map(|(tag, says)| TagBuilder::new().name(tag.name()).description(Some(says)).build())
        .collect()
}

pub(super) fn fill(components: ComponentsBuilder) -> ComponentsBuilder {
    let schemes = [
        (
            "jwt",
            bearer(
                "A token as the hub takes it, judged by `auth` (docs/authentication.md).",
                Some("JWT"),
            ),
        ),
        (
            "realmToken",
            bearer("A token of `realms.NAME.tokens`, for the servers of a tenant.", None),
        ),
        ("adminToken", bearer("A token of `admin.tokens`.", None)),
        ("basic", basic()),
        (
            "apiKey",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-Api-Key",
                "An API key of `keys.NAME`. It may be a bearer token as well.",
            ))),
        ),
        ("apiKeyQuery", in_query("apiKey")),
        ("secretKeyQuery", in_query("secretKey")),
        ("keyQuery", in_query("key")),
        ("accessTokenQuery", in_query("access_token")),
    ];
    let components = schemes
        .into_iter()
        .fold(components, |all, (name, scheme)| all.security_scheme(name, scheme));
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1));
    components
        .header(
            "RequestId",
            header(
                "Names the request in answers and in the log. A trusted proxy's is taken over.",
                text(),
            ),
        )
        .header(
            "RetryAfter",
            header("Seconds after which another try makes sense.", seconds.build()),
        )
        .header("Challenge", header("How to show a token (RFC 9110 §11.6.1).", text()))
}

fn header(says: &str, schema: Object) -> Header {
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(says))
        .build()
}

fn bearer(says: &str, format: Option<&str>) -> SecurityScheme {
    let mut scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(says));
    if let Some(format) = format {
        scheme = scheme.bearer_format(format);
    }
    SecurityScheme::Http(scheme.build())
}

fn basic() -> SecurityScheme {
    let mut scheme = Http::new(HttpAuthScheme::Basic);
    scheme.description = Some("The token is the password; the name before it is not looked at.".to_owned());
    SecurityScheme::Http(scheme)
}

fn in_query(name: &str) -> SecurityScheme {
    let says = format!("A key or a token as `{name}` in the query, where it may stand in the logs of proxies.");
    SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(name, &says)))
}
