//! Presence data: a small JSON object whose values are kept byte for byte.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{config::Config, json::push_string};

/// The entries of an object as they stand in a frame; a key that stands there twice keeps its last value.
#[derive(Debug)]
pub(crate) struct Entries<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    // Far above any limit on keys, far below what would make the search slow.
                    if entries.len() >= 1_024 {
                        return Err(serde::de::Error::custom("too many keys"));
                    }
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some(known) => known.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Presence data of a peer, or metadata of a room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    entries: Vec<(Box<str>, Box<RawValue>)>,
}

/// Presence data past its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaTooLarge;

impl Entries<'_> {
    /// Appends the object.
    pub(crate) fn write(&self, text: &mut String) {
        text.push('{');
        for (at, (key, value)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            push_string(text, key);
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
    }
}

impl Meta {
    /// This with `set` written over it and `del` taken out, if that stays within the limits.
    pub(crate) fn changed(
        current: Option<&Arc<Self>>,
        set: Option<&Entries<'_>>,
        del: &[Cow<'_, str>],
        config: &Config,
    ) -> Result<Option<Arc<Self>>, MetaTooLarge> {
        let mut meta = current.map(|meta| (**meta).clone()).unwrap_or_default();
        for (key, value) in set.iter().flat_map(|set| set.0.iter()) {
            match meta.entries.iter_mut().find(|(known, _)| **known == **key) {
                Some(known) => known.1 = (*value).to_owned(),
                None => meta.entries.push((Box::from(&**key), (*value).to_owned())),
            }
        }
        meta.entries.retain(|(key, _)| !del.iter().any(|gone| **gone == **key));
        let bytes: usize = meta
            .entries
            .iter()
            .map(|(key, value)| key.len() + value.get().len())
            .sum();
        if meta.entries.len() > config.meta_keys || bytes > config.meta_bytes {
            return Err(MetaTooLarge);
        }
        meta.entries.shrink_to_fit();
        Ok((!meta.entries.is_empty()).then(|| Arc::new(meta)))
    }

    /// Whether every key of `filter` is here with an equal value, or with an array that has an equal element.
    pub(crate) fn matches(current: Option<&Arc<Self>>, filter: &[(Cow<'_, str>, Value)]) -> bool {
        filter.iter().all(|(key, wanted)| {
            let found = current.and_then(|meta| meta.entries.iter().find(|(known, _)| **known == **key));
            let Some((_, found)) = found else { return false };
            match serde_json::from_str::<Value>(found.get()) {
                Ok(Value::Array(elements)) if !wanted.is_array() => elements.contains(wanted),
                Ok(found) => found == *wanted,
                // Nested deeper than the parser follows; such a value equals nothing.
                Err(_) => false,
            }
        })
    }

    /// One value, as JSON.
    pub(crate) fn value<'a>(current: Option<&'a Arc<Self>>, key: &str) -> Option<&'a str> {
        let (_, value) = current?.entries.iter().find(|(known, _)| **known == *key)?;
        Some(value.get())
    }

    /// Whether both would be written alike.
    pub(crate) fn is_same(one: Option<&Arc<Self>>, other: Option<&Arc<Self>>) -> bool {
        let entries = |meta: Option<&Arc<Self>>| meta.map_or(0, |meta| meta.entries.len());
        let pairs = one
            .iter()
            .flat_map(|meta| &meta.entries)
            .zip(other.iter().flat_map(|meta| &meta.entries));
        entries(one) == entries(other) && { pairs }.all(|(one, other)| one.0 == other.0 && one.1.get() == other.1.get())
    }

    /// Appends the object, `{}` for none.
    pub(crate) fn write(current: Option<&Arc<Self>>, text: &mut String) {
        text.push('{');
        for (at, (key, value)) in current.iter().flat_map(|meta| meta.entries.iter()).enumerate() {
            if at > 0 {
                text.push(',');
            }
            push_string(text, key);
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Entries<'_> {
        serde_json::from_str(text).unwrap()
    }

    fn written(meta: Option<&Arc<Meta>>) -> String {
        let mut text = String::new();
        Meta::write(meta, &mut text);
        text
    }

    #[test]
    fn values_are_kept_byte_for_byte_and_the_last_of_two_equal_keys_counts() {
        let set = entries(r#"{"a": 1.00,"b":{ "x" : [1, 2] },"a":"\u0041"}"#);
        let meta = Meta::changed(None, Some(&set), &[], &Config::default()).unwrap();
        assert_eq!(written(meta.as_ref()), r#"{"a":"\u0041","b":{ "x" : [1, 2] }}"#);
    }

    #[test]
    fn set_and_del_change_single_keys_and_nothing_left_is_no_meta() {
        let config = Config::default();
        let meta = Meta::changed(None, Some(&entries(r#"{"a":1,"b":2}"#)), &[], &config).unwrap();
        let meta = Meta::changed(
            meta.as_ref(),
            Some(&entries(r#"{"b":3,"c":4}"#)),
            &["a".into()],
            &config,
        )
        .unwrap();
        assert_eq!(written(meta.as_ref()), r#"{"b":3,"c":4}"#);
        let meta = Meta::changed(meta.as_ref(), None, &["b".into(), "c".into(), "none".into()], &config).unwrap();
        assert!(meta.is_none());
        assert_eq!(written(None), "{}");
    }

    #[test]
    fn presence_data_at_its_limits_is_kept_and_past_them_refused() {
        let config = Config {
            meta_bytes: 5,
            meta_keys: 2,
            ..Config::default()
        };
        let fits = Meta::changed(None, Some(&entries(r#"{"a":"1"}"#)), &[], &config);
        assert!(fits.is_ok());
        assert!(Meta::changed(None, Some(&entries(r#"{"a":"12"}"#)), &[], &config).is_ok());
        assert!(Meta::changed(None, Some(&entries(r#"{"a":"123"}"#)), &[], &config).is_err());
        assert!(Meta::changed(None, Some(&entries(r#"{"a":1,"b":2}"#)), &[], &config).is_ok());
        let config = Config {
            meta_keys: 2,
            ..Config::default()
        };
        assert!(Meta::changed(None, Some(&entries(r#"{"a":1,"b":2,"c":3}"#)), &[], &config).is_err());
    }

    #[test]
    fn a_filter_matches_equal_values_and_elements_of_arrays() {
        let set = entries(r#"{"role":"host","caps":["a","b"],"n":1}"#);
        let meta = Meta::changed(None, Some(&set), &[], &Config::default()).unwrap();
        let matches = |filter: &str| {
            let filter: Vec<(Cow<'_, str>, Value)> = serde_json::from_str::<serde_json::Map<String, Value>>(filter)
                .unwrap()
                .into_iter()
                .map(|(key, value)| (Cow::Owned(key), value))
                .collect();
            Meta::matches(meta.as_ref(), &filter)
        };
        assert!(matches(r#"{}"#));
        assert!(matches(r#"{"role":"host","caps":"b"}"#));
        assert!(matches(r#"{"caps":["a","b"]}"#));
        assert!(!matches(r#"{"caps":"c"}"#));
        assert!(!matches(r#"{"role":"guest"}"#));
        assert!(!matches(r#"{"none":null}"#));
        assert!(!Meta::matches(None, &[("a".into(), Value::Null)]));
    }
}
