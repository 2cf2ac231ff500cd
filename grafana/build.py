#!/usr/bin/env python3
"""Writes grafana/dashboards/*.json from grafana/source/*.py.

    python3 grafana/build.py            # write
    python3 grafana/build.py --check    # say what is not up to date, and fail
"""

import importlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "source"))
sys.dont_write_bytecode = True

NAMES = ["overview", "relay", "abuse", "signaling", "ice_api", "process"]


def built():
    """File name -> what should be in it."""
    files = {}
    for name in NAMES:
        made = importlib.import_module(name).DASHBOARD
        files[f"{made['uid']}.json"] = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    return files


def main(arguments):
    target = HERE / "dashboards"
    files = built()
    stale = sorted({path.name for path in target.glob("*.json")} - files.keys())
    changed = [name for name, text in files.items()
               if not (target / name).exists() or (target / name).read_text() != text]
    if arguments == ["--check"]:
        for name in stale + changed:
            print(f"grafana/dashboards/{name} is not what grafana/source makes: python3 grafana/build.py")
        return 1 if stale or changed else 0
    target.mkdir(exist_ok=True)
    for name in stale:
        (target / name).unlink()
    for name, text in files.items():
        (target / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
