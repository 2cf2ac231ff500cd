"""As much of PromQL as is needed to say which series a query asks for. Whether it parses at all is asked of promtool."""

import re

from tables import FOREIGN, TARGET_LABELS

# What Grafana puts in for its variables.
VARIABLES = {
    "$__rate_interval": "1m", "$__interval": "15s", "$__range": "1h",
    "$job": ".*", "$cluster": ".*", "$namespace": ".*", "$pod": ".*", "$instance": ".*", "$realm": ".*",
}


def filled(expr, **values):
    """The query as Grafana would send it with everything selected."""
    for name, value in {**VARIABLES, **{f"${key}": value for key, value in values.items()}}.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"an unknown variable: {expr}"
    return expr


def series(expr):
    """Yields (metric name, {label: (operator, value)}) for each selector."""
    bare = re.sub(r"\{[^}]*\}", lambda found: "\0" * len(found.group()), expr)
    bare = re.sub(r'"[^"]*"', lambda found: "\0" * len(found.group()), bare)
    for found in re.finditer(r"\b(meetpoint_\w+|process_\w+|meetpoint:[\w:]+|up|ALERTS)\b", bare):
        rest = expr[found.end():]
        matchers = {}
        if rest.startswith("{"):
            inside = rest[1:rest.index("}")]
            for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', inside):
                matchers.setdefault(label, []).append((operator, value))
        yield found.group(), matchers


def base_name(name, metrics):
    """The family of a sample: `x_bucket`, `x_sum` and `x_count` are of the histogram `x`."""
    for suffix in ("_bucket", "_sum", "_count"):
        family = name.removesuffix(suffix)
        if family != name and family in metrics and metrics[family].kind == "histogram":
            return family
    return name


def complaints(expr, metrics, rules=()):
    """What a query names that no meetpoint has, and counters that are read as if they were gauges or the other way round."""
    wrong, labels = [], set(TARGET_LABELS) | {"le"}
    for name, matchers in series(expr):
        if name in rules:
            labels |= rules[name]
            continue
        family = base_name(name, metrics)
        if family in metrics:
            known = metrics[family].labels
        elif name in FOREIGN:
            known = FOREIGN[name]
        else:
            wrong.append(f"no metric `{name}`")
            continue
        labels |= set(known)
        for label, tests in matchers.items():
            if label in TARGET_LABELS or label == "le":
                continue
            if label not in known:
                wrong.append(f"`{name}` has no label `{label}`")
                continue
            values = known[label]
            for operator, value in tests:
                wanted = value.split("|") if "~" in operator else [value]
                if values is not None and value not in ("$realm",):
                    wrong += [f"`{name}` has no {label}=\"{one}\"" for one in wanted if one not in values]
    for grouped in re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([\w\s,]*)\)", expr):
        wrong += [f"grouped by `{label}`, which none of its series has"
                  for label in re.findall(r"\w+", grouped) if label not in labels]
    for function, name in re.findall(r"\b(\w+)\(\s*(meetpoint_\w+|process_\w+)", expr):
        family = base_name(name, metrics)
        kind = metrics[family].kind if family in metrics else "counter"
        if function in ("rate", "increase", "irate") and kind == "gauge":
            wrong.append(f"{function}() of the gauge `{name}`")
        if function in ("sum", "max", "min", "avg", "deriv", "delta") and kind != "gauge":
            wrong.append(f"{function}() of the counter `{name}` without a rate")
    for name in re.findall(r"\bby \([^)]*\) \((meetpoint_\w+_total)\b", expr):
        wrong.append(f"the counter `{name}` without a rate")
    return wrong
