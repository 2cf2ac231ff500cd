"""What the files of the dashboards are written with: queries, panels, rows, and the JSON that Grafana 10 and 11 import.

A dashboard file says what is asked and what an answer means. Places, ids, colours and variables come from here, so that
all dashboards look and behave alike. Nothing but the standard library.
"""

import re

# Where the pages of docs/runbook are published. One value, a hidden variable in every dashboard: set it to your copy.
RUNBOOKS = "https://example.org/meetpoint/docs/runbook"

# Which targets: every query has these. `.*` also takes targets that lack the label, such as a machine outside of Kubernetes.
TARGET = 'job=~"$job", cluster=~"$cluster", namespace=~"$namespace", pod=~"$pod", instance=~"$instance"'
REALM = TARGET + ', realm=~"$realm"'
WINDOW = "[$__rate_interval]"
# The labels that tell one process from another, and how a legend writes them.
EACH = "pod, instance"
EACH_LEGEND = "{{pod}} {{instance}}"

GRID = 24  # Columns of a dashboard.
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"


# --- queries -----------------------------------------------------------------------------------------------------------


def promql(text):
    """`{@…}` is the selector of targets, `{@realm…}` that of targets and realms, `[~]` the window of a rate."""
    text = text.replace("{@realm", "{" + REALM).replace("{@", "{" + TARGET).replace("[~]", WINDOW)
    return re.sub(r"\s+", " ", text).strip()


def selector(where="", realm=False):
    return "{@" + ("realm" if realm else "") + (", " + where if where else "") + "}"


def rate(name, by="", where="", realm=False):
    """Per second, over the window that suits the zoom."""
    return f"sum{grouped(by)}(rate({name}{selector(where, realm)}[~]))"


def now(name, by="", where="", realm=False):
    """The value of a gauge, summed over processes."""
    return f"sum{grouped(by)}({name}{selector(where, realm)})"


def share(part, whole):
    """A ratio that is absent, not NaN, while nothing happens."""
    return f"({part}) / (({whole}) > 0)"


def quantile(q, name, by="", where=""):
    inner = f"sum by (le{', ' + by if by else ''}) (rate({name}_bucket{selector(where)}[~]))"
    return f"histogram_quantile({q}, {inner})"


def grouped(by):
    return f" by ({by}) " if by else " "


# --- panels ------------------------------------------------------------------------------------------------------------


class Panel:
    """One question. `says` is what is drawn; `good`, `bad` and `do` are what an operator makes of it."""

    def __init__(self, kind, title, queries, unit, *, says, good, bad, do, width, height, runbook=(), steps=None, **extra):
        self.kind, self.title, self.unit = kind, title, unit
        self.queries = [(promql(expr), legend) for expr, legend in queries]
        self.description = f"{says}\n\n**Good:** {good}\n\n**Bad:** {bad}\n\n**Then:** {do}"
        self.width, self.height = width, height
        self.runbooks = (runbook,) if isinstance(runbook, str) else tuple(runbook)
        self.steps = steps
        self.extra = extra

    def as_json(self, place, number):
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": place,
            "links": [
                {"title": f"Runbook: {name}", "url": "${runbooks}/" + name + ".md", "targetBlank": True}
                for name in self.runbooks
            ],
            "targets": [self.target(index, expr, legend) for index, (expr, legend) in enumerate(self.queries)],
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.extra.get("overrides", [])},
            "options": self.options(),
            **({"transformations": self.extra["transformations"]} if "transformations" in self.extra else {}),
        }

    def target(self, index, expr, legend):
        at_once = self.kind in ("stat", "table", "bargauge")
        return {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expr,
            "legendFormat": legend,
            "instant": at_once,
            "range": not at_once,
            "format": {"table": "table", "heatmap": "heatmap"}.get(self.kind, "time_series"),
        }

    def defaults(self):
        steps = self.steps or [(None, GREEN if self.kind in ("stat", "bargauge") else BLUE)]
        defaults = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind in ("stat", "bargauge") else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]},
            "noValue": self.extra.get("empty", "nothing"),
            "mappings": self.extra.get("mappings", []),
        }
        for bound in ("min", "max", "decimals"):
            if bound in self.extra:
                defaults[bound] = self.extra[bound]
        if self.kind == "timeseries":
            stacked = self.extra.get("stacked", False)
            defaults["custom"] = {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                "lineWidth": 1,
                "fillOpacity": 25 if stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
                "axisSoftMin": 0,
            }
        return defaults

    def options(self):
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"],
                           # What there is most of comes first: labels of a closed set are there also while they are 0.
                           "sortBy": "Max", "sortDesc": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        if self.kind in ("stat", "bargauge"):
            options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto"}
            if self.kind == "stat":
                return {**options, "colorMode": "value", "graphMode": "none", "textMode": self.extra.get("text", "auto")}
            return {**options, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
        if self.kind == "heatmap":
            return {"calculate": False, "yAxis": {"unit": self.unit}, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 32},
                    "cellGap": 1, "tooltip": {"show": True, "yHistogram": True}, "legend": {"show": True}}
        return {"showHeader": True, "cellHeight": "sm"}


def lines(title, queries, unit, *, width=8, height=8, **words):
    return Panel("timeseries", title, queries, unit, width=width, height=height, **words)


def stat(title, query, unit, *, width=4, height=4, legend="", **words):
    return Panel("stat", title, [(query, legend)], unit, width=width, height=height, **words)


