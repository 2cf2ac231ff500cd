"""Every dashboard is what its source makes, and asks for what a meetpoint has."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import boards
import promql
from tables import ROOT, configuration_keys, metrics

GRID = 24
UNITS = {"short", "bps", "pps", "percentunit", "s", "bytes", "reqps", "ops", "dateTimeAsIso", "Bps"}


class Dashboards(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.boards, cls.metrics = boards.boards(), metrics()

    def none(self, wrong):
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    def test_they_are_what_the_sources_make(self):
        found = subprocess.run([sys.executable, ROOT / "grafana/build.py", "--check"], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_every_query_parses(self):
        rules = ["groups:", "- name: all", "  rules:"]
        for number, (_, expr) in enumerate(query for board in self.boards.values() for query in boards.queries(board)):
            rules += [f"  - record: query_{number}", "    expr: |", "      " + promql.filled(expr)]
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "queries.yml"
            path.write_text("\n".join(rules))
            found = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_every_query_names_series_that_exist(self):
        self.none([f"{place}: {problem}" for board in self.boards.values() for place, expr in boards.queries(board)
                   for problem in promql.complaints(expr, self.metrics)])

    def test_every_query_asks_for_the_targets_that_are_selected(self):
        wrong = []
        for board in self.boards.values():
            for place, expr in boards.queries(board):
                for name, matchers in promql.series(expr):
                    wanted = {"cluster", "namespace"} if name == "ALERTS" else {"job", "cluster", "namespace", "pod", "instance"}
                    wrong += [f"{place}: `{name}` without {label}=~\"${label}\""
                              for label in sorted(wanted) if ("=~", f"${label}") not in matchers.get(label, [])]
        self.none(wrong)

    def test_every_metric_is_on_a_dashboard_or_has_a_reason_not_to_be(self):
        shown = {promql.base_name(name, self.metrics) for board in self.boards.values()
                 for _, expr in boards.queries(board) for name, _ in promql.series(expr)}
        excused = boards.unchecked_on_dashboards()
        self.none([f"`{name}` is on no dashboard" for name in self.metrics if name not in shown | excused.keys()])
        self.none([f"`{name}` is excused and shown, or does not exist" for name in excused
                   if name in shown or name not in self.metrics])

    def test_realms_can_be_chosen_where_they_are_asked_for_and_nowhere_else(self):
        for board in self.boards.values():
            asks = any("$realm" in expr for _, expr in boards.queries(board))
            offers = any(variable["name"] == "realm" for variable in board["templating"]["list"])
            self.assertEqual(asks, offers, board["title"])

    def test_every_panel_is_complete(self):
        wrong = []
        for board in self.boards.values():
            for panel in boards.panels(board):
                place = f"{board['title']} › {panel['title']}"
                text = panel["description"]
                for part in ("\n\n**Good:** ", "\n\n**Bad:** ", "\n\n**Then:** "):
                    if len(text.partition(part)[2]) < 4 or not text.partition(part)[0]:
                        wrong.append(f"{place}: the description lacks {part.strip()}")
                if panel["fieldConfig"]["defaults"]["unit"] not in UNITS:
                    wrong.append(f"{place}: unit {panel['fieldConfig']['defaults']['unit']}")
                if not panel["targets"] or panel["datasource"]["uid"] != "${datasource}":
                    wrong.append(f"{place}: no query, or a fixed data source")
                steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
                if steps[0] is not None or steps[1:] != sorted(steps[1:]):
                    wrong.append(f"{place}: thresholds {steps}")
                legends = [target["legendFormat"] for target in panel["targets"]]
                if panel["type"] == "timeseries" and (len(set(legends)) != len(legends) or "" in legends):
                    wrong.append(f"{place}: legends {legends}")
                for target in panel["targets"]:
                    for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                        if not re.search(rf"by \([^)]*\b{label}\b[^)]*\)|ALERTS", target["expr"]) :
                            wrong.append(f"{place}: the legend asks for {label}, which the query sums away")
        self.none(wrong)

    def test_no_two_panels_overlap_and_none_leaves_the_grid(self):
        for board in self.boards.values():
            taken = {}
            for panel in board["panels"]:
                place = panel["gridPos"]
                self.assertTrue(0 <= place["x"] and place["x"] + place["w"] <= GRID and place["w"] > 0 and place["h"] > 0, panel["title"])
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), taken, f"{panel['title']} lies on {taken.get((x, y))}")
                        taken[x, y] = panel["title"]

    def test_names_are_unique_and_stable(self):
        uids = [board["uid"] for board in self.boards.values()]
        self.assertEqual(len(set(uids)), len(uids))
        for board in self.boards.values():
            self.assertNotIn("id", board)
            self.assertEqual(board["schemaVersion"], 39)
            titles = [panel["title"] for panel in board["panels"]]
            self.assertEqual(sorted(set(titles)), sorted(titles), board["title"])
            numbers = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(set(numbers)), len(numbers))
            self.assertRegex(board["uid"], r"^meetpoint-[a-z_]{1,30}$")

    def test_what_descriptions_point_to_exists(self):
        keys, wrong = configuration_keys(), []
        sections = {key.split(".")[0] for key in keys}
        for board in self.boards.values():
            for panel in boards.panels(board):
                place, text = f"{board['title']} › {panel['title']}", panel["description"]
                for quoted in re.findall(r"`([a-z_]+\.[\w.]+)`", text):
                    section = quoted.split(".")[0]
                    if section in sections and quoted not in keys:
                        wrong.append(f"{place}: there is no key `{quoted}`")
                for name, rest in re.findall(r"(Overview|Relay|Abuse|Signaling|ICE API|Process) › ([^\n]*)", text):
                    if name not in self.boards:
                        wrong.append(f"{place}: there is no dashboard {name}")
                    elif not any(rest.startswith(row["title"]) for row in self.boards[name]["panels"]):
                        wrong.append(f"{place}: {name} has no panel `{rest}`")
        self.none(wrong)
