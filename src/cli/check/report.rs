//! The table that `meetpoint check` prints.

use serde::Serialize;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It works.
    Ok,
    /// It does not.
    Failed,
    /// It could not be tested, or another way works: no reason to fail the whole.
    Skipped,
}

/// What did not work, and the likely cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) wrong: String,
    pub(super) hint: String,
}

impl Failure {
    pub(super) fn new(wrong: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            wrong: wrong.into(),
            hint: hint.into(),
        }
    }
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) target: String,
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    pub(super) milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

/// Every row so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) steps: Vec<Step>,
}

impl Report {
    /// Runs one step within `limit` and keeps its row. Gives what the step found.
    pub(super) async fn step<T>(
        &mut self,
        step: &'static str,
        target: impl Into<String>,
        limit: Duration,
        timed_out: &str,
        work: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Option<T> {
        let start = Instant::now();
        let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(Failure::new(
                format!("no result within {} s", limit.as_secs_f64()),
                timed_out,
            ))
        });
        let milliseconds = Some(start.elapsed().as_secs_f64() * 1000.0);
        let target = target.into();
        match result {
            Ok((found, detail)) => {
                self.steps.push(Step {
                    step,
                    target,
                    outcome: Outcome::Ok,
                    detail,
                    milliseconds,
                    hint: None,
                });
                Some(found)
            }
            Err(Failure { wrong, hint }) => {
                let hint = Some(hint);
                self.steps.push(Step {
                    step,
                    target,
                    outcome: Outcome::Failed,
                    detail: wrong,
                    milliseconds,
                    hint,
                });
                None
            }
        }
    }

    /// A row for what was not tested.
    pub(super) fn skip(&mut self, step: &'static str, target: impl Into<String>, why: impl Into<String>) {
        let (target, detail) = (target.into(), why.into());
        self.steps.push(Step {
            step,
            target,
            outcome: Outcome::Skipped,
            detail,
            milliseconds: None,
            hint: None,
        });
    }

    /// Whether nothing failed and something was tested.
    pub(super) fn passed(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Ok)
            && self.steps.iter().all(|step| step.outcome != Outcome::Failed)
    }

    pub(super) fn json(&self) -> String {
        let value = serde_json::json!({ "ok": self.passed(), "steps": self.steps });
        format!("{value:#}\n")
    }

    pub(super) fn table(&self) -> String {
        let width = |column: fn(&Step) -> &str| {
            self.steps
                .iter()
                .map(|step| column(step).chars().count())
                .max()
                .unwrap_or(0)
        };
        let (first, second) = (width(|step| step.step), width(|step| &step.target));
        let mut out = String::new();
        for step in &self.steps {
            let outcome = match step.outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "FAILED",
                Outcome::Skipped => "skipped",
            };
            let time = step.milliseconds.map_or(String::new(), |time| format!("{time:.1} ms"));
            let _ = writeln!(
                out,
                "{:<first$}  {:<second$}  {outcome:<7}  {time:>10}  {}",
                step.step, step.target, step.detail
            );
            if let Some(hint) = &step.hint {
                let _ = writeln!(out, "{:<first$}  fix: {hint}", "");
            }
        }
        let failed = self.steps.iter().filter(|step| step.outcome == Outcome::Failed).count();
        let _ = match failed {
            0 if self.passed() => writeln!(out, "\nAll of it works."),
            0 => writeln!(out, "\nNothing could be tested."),
            1 => writeln!(out, "\n1 step failed."),
            _ => writeln!(out, "\n{failed} steps failed."),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_hangs_fails_with_its_hint() {
        let mut report = Report::default();
        let limit = Duration::from_millis(20);
        let hangs = std::future::pending::<Result<((), String), Failure>>();
        assert!(
            report
                .step("STUN", "a:1", limit, "open the port", hangs)
                .await
                .is_none()
        );
        assert!(!report.passed());
        let table = report.table();
        assert!(
            table.contains("FAILED") && table.contains("no result within 0.02 s"),
            "{table}"
        );
        assert!(
            table.contains("fix: open the port") && table.ends_with("\n1 step failed.\n"),
            "{table}"
        );
        assert!(report.json().contains("\"hint\": \"open the port\""));
    }

    #[test]
    fn a_report_without_a_tested_step_has_not_passed() {
        let mut report = Report::default();
        report.skip("TURN", "turn:a?transport=tcp", "only UDP is tested");
        assert!(!report.passed());
        assert!(report.table().contains("Nothing could be tested."));
    }

    #[tokio::test]
    async fn skipped_rows_do_not_fail_a_report() {
        let mut report = Report::default();
        let works = async { Ok(((), "fine".to_owned())) };
        assert!(
            report
                .step("API", "x", Duration::from_secs(1), "", works)
                .await
                .is_some()
        );
        report.skip("TURN", "y", "not tested");
        assert!(report.passed());
    }
}