def bars(title, query, legend, unit, *, width=8, height=8, **words):
    return Panel("bargauge", title, [(query, legend)], unit, width=width, height=height, **words)


def heat(title, query, unit, *, width=8, height=8, **words):
    return Panel("heatmap", title, [(query, "{{le}}")], unit, width=width, height=height, **words)


def table(title, by, columns, *, width=24, height=6, **words):
    """One row for each value of the labels `by`, one column for each of (name, query, unit)."""
    names = {f"Value #{chr(ord('A') + index)}": name for index, (name, _, _) in enumerate(columns)}
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, _, unit in columns
    ]
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]
    queries = [(query, "") for _, query, _ in columns]
    return Panel("table", title, queries, "short", width=width, height=height, overrides=overrides,
                 transformations=transformations, by=by, **words)


def states(**names):
    """What numbers are called: states(zero="no", one="yes")."""
    values = {"zero": "0", "one": "1"}
    return [{"type": "value", "options": {values[key]: {"text": text, "index": index}
                                          for index, (key, text) in enumerate(names.items())}}]


# --- dashboards --------------------------------------------------------------------------------------------------------

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def variable(name, query, label, description):
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def variables(with_realm):
    every = "meetpoint_build_info"
    within = 'job=~"$job", cluster=~"$cluster", namespace=~"$namespace"'
    found = [
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
            "regex": "", "multi": False, "includeAll": False, "current": {}, "options": [], "hide": 0, "skipUrlSync": False,
        },
        {
            "name": "runbooks", "label": "Runbooks", "type": "constant", "query": RUNBOOKS, "hide": 2,
            "description": "Where the pages of docs/runbook are published.", "skipUrlSync": True,
            "current": {"selected": False, "text": RUNBOOKS, "value": RUNBOOKS}, "options": [],
        },
        variable("cluster", f"label_values({every}, cluster)", "Cluster", "Empty where Prometheus adds no such label."),
        variable("namespace", f'label_values({every}{{cluster=~"$cluster"}}, namespace)', "Namespace",
                 "Empty outside of Kubernetes."),
        variable("job", f'label_values({every}{{cluster=~"$cluster", namespace=~"$namespace"}}, job)', "Job",
                 "The scrape job, of which there is one for each installation."),
        variable("pod", f"label_values({every}{{{within}}}, pod)", "Pod", "Empty outside of Kubernetes."),
        variable("instance", f'label_values({every}{{{within}, pod=~"$pod"}}, instance)', "Instance",
                 "The address that is scraped: one process."),
    ]
    if with_realm:
        found.append(variable("realm", f"label_values(meetpoint_realm_allocations{{{TARGET}}}, realm)", "Realm",
                              "The default one and each [realms.NAME] of the configuration."))
    return found


def annotation(name, expr, color, title, text, **more):
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": promql(expr),
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "",
        "useValueForTime": False,
        **more,
    }


ANNOTATIONS = [
    annotation("Alerts", 'ALERTS{alertname=~"Meetpoint.+", alertstate="firing", cluster=~"$cluster", namespace=~"$namespace"}',
               RED, "{{alertname}}", "{{severity}} {{pod}} {{instance}} {{realm}}"),
    annotation("Starts", "process_start_time_seconds{@} * 1000", ORANGE, "Started", EACH_LEGEND, useValueForTime=True),
    annotation("Versions", """count by (version, revision) (meetpoint_build_info{@})
               unless on (version, revision) count by (version, revision) (meetpoint_build_info{@} offset 2m)""",
               BLUE, "New version {{version}}", "revision {{revision}}"),
    annotation("Configuration", "sum by (result) (increase(meetpoint_config_reloads_total{@, result!=\"unchanged\"}[1m])) > 0",
               YELLOW, "Configuration {{result}}", "read again while running"),
]


def in_lines(panels):
    """Lists of (panel, width): as many as fit beside each other, and what is left of a line shared among them."""
    found, left = [], 0
    for panel in panels:
        if panel.width > left:
            found.append([])
            left = GRID
        found[-1].append(panel)
        left -= panel.width
    for line in found:
        spare = GRID - sum(panel.width for panel in line)
        yield [(panel, panel.width + spare // len(line) + (index < spare % len(line))) for index, panel in enumerate(line)]


def dashboard(name, title, description, rows, *, realm=False):
    """`rows` is [(title, [panels])], in the order of the questions of whoever was just woken up."""
    panels, y, number = [], 0, 0
    for row_title, row_panels in rows:
        number += 1
        panels.append({"id": number, "type": "row", "title": row_title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": GRID, "h": 1}})
        y += 1
        for line in in_lines(row_panels):
            x = 0
            for panel, width in line:
                number += 1
                panels.append(panel.as_json({"x": x, "y": y, "w": width, "h": panel.height}, number))
                x += width
            y += max(panel.height for panel, _ in line)
    return {
        # No id: Grafana gives one. The uid is what links and provisioning know.
        "uid": f"meetpoint-{name}",
        "title": f"meetpoint / {title}",
        "description": description,
        "tags": ["meetpoint"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["meetpoint"], "title": "meetpoint", "asDropdown": False, "icon": "external link",
                   "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": ""}],
        "templating": {"list": variables(realm)},
        "annotations": {"list": ANNOTATIONS},
        "panels": panels,
    }
