"""Custom resources, whose schemas no list of Kubernetes has: closed schemas of the fields that are used here."""

import json
from pathlib import Path

import jsonschema

from rendered import HERE, Rendered

SCHEMAS = HERE / "schemas"


def schema_of(one: dict) -> Path | None:
    group, _, version = one["apiVersion"].rpartition("/")
    file = SCHEMAS / f"{one['kind'].lower()}.{group}.{version}.json"
    return file if file.is_file() else None


def is_custom(one: dict) -> bool:
    """Whether its group is somebody's own: those of Kubernetes end in k8s.io or have no dot. The Gateway API has such a
    name and is installed by itself all the same."""
    group = one["apiVersion"].rpartition("/")[0]
    return group == "gateway.networking.k8s.io" or ("." in group and not group.endswith(".k8s.io"))


def problems(rendered: Rendered):
    """What is wrong with the custom resources."""
    for one in filter(is_custom, rendered.objects):
        what = f"{one['kind']} {one['metadata']['name']}"
        if (file := schema_of(one)) is None:
            yield f"{what}: there is no schema for {one['apiVersion']} in scripts/manifests/schemas"
            continue
        validator = jsonschema.Draft202012Validator(json.loads(file.read_text()))
        for error in validator.iter_errors(one):
            yield f"{what}: {error.json_path}: {error.message}"
