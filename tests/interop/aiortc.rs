//! aiortc, a WebRTC stack in Python: credentials from the API, signaling through the hub, data through the relay.
//!
//! Needs a Python with `tests/interop/requirements.txt`: the one in `MEETPOINT_TEST_PYTHON`, which `ops/test.sh` prepares,
//! else `python3`.

use std::{process::Command, time::Duration};

use crate::support::{Meetpoint, output_of};

/// Enough to need congestion control, little enough for a slow SCTP in Python.
const BYTES: u64 = 2_000_000;

/// `127.0.0.1` is where everything is, so the peers meet inside the server: both relayed addresses are its own.
#[test]
fn two_aiortc_peers_move_data_through_the_relay_alone() {
    let server = Meetpoint::start(&[]);
    let python = std::env::var("MEETPOINT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/meeting.py");
    command.args([script, &server.http.to_string(), &BYTES.to_string()]);
    let (success, output) = output_of(&mut command, Duration::from_secs(120));
    assert!(success, "{output}");
    let result: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert_eq!(result["whole"], true, "{output}");
    assert_eq!(result["relayed_only"], true, "{output}");
    // What the peers saw is what the server counted.
    server.assert_counted("meetpoint_relay_payload_bytes_total", &["client_to_peer"], BYTES as f64);
    server.assert_counted("meetpoint_relay_hairpin_bytes_total", &[], BYTES as f64);
}
