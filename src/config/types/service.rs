//! Services of others, by name.

use crate::config::value::{Fault, Raw, Value, quoted};
use crate::http::Service;

impl Value for Service {
    fn expects() -> String {
        let names = Self::ALL.map(|service| format!("`\"{}\"`", service.name()));
        format!("one of {}", names.join(", "))
    }

    fn from_raw(raw: &Raw) -> Result<Self, Vec<Fault>> {
        let name = raw.text()?;
        let known = Self::ALL.into_iter().find(|service| service.name() == name);
        known.ok_or_else(|| raw.fault(format!("`{name}` is not one of the choices")))
    }

    fn to_toml(&self) -> String {
        quoted(self.name())
    }
}
