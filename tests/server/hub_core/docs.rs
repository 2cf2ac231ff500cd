//! The protocol page: its examples are frames, and it names every type, error and close code there is.

use meetpoint::signaling::{CloseCode, ErrorCode};

use crate::signaling_schema::{client_binary, client_frame, server_binary, server_frame};

const PAGE: &str = include_str!("../../../docs/signaling-protocol.md");

/// The lines inside fences that are marked ```` ```json side ````.
fn examples(side: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        if line.starts_with("```") {
            inside = line == format!("```json {side}");
        } else if inside && !line.trim().is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn every_example_of_the_page_is_a_frame_of_the_schema() {
    let (client, server) = (examples("client"), examples("server"));
    client.iter().for_each(|line| drop(client_frame(line)));
    server.iter().for_each(|line| drop(server_frame(line)));
    for header in examples("binary client") {
        client_binary(&serde_json::from_str(header).unwrap(), b"");
    }
    for header in examples("binary server") {
        let length = u16::try_from(header.len()).unwrap().to_be_bytes();
        server_binary(&[&[1, 0], &length[..], header.as_bytes()].concat());
    }
    assert!(!examples("binary client").is_empty() && !examples("binary server").is_empty());
    let shown = |examples: &[&str], kind: &str| {
        examples
            .iter()
            .any(|line| line.contains(&format!("{{\"t\":\"{kind}\"")))
    };
    for kind in [
        "hello", "join", "leave", "sig", "send", "meta", "room", "who", "ice", "auth", "ack", "ping", "bye",
    ] {
        assert!(shown(&client, kind), "no example of the client's {kind}");
    }
    for kind in [
        "welcome", "joined", "peer", "sig", "msg", "room", "closed", "ok", "err", "ice", "drain", "pong",
    ] {
        assert!(shown(&server, kind), "no example of the server's {kind}");
    }
}

#[test]
fn the_page_names_every_error_and_every_close_code() {
    for code in ErrorCode::ALL {
        assert!(PAGE.contains(&format!("| `{}` |", code.as_label())), "{code:?}");
    }
    for code in CloseCode::ALL.iter().filter(|code| **code != CloseCode::Abnormal) {
        assert!(PAGE.contains(&format!("| {} |", code.status())), "{code:?}");
    }
}
