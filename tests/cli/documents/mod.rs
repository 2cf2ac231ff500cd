//! The pages are run: every session with `curl` in them as it stands there, against the program, and what is answered is held to what is
//! printed. Likewise the scripts that fetch a list, and what the runbook has people type.
//!
//! Nothing in a command is replaced: `curl` is told by its own settings where `localhost:8000` is, and the shell has the variables and
//! files that `docs/api.md` names. A page is run against `docs/examples/api.toml`, and a session with words behind `console` in its
//! fence against a program that is started with those and nothing else.

mod likeness;
mod session;
mod stage;

use crate::program::finished;
use session::{Block, blocks, pages, read};
use stage::Stage;
use std::collections::BTreeMap;

/// Streams that end when they are cut off.
const ENDLESS: [&str; 2] = ["curl -N ", "curl -sN "];

/// What asks somebody else's server, of which a reader knows the address.
const ELSEWHERE: [&str; 4] = ["HOOK_URL", "WEBHOOK_URL", "JWKS_URL", "169.254.169.254"];

fn is_run(command: &str) -> bool {
    command.contains("curl ")
        && !ENDLESS
            .iter()
            .chain(&ELSEWHERE)
            .any(|left_out| command.contains(left_out))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_with_curl_in_the_pages_is_answered_as_it_is_printed() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for page in pages("docs") {
        let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
        for block in blocks(&page) {
            for (command, printed) in block.commands().into_iter().filter(|(command, _)| is_run(command)) {
                if !stages.contains_key(&block.arguments) {
                    stages.insert(block.arguments.clone(), Stage::new(&block.arguments).await);
                }
                let stage = &stages[&block.arguments];
                if command.contains("/api/admin/top") {
                    stage.until_alice_is_counted();
                }
                let (code, answer, errors) = stage.run(&command);
                let answer = stage.as_in_the_pages(&answer);
                let found = match code {
                    0 => likeness::compare(&printed, &answer),
                    _ => Err(format!("it ends with {code}: {errors}")),
                };
                compared += 1;
                if let Err(why) = found {
                    wrong.push(format!("{page}, line {}: {why}\n$ {command}\n{answer}\n", block.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The pages have that many; a parser that finds none would find nothing wrong.
    assert!(compared >= 30, "{compared}");
}

/// A block that shows an answer belongs to a command, in the page of the API: an answer that nothing gives is one that nothing checks.
#[test]
fn every_block_of_the_page_of_the_api_says_what_it_is() {
    for block in blocks("docs/api.md") {
        assert!(!block.language.is_empty(), "docs/api.md, line {}", block.line);
        let starts_well = block.text.starts_with("$ ") || block.language != "console";
        assert!(starts_well, "docs/api.md, line {}", block.line);
    }
}

/// What stands in the runbook asks for what there is, and is understood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_runbook_asks_by_curl_is_answered_without_an_error() {
    let stage = Stage::new("").await.for_operators();
    let mut asked = 0;
    for page in pages("docs/runbook") {
        for block in blocks(&page).into_iter().filter(|block| block.language == "sh") {
            for command in block
                .lines()
                .into_iter()
                .filter(|line| is_run(line) && !line.contains("/tmp/"))
            {
                let (code, answer, errors) = stage.run(&command);
                // Strangers are answered 401 here, which is what one page looks for.
                let is_refused = answer.contains("\"status\":4") && !answer.contains("token_required");
                assert!(code == 0 && !is_refused, "{page}: {command}\n{answer}\n{errors}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 15, "{asked}");
}

/// In node, with a connection that takes its configuration as a browser does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_that_fetches_a_list_makes_a_connection_of_it() {
    let stage = Stage::new("").await;
    let open = Stage::new("--ice-host turn.example.org").await;
    let mut run = 0;
    for page in pages("docs") {
        let scripts = blocks(&page).into_iter().filter(|block| block.language == "js");
        for Block { text, line, .. } in scripts.filter(|block| block.text.contains("fetch(")) {
            let stage = if text.contains("authorization") { &stage } else { &open };
            let script = format!(
                "{}\n{text}\nconsole.log(made.length);",
                read("tests/cli/documents/browser.mjs")
            );
            let (code, printed, errors) = finished(stage.node(&script));
            assert_eq!((code, printed.trim()), (0, "1"), "{page}, line {line}: {errors}");
            run += 1;
        }
    }
    assert!(run >= 3, "{run}");
}

/// What the README has people type to the program itself, where nothing needs to run for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_program_in_the_readme_ends_well() {
    const ALONE: [&str; 3] = ["meetpoint config", "meetpoint credentials", "meetpoint keys"];
    let stage = Stage::new("").await;
    let scripts = blocks("README.md").into_iter().filter(|block| block.language == "sh");
    let commands: Vec<String> = scripts.flat_map(|block| block.lines()).collect();
    let alone: Vec<_> = commands
        .iter()
        .filter(|line| ALONE.iter().any(|start| line.starts_with(start)))
        .collect();
    assert!(alone.len() >= 4, "{commands:?}");
    for command in alone {
        let (code, printed, errors) = stage.run(command);
        assert!(code == 0 && !printed.is_empty(), "{command}: {printed}{errors}");
    }
}
