"""
Is an object just as Kubernetes has it? The models that the kubernetes package brings forbid fields they do not know.

They are generated from the server's own OpenAPI document; the server itself, asked to be strict, says the same.
"""

import re
from collections.abc import Iterator

from kubernetes import client
from pydantic import ValidationError

from provisioner.model.kinds import Json


def problems(obj: Json) -> list[str]:
    """What is wrong with it, each with its path; nothing when it is a proper object of its kind."""
    version = obj["apiVersion"].rpartition("/")[2]
    model = getattr(client, f"{version.capitalize()}{obj['kind']}", None)
    if model is None:
        return [f"{obj['apiVersion']} {obj['kind']} is no kind that is known"]
    found = [f"{path} is spelt as in Python" for path in _snake(obj, obj["kind"])]
    try:
        model.model_validate(obj, strict=True)
    except ValidationError as error:
        found += [".".join(map(str, (obj["kind"], *each["loc"]))) + f": {each['msg']}" for each in error.errors()]
    return found


def _snake(value: object, path: str) -> Iterator[str]:
    """The models take Python's names, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            if re.fullmatch(r"[a-z]+(_[a-z]+)+", key):
                yield f"{path}.{key}"
            yield from _snake(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _snake(item, path)
