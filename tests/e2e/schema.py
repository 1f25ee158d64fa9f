#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second opinion on scenarios: PyYAML and jsonschema against what `dink schema` prints.

schema.py SCHEMA FILE...   prints "FILE: valid" or "FILE: refused: why" for each
schema.py SCHEMA           checks the schema itself
schema.py mutants N FILE DIR   writes N documents that differ from FILE in one or two places
"""
import copy
import json
import random
import re
import sys

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: no `yes`, no base 60, and no key twice."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(map(str, keys))):
            raise yaml.YAMLError("a key is there twice")
        return {str(k): v for k, v in super().construct_mapping(node, deep).items()}


for tag, pattern, first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    Loader.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), first)


def load(path):
    text = open(path, "rb").read().decode("utf-8")
    if "\n---" in text or re.search(r"(^|\s)[&*!][\w!]", text) or "<<:" in text:
        # valid YAML, which dink's language leaves out
        raise yaml.YAMLError("anchors, aliases, tags, merge keys, documents")
    return yaml.load(text, Loader)


def main(schema_path, *files):
    schema = json.load(open(schema_path))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in files:
        try:
            error = next(iter(validator.iter_errors(load(path))), None)
        except (yaml.YAMLError, ValueError) as e:
            print(f"{path}: not readable: {str(e).splitlines()[0]}")
            continue
        print(f"{path}: refused: {error.message[:120]}" if error else f"{path}: valid")


# what is put where something else was; JSON is YAML
ODD = [None, True, 0, 3, -1, 0.5, 10**30, "", "x", "A b", "10GiB", "/data", "./x:/x:ro", "80:80",
       "none", "kata", [], ["x"], [[]], {}, {"a": 1}, {"a": {}}, {"image": "debian"}]


def places(value):
    """Every map and list in a value, with the keys or indices of its members."""
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from places(value[key])
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield value, i
            yield from places(item)


def mutate(value, dice):
    holder, key = dice.choice(list(places(value)))
    what = dice.randrange(4)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[dice.choice(["x", "A", "image", "size", "layers", "daemon", "target"])] = dice.choice(ODD)
    elif what == 2:
        other, at = dice.choice(list(places(value)))
        holder[key] = copy.deepcopy(other[at])
    else:
        holder[key] = dice.choice(ODD)


def mutants(count, path, folder):
    dice = random.Random(1)  # the same ones each time
    original = load(path)
    for i in range(int(count)):
        value = copy.deepcopy(original)
        for _ in range(dice.randint(1, 2)):
            mutate(value, dice)
        with open(f"{folder}/{i:04}.yaml", "w") as f:
            json.dump(value, f, ensure_ascii=False)


if sys.argv[1] == "mutants":
    mutants(*sys.argv[2:])
else:
    main(*sys.argv[1:])
