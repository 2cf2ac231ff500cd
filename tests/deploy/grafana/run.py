#!/usr/bin/env python3
"""Runs the tests of the dashboards and alerts: `run.py` all of them, `run.py test_dashboards` those of one file.

Needs promtool and prometheus; test_live also needs a built meetpoint (MEETPOINT) and what its load is made with.
"""

import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))


def main(names):
    names = names or sorted(path.stem for path in HERE.glob("test_*.py"))
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromNames(names))
    failed = len(result.failures) + len(result.errors)
    print(f"{max(0, result.testsRun - failed - len(result.skipped))} passed, {failed} failed", flush=True)
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
