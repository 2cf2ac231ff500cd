//! The macro behind the schema: one declaration per key.

/// Declares a section: `name: Type = default, bounds;` under the key's documentation.
///
/// Gives the struct, its `Default`, and the `read`, `shown` and `section` that [`crate::config::load`],
/// [`crate::config::show`] and the reference page are made of.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        $struct:ident as $section:literal {
            $(
                $(#[doc = $doc:literal])*
                $key:ident: $type:ty = $default:expr $(, $check:expr)?;
            )*
        }
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $struct {
            $($(#[doc = $doc])* pub $key: $type,)*
        }

        impl Default for $struct {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $struct {
            pub(crate) fn read(reader: &mut $crate::config::load::Reader<'_>, section: &str) -> Self {
                Self {
                    $($key: reader.read(section, stringify!($key), $default, &section!(@check $($check)?)),)*
                }
            }

            pub(crate) fn shown(&self, section: &str) -> Vec<$crate::config::Shown> {
                vec![$($crate::config::Shown {
                    section: section.to_owned(),
                    name: stringify!($key),
                    value: $crate::config::value::Value::to_toml(&self.$key),
                },)*]
            }

            /// Takes back from `running` what differs and cannot change while the process runs.
            pub(crate) fn keep(&mut self, running: &Self, section: &str, changes: &mut $crate::config::Changes) {
                $(if self.$key != running.$key && !changes.note(section, stringify!($key)) {
                    self.$key = running.$key.clone();
                })*
            }

            pub(crate) fn section() -> $crate::config::Section {
                $crate::config::Section {
                    name: $section,
                    doc: &[$($section_doc),*],
                    keys: vec![$({
                        let default: $type = $default;
                        $crate::config::Key {
                            section: $section,
                            name: stringify!($key),
                            doc: &[$($doc),*],
                            expects: <$type as $crate::config::value::Value>::expects(),
                            default: $crate::config::value::Value::to_toml(&default),
                            bounds: $crate::config::value::Check::<$type>::bounds(&section!(@check $($check)?)),
                            secret: <$type as $crate::config::value::Value>::SECRET,
                        }
                    },)*],
                }
            }
        }
    };
    (@check) => { $crate::config::value::Any };
    (@check $check:expr) => { $check };
}

/// Declares the whole: the sections in the order of the reference, then those of which there can be several, each with a name
/// that the operator gives it.
macro_rules! sections {
    ($(#[doc = $doc:literal])* $struct:ident {
        $($field:ident: $section:ident,)*
    }
    several {
        $($many:ident: $each:ident, at most $most:expr;)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $struct {
            $(#[doc = concat!("`[", stringify!($field), "]`")] pub $field: $section,)*
            $(#[doc = concat!("`[", stringify!($many), ".NAME]`, by name")]
            pub $many: std::collections::BTreeMap<String, $each>,)*
        }

        impl $struct {
            pub(super) fn read(reader: &mut $crate::config::load::Reader<'_>) -> Self {
                Self {
                    $($field: $section::read(reader, stringify!($field)),)*
                    $($many: {
                        let names = reader.names(stringify!($many), $most);
                        let each = |name: String| {
                            let section = format!(concat!(stringify!($many), ".{}"), name);
                            let read = $each::read(reader, &section);
                            (name, read)
                        };
                        names.into_iter().map(each).collect()
                    },)*
                }
            }

            pub(super) fn shown(&self) -> Vec<$crate::config::Shown> {
                let mut all = Vec::new();
                $(all.extend(self.$field.shown(stringify!($field)));)*
                $(for (name, each) in &self.$many {
                    all.extend(each.shown(&format!(concat!(stringify!($many), ".{}"), name)));
                })*
                all
            }

            pub(super) fn keep(&mut self, running: &Self, changes: &mut $crate::config::Changes) {
                $(self.$field.keep(&running.$field, stringify!($field), changes);)*
                $(for (name, each) in &mut self.$many {
                    let section = format!(concat!(stringify!($many), ".{}"), name);
                    match running.$many.get(name) {
                        Some(running) => each.keep(running, &section, changes),
                        None => changes.applied.push(section),
                    }
                }
                for name in running.$many.keys().filter(|name| !self.$many.contains_key(*name)) {
                    changes.applied.push(format!(concat!(stringify!($many), ".{}"), name));
                })*
            }

            /// The sections of which there can be several, with every key, as declared: called `field.NAME`.
            #[must_use]
            pub fn named_sections() -> Vec<$crate::config::Section> {
                vec![$($each::section()),*]
            }

            /// Every section of which there is one, with every key, as declared.
            #[must_use]
            pub fn sections() -> Vec<$crate::config::Section> {
                vec![$($section::section()),*]
            }
        }
    };
}
