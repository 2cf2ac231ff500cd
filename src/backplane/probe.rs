//! One round trip, for those who ask whether it would work.

use std::time::{Duration, Instant};

use redis::{Pipeline, PushInfo, PushKind};
use tokio::sync::watch;
use tokio::time::timeout;

use super::bounded::Unparsed;
use super::channel::Channels;
use super::config::Config;
use super::connection::Dialer;
use super::fault::Fault;
use crate::telemetry::labels::BackplaneFault;

/// Connects twice as a replica does, publishes to a channel of its own, and says how long it took to come back.
///
/// # Errors
/// What does not work.
pub async fn round_trip(config: &Config) -> Result<Duration, Fault> {
    let dialer = Dialer::new(config).map_err(|error| Fault::new(BackplaneFault::Tls, error.to_string()))?;
    let mut id = [0; 16];
    // Without randomness two who ask at once hear each other, which is as good.
    let _ = getrandom::fill(&mut id);
    let channel = Channels::new(&config.prefix).check(&id);
    let unparsed = Unparsed::default();
    let came = watch::Sender::new(false);
    let mut heard = came.subscribe();
    let pushes = {
        let unparsed = unparsed.clone();
        move |push: PushInfo| {
            unparsed.reset();
            if push.kind == PushKind::Message {
                came.send_replace(true);
            }
            Ok::<_, std::convert::Infallible>(())
        }
    };
    let mut listening = dialer.listen(pushes, &unparsed).await?;
    let mut publishing = dialer.connect().await?;
    listening.parts().0.subscribe(std::slice::from_ref(&channel)).await?;
    let began = Instant::now();
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("PUBLISH").arg(&channel).arg("check");
    publishing.parts().0.ask(&commands).await?;
    match timeout(dialer.patience(), heard.wait_for(|came| *came)).await {
        Ok(Ok(_)) => Ok(began.elapsed()),
        Ok(Err(_)) => Err(Fault::new(
            BackplaneFault::Closed,
            "Redis closed the connection, or it broke",
        )),
        Err(_) => Err(Fault::timed_out("what was published")),
    }
}
