"""Every query of every dashboard gives data from a real Prometheus that scrapes meetpoints under load of every kind."""

import json
import math
import os
import pathlib
import time
import unittest

import boards
import load
import promql
from stage import Stage

# Panels whose every value may be 0 here, and why. All others must show something of the load, and each query some value.
MAY_BE_ZERO = {
    "Overview › Alerts firing": "the rules need minutes, test_alerts has them fire",
    "ICE API › Panics": "there is no way to make one",
    "Relay › Being made": "a moment between two scrapes",
    "Relay › Lost in this machine": "the loopback device loses nothing that a machine of two cores can send",
    "Signaling › Refused: hub full": "the refused are counted by the process that is killed in between",
    "Signaling › Sessions that wait": "two sockets must break within one look of the hub",
    "Signaling › PeerJS: letters for nobody": "they wait for five seconds, unless the client may not connect without a token",
    "Signaling › Waiting for Redis": "Redis hangs for less than a second, between two scrapes on a fast machine",
}


def number(text):
    value = float(text)
    return None if math.isnan(value) else value


class Live(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage())
        cls.stage.complaints = []
        cls.clients = load.everything(cls.stage)
        cls.clients.append(load.redirect(cls.stage))
        cls.ended = time.time()
        if os.environ.get("MEETPOINT_PICTURES"):
            cls.kept(pathlib.Path(os.environ["MEETPOINT_PICTURES"]))

    @classmethod
    def kept(cls, path):
        """What picture.py draws."""
        data = {title: [{"panel": panel, "answers": [cls.over_time(cls, target["expr"]) for target in panel["targets"]]}
                        for panel in boards.panels(board)] for title, board in boards.boards().items()}
        path.write_text(json.dumps({"began": cls.stage.began, "ended": cls.ended, "boards": data,
                                    "rows": {title: [panel for panel in board["panels"] if panel["type"] == "row"]
                                             for title, board in boards.boards().items()}}))

    def over_time(self, expr):
        return self.stage.query(promql.filled(expr, __rate_interval="15s", __range="2m"), "query_range",
                                start=self.stage.began - 2, end=self.ended, step="1s")

    def test_every_panel_shows_data_of_the_load(self):
        empty, zero = [], []
        for board in boards.boards().values():
            for panel in boards.panels(board):
                place = f"{board['title'].removeprefix('meetpoint / ')} › {panel['title']}"
                highest = 0
                for target in panel["targets"]:
                    values = [number(value) for series in self.over_time(target["expr"]) for _, value in series["values"]]
                    values = [value for value in values if value is not None]
                    if not values:
                        empty.append(f"{place} ({target['legendFormat']}): {target['expr']}")
                    highest = max([highest, *map(abs, values)])
                if highest == 0 and place not in MAY_BE_ZERO:
                    zero.append(place)
        self.assertEqual(self.stage.complaints, [])
        self.assertFalse(empty + zero, "\n" + "\n".join(["without data:", *empty, "always zero:", *zero]))

    def test_every_excuse_is_of_a_panel(self):
        places = {f"{title} › {panel['title']}" for title, board in boards.boards().items() for panel in boards.panels(board)}
        self.assertEqual(MAY_BE_ZERO.keys() - places, set())

    def test_every_mark_is_a_query_that_prometheus_answers(self):
        for board in boards.boards().values():
            for annotation in board["annotations"]["list"]:
                found = self.over_time(annotation["expr"])
                if annotation["name"] in ("Starts", "Configuration"):
                    self.assertTrue(found, annotation["name"])
