//! `docs/signaling.schema.json` as a judge of frames. The published schema lets unknown fields pass, as clients should; here
//! they are errors, so that a field cannot appear on the wire without appearing on the page.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

fn closed(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut map: Map<String, Value> = map.into_iter().map(|(key, value)| (key, closed(value))).collect();
            if map.contains_key("properties") && map.contains_key("required") {
                map.insert("additionalProperties".into(), Value::Bool(false));
            }
            Value::Object(map)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(closed).collect()),
        other => other,
    }
}

fn validator(definition: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(include_str!("../../docs/signaling.schema.json")).unwrap();
    let Value::Object(mut schema) = closed(schema) else {
        panic!("the schema is an object")
    };
    schema.remove("anyOf");
    schema.insert("$ref".into(), json!(format!("#/$defs/{definition}")));
    jsonschema::validator_for(&Value::Object(schema)).unwrap()
}

fn judge(validator: &jsonschema::Validator, side: &str, text: &str) -> Value {
    let frame: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Err(error) = validator.validate(&frame) {
        panic!("not a {side} frame: {error}\n{text}");
    }
    frame
}

/// The frame as a value, if it is one a server may send.
pub(crate) fn server_frame(text: &str) -> Value {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("server"));
    judge(&VALIDATOR, "server", text)
}

/// The head and payload of a binary frame that a server may send.
pub(crate) fn server_binary(frame: &[u8]) -> (Value, &[u8]) {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("binaryMsg"));
    assert_eq!(frame[..2], [1, 0], "version and flags");
    let length = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
    let (header, payload) = frame[4..].split_at(length);
    (
        judge(&VALIDATOR, "server", std::str::from_utf8(header).unwrap()),
        payload,
    )
}

/// A binary frame that a client may send.
pub(crate) fn client_binary(header: &Value, payload: &[u8]) -> Vec<u8> {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("binarySend"));
    let header = header.to_string();
    judge(&VALIDATOR, "client", &header);
    let length = u16::try_from(header.len()).unwrap().to_be_bytes();
    [&[1, 0], &length[..], header.as_bytes(), payload].concat()
}

/// The frame as a value, if it is one a client may send.
pub(crate) fn client_frame(text: &str) -> Value {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("client"));
    judge(&VALIDATOR, "client", text)
}
