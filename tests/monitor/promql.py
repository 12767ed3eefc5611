"""Parses the expressions of rules and dashboards: `promql.py ALERTS DASHBOARD` prints them, and the metrics in them, as JSON."""

import json
import pathlib
import sys

import promql_parser
import yaml


def metrics(node):
    """The names of all series that an expression reads."""
    name = getattr(node, "name", None)
    found = {name} if isinstance(name, str) and type(node).__name__ == "VectorSelector" else set()
    for part in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        inner = getattr(node, part, None)
        if inner is not None and not isinstance(inner, (str, int, float)):
            found |= metrics(inner)
    for inner in getattr(node, "args", None) or []:
        found |= metrics(inner)
    return found


alerts = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
board = json.loads(pathlib.Path(sys.argv[2]).read_text())
expressions = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
expressions += [t["expr"] for panel in board["panels"] for t in panel["targets"]]
print(json.dumps([[e, sorted(metrics(promql_parser.parse(e.replace("$pipeline", ".*"))))] for e in expressions]))
