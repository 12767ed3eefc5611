"""Validates specs against the JSON Schema, as an editor would.

usage: validate.py SCHEMA SPEC...    [{"path": [...], "message": "..."}, ...], innermost reasons
"""
import json
import sys

import jsonschema
import yaml


def reasons(error):
    """The error itself, and what is behind `if`/`then` and choices."""
    yield {"path": list(error.absolute_path), "message": error.message}
    for inner in error.context or []:
        yield from reasons(inner)


def main() -> None:
    with open(sys.argv[1]) as file:
        schema = json.load(file)
    kind = jsonschema.validators.validator_for(schema, default=None)
    assert kind is not None, "the schema does not say what it is written in"
    kind.check_schema(schema)
    found = []
    for path in sys.argv[2:]:
        with open(path) as file:
            spec = yaml.safe_load(file)
        for error in kind(schema).iter_errors(spec):
            found.extend(reasons(error))
    json.dump(found, sys.stdout)


main()
