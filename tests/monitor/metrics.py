"""Parses metrics with Prometheus's own parser: `metrics.py FILE` prints name, labels and value of every sample as JSON."""

import json
import pathlib
import sys

from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(pathlib.Path(sys.argv[1]).read_text()))
for family in families:
    assert family.type != "unknown", f"{family.name} has no type"
    assert family.documentation, f"{family.name} has no help text"
print(json.dumps([[s.name, s.labels, s.value] for f in families for s in f.samples]))
