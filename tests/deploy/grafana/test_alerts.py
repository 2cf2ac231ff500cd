"""Every alert fires when it should and not otherwise, asks for what there is, and has a page that says what to do."""

import concurrent.futures
import pathlib
import re
import subprocess
import tempfile
import unittest

import boards
import promql
import rules
from tables import configuration_keys, metrics


def promtool(alerts, tests):
    """Whether these tests pass with these rules."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "alerts.yml").write_text(alerts)
        (directory / "alerts_test.yml").write_text(tests)
        found = subprocess.run(["promtool", "test", "rules", "alerts_test.yml"], cwd=directory, capture_output=True, text=True)
        return found.returncode == 0, found.stdout + found.stderr


def mutations(alert):
    """(what was done, its text afterwards): each number that something is compared with, far up and far down."""
    for found in re.finditer(r"(==|!=|>=|<=|>|<) ([\d.]+)(?![\w.])", alert.expr):
        operator, number = found.groups()
        for factor, word in ((1000, "up"), (0.02, "down")):
            value = float(number) * factor
            if float(number) == 0 or operator in ("==", "!="):
                # States and mere presence: any other number will do.
                if word == "down":
                    continue
                value = float(number) + 1e12
            changed = alert.expr[:found.start()] + f"{operator} {value:.6f}" + alert.expr[found.end():]
            yield f"{alert.name}: {operator} {number} {word}", alert.text.replace(alert.expr, changed, 1)
    yield f"{alert.name}: removed", ""


class Alerts(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.alerts, cls.metrics = rules.alerts(), metrics()

    def none(self, wrong):
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def test_every_rule_is_well_formed(self):
        found = subprocess.run(["promtool", "check", "rules", rules.FILE], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        self.assertIn(f"{len(self.alerts)} rules found", found.stdout)

    def test_the_sample_of_a_prometheus_is_one_it_takes(self):
        found = subprocess.run(["promtool", "check", "config", rules.FILE.with_name("prometheus.yaml")], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_every_alert_says_what_is_wrong_how_bad_and_where_to_read_on(self):
        wrong = []
        for alert in self.alerts:
            if alert.severity not in ("critical", "warning", "info"):
                wrong.append(f"{alert.name}: severity {alert.severity}")
            for part in ("summary", "description"):
                if len(alert.annotations.get(part, "")) < 20:
                    wrong.append(f"{alert.name}: no {part}")
            if alert.annotations.get("runbook_url") != f"{rules.BASE}{alert.name}.md":
                wrong.append(f"{alert.name}: runbook_url {alert.annotations.get('runbook_url')}")
            if alert.name != "MeetpointAbsent" and "{{" not in "".join(alert.annotations.values()):
                wrong.append(f"{alert.name}: says neither where nor how much")
        self.none(wrong)

    def test_every_alert_asks_for_series_that_exist(self):
        self.none([f"{alert.name}: {problem}" for alert in self.alerts for problem in promql.complaints(alert.expr, self.metrics)])

    def test_annotations_name_labels_that_the_alert_has(self):
        wrong = []
        for alert in self.alerts:
            known = {"job", "cluster", "namespace", "pod", "instance"}
            for name, _ in promql.series(alert.expr):
                known |= set(self.metrics[promql.base_name(name, self.metrics)].labels) if name != "up" else set()
            wrong += [f"{alert.name}: {label}" for text in alert.annotations.values()
                      for label in re.findall(r"\$labels\.(\w+)", text) if label not in known]
        self.none(wrong)

    def test_every_alert_has_a_page_and_every_page_an_alert(self):
        names = {alert.name for alert in self.alerts}
        pages = {path.stem for path in rules.RUNBOOKS.glob("*.md")} - {"README"}
        self.assertEqual(names, pages)
        index = (rules.RUNBOOKS / "README.md").read_text()
        self.none([f"the index does not name {name}" for name in names if f"({name}.md)" not in index])

    def test_every_page_has_its_parts_and_names_what_exists(self):
        keys, wrong = configuration_keys(), []
        sections = {key.split(".")[0] for key in keys}
        for path in sorted(rules.RUNBOOKS.glob("*.md")):
            text = path.read_text()
            if path.stem != "README":
                for part in ("## Means", "## Users notice", "## Look first", "## Likely causes", "## Do", "## Do not", "## Over when"):
                    if f"\n{part}\n" not in text:
                        wrong.append(f"{path.name}: no {part}")
            for quoted in re.findall(r"`([a-z_]+\.[\w.]+)`", text):
                if quoted.split(".")[0] in sections and quoted not in keys and not quoted.endswith(("_file", ".toml")):
                    wrong.append(f"{path.name}: no key `{quoted}`")
            for expr in re.findall(r"```promql\n(.*?)```", text, re.S):
                wrong += [f"{path.name}: {problem}" for problem in promql.complaints(expr, self.metrics)]
            for link in re.findall(r"\]\(([^)#]+)", text):
                if "://" not in link and not (path.parent / link).exists():
                    wrong.append(f"{path.name}: link {link}")
        self.none(wrong)

    def test_the_queries_of_the_pages_parse(self):
        lines = ["groups:", "- name: all", "  rules:"]
        for path in sorted(rules.RUNBOOKS.glob("*.md")):
            for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.S):
                for expr in filter(None, (line.partition("#")[0].strip() for line in block.splitlines())):
                    lines += [f"  - record: query_{len(lines)}", "    expr: |", f"      {expr}"]
        self.assertGreater(len(lines), 50)
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "queries.yml"
            path.write_text("\n".join(lines))
            found = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_panels_link_to_alerts_that_exist(self):
        names = {alert.name for alert in self.alerts}
        self.none([f"{board['title']} › {panel['title']}: {link['title']}" for board in boards.boards().values()
                   for panel in boards.panels(board) for link in panel["links"] if link["title"].removeprefix("Runbook: ") not in names])

    def test_they_fire_and_stay_silent_as_written(self):
        passed, output = promtool(rules.FILE.read_text(), rules.TESTS.read_text())
        self.assertTrue(passed, output)

    def test_every_alert_is_seen_to_fire(self):
        seen = set().union(*(rules.expected(test) for test in rules.tests()[1]))
        self.assertEqual({(alert.name, alert.severity) for alert in self.alerts}, seen)

    def test_whatever_is_changed_in_a_rule_is_noticed(self):
        head, tests = rules.tests()
        # A rule whose number has become too small is noticed where it was silent: in its own tests, or in those of healthy servers.
        healthy = [test for test in tests if not rules.expected(test)]

        def unnoticed(alert, change, changed):
            rest = "".join(one.text for one in self.alerts if one.name == alert.name and one is not alert)
            group = "groups:\n  - name: changed\n    rules:\n" + changed + rest
            own = [test for test in tests if alert.name in {name for name, _ in rules.expected(test)}] + healthy * change.endswith(" down")
            # Only what this alert does is asked of the tests that expect others as well.
            own = [re.sub(r'ALERTS\{', f'ALERTS{{alertname="{alert.name}", ', test) for test in own]
            own = [re.sub(rf"          - \{{labels: '\{{alertname=\"(?!{alert.name}\").*\n", "", test) for test in own]
            own = [re.sub(r"        exp_samples:\n(?!          - )", "        exp_samples: []\n", test) for test in own]
            return change if promtool(group, head + "\n" + "".join(own))[0] else None

        work = [(alert, change, changed) for alert in self.alerts for change, changed in mutations(alert)]
        self.assertGreater(len(work), 100)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            missed = {change for change in pool.map(lambda one: unnoticed(*one), work) if change}
        self.assertFalse(missed)
