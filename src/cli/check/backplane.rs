//! The Redis server of the replicas, as the configuration of this machine names it.

use super::report::Failure;
use crate::backplane::{Config, round_trip};
use crate::telemetry::labels::BackplaneFault;

pub(super) async fn publish(config: &Config) -> Result<((), String), Failure> {
    match round_trip(config).await {
        Ok(took) => Ok((
            (),
            format!("published and heard in {:.1} ms", took.as_secs_f64() * 1000.0),
        )),
        Err(fault) => {
            let hint = match fault.kind {
                BackplaneFault::Unreachable => {
                    "is Redis running, does it listen there, and is the port open for this machine?"
                }
                BackplaneFault::Tls => {
                    "check that the port speaks TLS and that the certificate is whole, current and for this name \
                     (backplane.redis_ca trusts a private one)"
                }
                BackplaneFault::Refused => {
                    "check user and password, that the user may PUBLISH and SUBSCRIBE to the channels of backplane.prefix, and that \
                     it is Redis 6 or newer"
                }
                _ => "what listens there may be no Redis, or it hangs",
            };
            Err(Failure::new(format!("Redis: {fault}"), hint))
        }
    }
}
