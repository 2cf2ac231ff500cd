#!/usr/bin/env python3
"""Writes what is inside the program as a CycloneDX 1.5 document: every crate that is linked, by Cargo.lock.

Crates that only build, test or measure it are not in the program, and so not in the list.
"""

import argparse
import json
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone


def metadata():
    """What Cargo resolved for Linux, with the features of the program."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def linked(found):
    """The ids of the packages that are reached by normal dependencies, the program's own first, and who needs whom."""
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    root = found["resolve"]["root"]
    needs, open_ends = {}, [root]
    while open_ends:
        package = open_ends.pop()
        if package in needs:
            continue
        normal = [
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        needs[package] = normal
        open_ends.extend(normal)
    return root, needs


def component(package, checksum):
    name, version = package["name"], package["version"]
    one = {
        "type": "library",
        "bom-ref": package["id"],
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package.get("license"):
        # "MIT/Apache-2.0" is how crates wrote OR before SPDX.
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        one["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return one


def document(version, revision, time):
    found = metadata()
    packages = {package["id"]: package for package in found["packages"]}
    with open("Cargo.lock", "rb") as file:
        lock = {(entry["name"], entry["version"]): entry.get("checksum") for entry in tomllib.load(file)["package"]}
    root, needs = linked(found)
    order = sorted((name for name in needs if name != root), key=lambda one: (packages[one]["name"], packages[one]["version"]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same for the same revision.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'meetpoint {version} {revision}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "meetpoint",
                "version": version,
                "properties": [{"name": "meetpoint:revision", "value": revision}],
            },
        },
        "components": [
            component(packages[one], lock.get((packages[one]["name"], packages[one]["version"]))) for one in order
        ],
        "dependencies": [{"ref": one, "dependsOn": sorted(set(needs[one]))} for one in [root, *order]],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--time", required=True, type=int)
    asked = parser.parse_args()
    print(json.dumps(document(asked.version, asked.revision, asked.time), indent=1))
