//! The table of metrics as a page: `docs/metrics.md`.

use std::fmt::Write as _;

use super::family::{Family, Kind};
use super::table::AREAS;

const INTRODUCTION: &str = "\
# Metrics

`GET /metrics` answers in the Prometheus text format 0.0.4. Counters of the relay are copied out by each worker several
times a second, while sessions live; everything else is read at the scrape. Every label has a closed set of values, which
this page lists, or the operator's configuration does: no address, room or user ever becomes a label.

This page is made from the code (`src/telemetry/metrics/table.rs`); a test compares the two. To write it anew:
`MEETPOINT_WRITE_DOCS=1 cargo test --lib the_page_of_metrics_is_the_table`.
";

/// The page, with a final newline.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (area, families) in AREAS {
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {area}\n\n| Name | Type | Labels | Meaning |\n|---|---|---|---|\n"
        );
        for family in *families {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                family.name,
                family.kind.as_str(),
                labels(family),
                meaning(family)
            );
        }
    }
    page
}

fn labels(family: &Family) -> String {
    family
        .labels
        .iter()
        .map(|label| format!("`{}`: {}", label.name, values(label.name, (label.values)())))
        .collect::<Vec<_>>()
        .join("<br>")
}

/// The values of a label, without those that differ from build to build.
fn values(name: &str, values: Vec<&'static str>) -> String {
    match name {
        "version" | "revision" | "profile" => "of this build".to_owned(),
        "realm" => "default, and the name of each `[realms.NAME]` of the configuration".to_owned(),
        "key" => {
            "the name of each `[keys.NAME]` of the configuration, and `(made)` for all that were made while it runs"
                .to_owned()
        }
        _ => values.join(", "),
    }
}

fn meaning(family: &Family) -> String {
    match family.kind {
        Kind::Histogram(bounds) => {
            let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
            format!("{} Buckets: {}.", family.help, bounds.join(", "))
        }
        Kind::Counter | Kind::Gauge => family.help.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_metrics_is_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("MEETPOINT_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/metrics.md is not what src/telemetry/metrics/table.rs says"
        );
    }
}
