#!/usr/bin/env python3
"""Draws the dashboards with the data of a run of test_live, in their layout: a look at them where there is no Grafana.

    MEETPOINT_PICTURES=/tmp/panels.json … tests/deploy/grafana/run.py test_live
    python3 tests/deploy/grafana/picture.py /tmp/panels.json DIRECTORY      # needs matplotlib

Colours, places, units and legends are those of the dashboards' JSON; the drawing is matplotlib's and not Grafana's.
"""

import json
import math
import pathlib
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

GROUND, PANEL, TEXT, FAINT = "#111217", "#181b1f", "#d8d9da", "#6e7079"
COLOURS = {"green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", None: "#5794f2"}
LINES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0", "#96d98d", "#ffee52", "#ca95e5", "#c4162a"]
ROW = 0.36  # inches for a unit of the grid


def written(value, unit):
    if value is None or math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value * 1e6:.3g} µs" if value else "0 s"
    step, names = (1024, ["B", "KiB", "MiB", "GiB"]) if unit == "bytes" else (1000, ["", "k", "M", "G"])
    index = 0
    while abs(value) >= step and index < 3:
        value, index = value / step, index + 1
    ends = {"bps": "b/s", "Bps": "B/s", "pps": "p/s", "reqps": "/s", "ops": "/s", "bytes": ""}.get(unit, "")
    return f"{value:.3g} {names[index]}{ends}".strip()


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found.group(1), ""), template).strip() or ", ".join(labels.values())


def points(series):
    return [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf", "-Inf")]


def draw(axes, entry, began, ended):
    panel, kind = entry["panel"], entry["panel"]["type"]
    defaults = panel["fieldConfig"]["defaults"]
    unit, steps = defaults["unit"], defaults["thresholds"]["steps"]
    axes.set_facecolor(PANEL)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(panel["title"], loc="left", color=TEXT, fontsize=7, pad=3)
    found = [(legend(target["legendFormat"], series["metric"]), points(series))
             for target, answer in zip(panel["targets"], entry["answers"]) for series in answer]
    found = [(name, values) for name, values in found if values]

    def colour(value):
        return COLOURS[[step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]]

    if kind == "timeseries":
        shown = sorted(found, key=lambda one: -max(value for _, value in one[1]))
        for index, (name, values) in enumerate(shown):
            axes.plot([at - began for at, _ in values], [value for _, value in values], color=LINES[index % len(LINES)], linewidth=0.8,
                      label=f"{name}  {written(values[-1][1], unit)}" if index < 6 else None)
        axes.set_xlim(0, ended - began)
        axes.set_ylim(bottom=0 if all(value >= 0 for _, values in found for _, value in values) else None)
        axes.tick_params(colors=FAINT, labelsize=5, length=0, pad=1)
        axes.yaxis.set_major_formatter(lambda value, _: written(value, unit))
        axes.grid(color="#2c3235", linewidth=0.4)
        axes.set_xticklabels([])
        if found:
            axes.legend(loc="upper left", fontsize=4.6, labelcolor=TEXT, frameon=True, facecolor=PANEL, edgecolor=PANEL, framealpha=0.7,
                        borderpad=0.2, labelspacing=0.15, handlelength=1)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    if kind == "stat":
        value = found[0][1][-1][1] if found else float("nan")
        text = written(value, unit)
        for mapping in defaults["mappings"]:
            text = mapping["options"].get(str(int(value)) if not math.isnan(value) else "", {}).get("text", text)
        axes.text(0.5, 0.45, text if found else defaults["noValue"], color=colour(value) if found else FAINT, fontsize=15, ha="center", va="center",
                  transform=axes.transAxes)
    elif kind == "bargauge":
        shown = sorted(((values[-1][1], name) for name, values in found), reverse=True)[:9]
        for index, (value, name) in enumerate(shown):
            axes.barh(-index, value, color=colour(value), height=0.6)
            axes.text(0, -index, f" {name}  {written(value, unit)}", color=TEXT, fontsize=5, va="center")
    elif kind == "heatmap":
        rows = sorted(((float(series["metric"]["le"]), points(series)) for series in entry["answers"][0]), key=lambda one: one[0])
        grid = [[value for _, value in values] for _, values in rows]
        length = min(map(len, grid))
        steps_ = [[max(0, grid[row][at] - (grid[row - 1][at] if row else 0)) for at in range(length)] for row in range(len(grid))]
        axes.imshow(steps_, aspect="auto", origin="lower", cmap="Oranges", interpolation="nearest")
        axes.set_yticks(range(len(rows)), [written(le, unit) if le < 1e9 else "more" for le, _ in rows])
        axes.tick_params(colors=FAINT, labelsize=5, length=0)
    else:
        by = [name.strip() for name in panel_by(panel)]
        units = {override["matcher"]["options"]: override["properties"][0]["value"] for override in panel["fieldConfig"]["overrides"]}
        heads = list(units)
        lines = {}
        for column, answer in zip(heads, entry["answers"]):
            for series in answer:
                values = points(series)
                if values:
                    key = tuple(series["metric"].get(name, "") for name in by)
                    lines.setdefault(key, {})[column] = written(values[-1][1], units[column]) if units[column] != "dateTimeAsIso" else "a time"
        cells = [[*key, *(line.get(head, "") for head in heads)] for key, line in sorted(lines.items())]
        if cells:
            drawn = axes.table(cellText=cells, colLabels=[*by, *heads], loc="upper left", cellLoc="left", edges="horizontal")
            drawn.auto_set_font_size(False)
            drawn.set_fontsize(5.2)
            for cell in drawn.get_celld().values():
                cell.set_edgecolor("#2c3235")
                cell.get_text().set_color(TEXT)


def panel_by(panel):
    return re.search(r"by \(([^)]*)\)", panel["targets"][0]["expr"]).group(1).split(",")


def main(source, directory):
    data = json.loads(pathlib.Path(source).read_text())
    for title, entries in data["boards"].items():
        height = max(entry["panel"]["gridPos"]["y"] + entry["panel"]["gridPos"]["h"] for entry in entries)
        figure = plt.figure(figsize=(14, height * ROW), facecolor=GROUND)
        for row in data["rows"][title]:
            figure.text(0.008, 1 - (row["gridPos"]["y"] + 0.6) / height, f"▾ {row['title']}", color=TEXT, fontsize=8, weight="bold", va="center")
        for entry in entries:
            place = entry["panel"]["gridPos"]
            has_axis = entry["panel"]["type"] in ("timeseries", "heatmap")
            left, right, below, above = (0.035 if has_axis else 0.008), 0.006, 0.3 / height, 0.75 / height
            axes = figure.add_axes([place["x"] / 24 + left, 1 - (place["y"] + place["h"]) / height + below,
                                    place["w"] / 24 - left - right, place["h"] / height - below - above])
            draw(axes, entry, data["began"], data["ended"])
        path = pathlib.Path(directory) / f"dashboard-{title.lower().replace(' ', '-')}.png"
        figure.savefig(path, dpi=80, facecolor=GROUND)
        plt.close(figure)
        # A palette: a third of the size.
        Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
