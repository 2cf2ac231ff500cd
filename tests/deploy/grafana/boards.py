"""The dashboards as Grafana reads them."""

import json

from tables import ROOT

DIRECTORY = ROOT / "grafana/dashboards"


def boards():
    """Title without the prefix -> dashboard."""
    found = {}
    for path in sorted(DIRECTORY.glob("*.json")):
        board = json.loads(path.read_text())
        found[board["title"].removeprefix("meetpoint / ")] = board
    return found


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board):
    """(where it stands, query) of each panel and annotation."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{board['title']} › {panel['title']} ({target['refId']})", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"{board['title']} › mark {annotation['name']}", annotation["expr"]


def unchecked_on_dashboards():
    """Metrics that are on no dashboard, and why."""
    return {
        "process_virtual_memory_bytes": "mapped memory says nothing that an operator could act on",
    }
