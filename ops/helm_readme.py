#!/usr/bin/env python3
"""Makes helm/meetpoint/README.md from the comments of values.yaml.

A value is documented by the comment above it that begins with `# --`; a comment without the dashes is about what is below it. Needs
nothing but Python: what YAML the file uses is little.

    python3 ops/helm_readme.py            # writes it
    python3 ops/helm_readme.py --check    # says whether it is up to date
"""

import re
import sys
from pathlib import Path

CHART = Path(__file__).resolve().parents[1] / "helm" / "meetpoint"

HEAD = """# The chart meetpoint

<!-- Made from values.yaml by ops/helm_readme.py; a test keeps it in step. -->

STUN/TURN relay, WebSocket signaling hub and API for ICE servers. From nothing to a relayed call, cloud by cloud:
[docs/kubernetes.md](../../docs/kubernetes.md). Values files to begin with: [examples](examples).

```sh
helm install meetpoint helm/meetpoint --namespace turn --create-namespace \\
  --set image.registry=registry.example.org/team --set relay.host=turn.example.org
```

Needs Kubernetes 1.30 or newer and Helm 3.17 or newer. Values that are not listed here are refused, and so are ones that cannot work
together, with what to do about it.

| value | default | meaning |
|---|---|---|
"""


def rows(text):
    comment, path = [], []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if not line.strip():
            comment = []
            continue
        if match := re.match(r"\s*# ?(.*)", line):
            comment.append(match[1])
            continue
        match = re.match(r"( *)([A-Za-z0-9]+):(.*)", line)
        if not match:
            continue
        indent, key, value = len(match[1]) // 2, match[2], match[3].strip()
        path = [*path[:indent], key]
        said, comment = comment, []
        if not value:
            # A mapping, of which each key stands for itself; or one that is documented as a whole.
            if not (said and said[0].startswith("-- ")):
                continue
            inner = []
            for following in lines[at + 1 :]:
                if following.strip() and len(following) - len(following.lstrip()) <= len(match[1]):
                    break
                if following.strip():
                    inner.append(following.strip())
            value = f"{{{', '.join(inner)}}}"
        elif len(path) > 1 and ".".join(path[:-1]) in whole:
            continue
        meaning = " ".join(said)
        if meaning.startswith("-- "):
            meaning = meaning[3:]
            if not match[3].strip():
                whole.add(".".join(path))
        else:
            meaning = ""
        yield ".".join(path), value, meaning


whole = set()


def readme():
    text = (CHART / "values.yaml").read_text()
    whole.clear()
    escape = lambda cell: cell.replace("|", "\\|")  # noqa: E731
    return HEAD + "".join(f"| `{path}` | `{escape(value)}` | {escape(meaning)} |\n" for path, value, meaning in rows(text))


def main():
    path = CHART / "README.md"
    if "--check" in sys.argv:
        if path.read_text() != readme():
            sys.exit("helm/meetpoint/README.md is not what values.yaml says: run python3 ops/helm_readme.py")
        return
    path.write_text(readme())


if __name__ == "__main__":
    main()
