"""
A check of objects by the models of the kubernetes package, which forbid unknown fields.

The models are generated from the server's OpenAPI document, so a server with strict field validation has the same result.
"""

import re
from collections.abc import Iterator

from kubernetes import client
from pydantic import ValidationError

from provisioner.model.kinds import Json


def problems(obj: Json) -> list[str]:
    """Return the errors of an object, each with its path; an empty list for a valid one."""
    version = obj["apiVersion"].rpartition("/")[2]
    model = getattr(client, f"{version.capitalize()}{obj['kind']}", None)
    if model is None:
        return [f"{obj['apiVersion']} {obj['kind']} is an unknown kind"]
    found = [f"{path} has the name of a Python attribute" for path in _snake(obj, obj["kind"])]
    try:
        model.model_validate(obj, strict=True)
    except ValidationError as error:
        found += [".".join(map(str, (obj["kind"], *each["loc"]))) + f": {each['msg']}" for each in error.errors()]
    return found


def _snake(value: object, path: str) -> Iterator[str]:
    """Yield the paths of fields with Python names, which the models accept, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            if re.fullmatch(r"[a-z]+(_[a-z]+)+", key):
                yield f"{path}.{key}"
            yield from _snake(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _snake(item, path)
