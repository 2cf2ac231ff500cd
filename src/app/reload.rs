//! Another configuration for a process that runs.
//!
//! The same sources are read again, all checks run, and only a configuration without a fault is taken over, as far as
//! that is possible without ending anything: no socket is closed and no allocation notices.

use super::fleet::{FleetHandle, relay_bounds};
use super::notice::{self, Listening};
use super::secrets::Own;
use super::services::countries;
use super::watch::{Reading, Watched};
use crate::config::detect::Machine;
use crate::config::types::SecretText;
use crate::config::{Changes, Config, advertised};
use crate::events::Events;
use crate::http::admin::{Reloaded, Tokens};
use crate::http::{AppState, TokenAuthenticator};
use crate::probe::Prober;
use crate::telemetry::Metrics;
use crate::telemetry::labels::ReloadResult;
use crate::telemetry::logging::LogHandle;
use crate::transport::Relay;
use crate::turn;
use crate::usage::Usage;
use std::sync::Arc;
use std::time::Duration;

/// What is in effect, and all it takes to change it.
pub(super) struct Reloader<'a> {
    pub(super) read: &'a dyn Fn() -> Reading,
    pub(super) running: Config,
    pub(super) core: Arc<turn::Config>,
    pub(super) machine: Machine,
    /// Where this process listens, which no reload changes.
    pub(super) listening: Listening,
    pub(super) own: Own,
    pub(super) log: LogHandle,
    pub(super) relay: &'a Relay,
    pub(super) state: AppState,
    pub(super) tokens: Tokens,
    pub(super) metrics: Metrics,
    pub(super) events: &'a Events,
    pub(super) fleet: Option<FleetHandle>,
    pub(super) prober: Prober,
    pub(super) usage: &'a Usage,
}

impl Reloader<'_> {
    /// Reads everything again and takes over what can change. Returns the files that were read, to be watched, and what
    /// came of it.
    pub(super) fn reload(&mut self, cause: &str) -> (Vec<Watched>, Result<Reloaded, String>) {
        let Reading { result, files } = (self.read)();
        let outcome = result
            .map_err(|problems| problems.to_string())
            .and_then(|loaded| self.take_over(loaded.config));
        let api = self.metrics.api();
        match &outcome {
            Ok(changes) => {
                let result = if changes.applied.is_empty() {
                    ReloadResult::Unchanged
                } else {
                    ReloadResult::Applied
                };
                api.reload(result);
                api.pending_keys.set(changes.needs_restart.len() as i64);
                tracing::info!(cause, changed = ?changes.applied, "configuration reloaded");
                if !changes.needs_restart.is_empty() {
                    tracing::warn!(keys = ?changes.needs_restart, "changed, but needs a restart");
                }
            }
            Err(problems) => {
                api.reload(ReloadResult::Rejected);
                tracing::error!(cause, "nothing was changed: {}", problems.trim_end());
            }
        }
        let reloaded = outcome.map(|changes| Reloaded {
            applied: changes.applied,
            needs_restart: changes.needs_restart,
        });
        (files, reloaded)
    }

    /// Closes addresses to relaying that this machine has got since the last look, as a virtual address comes over from
    /// another one; those that it has no more are peers like any other.
    pub(super) fn look_at_addresses(&mut self) {
        let Some(machine) = self.machine.refreshed().filter(|machine| *machine != self.machine) else {
            return;
        };
        self.machine = machine;
        let core = Arc::new(turn::Config {
            own_addrs: self.running.settings(&self.machine).turn.own_addrs,
            ..turn::Config::clone(&self.core)
        });
        self.relay.reconfigure(&core);
        self.core = core;
        tracing::info!(
            addresses = self.machine.addresses.len(),
            "the addresses of this machine have changed"
        );
    }

    fn take_over(&mut self, wanted: Config) -> Result<Changes, String> {
        let (config, changes) = wanted.continuing(&self.running);
        let file = config.ice.countries_file.as_ref().map(|file| file.0.as_path());
        // The file may be another one while its name is the same.
        let countries = countries(file).map_err(|error| format!("{error:#}"))?;
        if changes.applied.is_empty() {
            self.state.replace_countries(countries);
            return Ok(changes);
        }
        let mut settings = config.settings(&self.machine);
        self.own.fill(&mut settings.turn);
        // Tables of the workers were made for these; without `relay.external_ip` they came from the machine.
        settings.turn.relay_addrs.clone_from(&self.core.relay_addrs);
        settings.http.ice.listeners = advertised(&config, &self.listening.relay);
        let Some(keys) = settings.turn.keys.clone() else {
            return Err("there is no secret to mint with".to_owned());
        };
        // All that can fail comes before all that takes effect.
        TokenAuthenticator::check(&settings.http.auth).map_err(|error| format!("[auth]: {error}"))?;
        Prober::check(&settings.probes).map_err(|error| format!("probes.ca: {error}"))?;
        if config.log.level != self.running.log.level {
            let replaced = self.log.replace(&config.log.level);
            replaced.map_err(|error| format!("log.level: {error}"))?;
        }
        self.log.repeats().replace(config.log.burst);
        // The relay knows a new secret before anybody mints with it.
        let core = Arc::new(settings.turn.clone());
        self.relay.reconfigure(&core);
        self.state.replace_countries(countries);
        let realm_keys = settings.realm_keys();
        let reconfigured = self.state.reconfigure(settings.http.clone(), keys, &realm_keys);
        reconfigured.map_err(|error| format!("[auth]: {error}"))?;
        if changes.applied.iter().any(|key| concerns_ice(key)) {
            self.state.renew_ice(ICE_RENEWAL);
        }
        self.tokens.replace(config.admin.tokens.iter().map(SecretText::expose));
        self.events.reconfigure(settings.events.clone());
        if let (Some(handle), Some(fleet)) = (&self.fleet, settings.fleet.clone()) {
            handle.bound(relay_bounds(&config));
            handle.reconfigure(fleet, &settings.http.ice.listeners);
        }
        // In any case: the lists may hold other URLs.
        self.prober.reconfigure(settings.probes.clone());
        self.usage.reconfigure(settings.usage.clone());
        let known = notice::warnings(&self.running, &self.running.settings(&self.machine));
        for warning in notice::warnings(&config, &settings) {
            if !known.contains(&warning) {
                tracing::warn!("{warning}");
            }
        }
        self.core = core;
        self.running = config;
        Ok(changes)
    }
}

/// Within this time all clients of the hub hear of newer ICE servers: at random, since each costs an HMAC.
const ICE_RENEWAL: Duration = Duration::from_secs(10);

/// Whether what clients were given is not what they would be given now.
fn concerns_ice(key: &str) -> bool {
    let sections = ["credentials.", "ice.", "lists.", "realms.", "servers."];
    sections.iter().any(|section| key.starts_with(section)) || key == "http.public_url"
}
