#!/usr/bin/env bash
# Tests of the Helm chart, with an environment of their own. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$target/helm-python
requirements=tests/deploy/helm/requirements.txt
if ! cmp -s $requirements "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r $requirements
    cp $requirements "$venv/requirements.txt"
fi
cargo build --quiet --bin meetpoint
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider --tb=short tests/deploy/helm "$@"
