"""Read manifests from YAML or JSON files, strictly; a file may have several."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import yaml

from provisioner import limits
from provisioner.cli.exits import BAD_INPUT, CommandError
from provisioner.model import yaml_limits
from provisioner.model.kinds import KINDS, Json, Kind, kind_of

SUFFIXES = (".yaml", ".yml", ".json")


class StrictLoader(yaml.SafeLoader):
    """
    A YAML loader that refuses duplicate keys, since one of the values would be lost silently.

    It is not the loader in C, which crashes the process on a file that is nested too deeply.
    """


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is duplicate", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_all(sources: tuple[str, ...]) -> list[tuple[Kind, Json]]:
    """
    Return all objects of files, directories, or ``-`` for standard input, in order.

    Raises CommandError, also when there is no object: most often it is the wrong file.
    """
    found = [_known(obj, where) for source in sources for where, obj in _read(source)]
    if not found:
        raise CommandError(f"no objects passed: {', '.join(sources)} has none; name a file with objects")
    return found


def _read(source: str) -> Iterator[tuple[str, Any]]:
    if source == "-":
        yield from _documents("standard input", _text(sys.stdin, "standard input"))
        return
    path = Path(source)
    try:
        files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES) if path.is_dir() else [path]
        for each in files:
            with each.open(encoding="utf-8") as file:
                text = _text(file, str(each))
            yield from _documents(str(each), text)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{source} cannot be read: {error}", code=BAD_INPUT) from None


def _text(file: TextIO, where: str) -> str:
    """Return the whole text. Raises CommandError for more than YAML_FILE_CHARACTERS characters."""
    text = file.read(limits.YAML_FILE_CHARACTERS + 1)
    if len(text) > limits.YAML_FILE_CHARACTERS:
        message = f"{where}: the file has more than {limits.YAML_FILE_CHARACTERS} characters; split it"
        raise CommandError(message, code=BAD_INPUT)
    return text


def _documents(where: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        yaml_limits.check(text, yaml_limits.FILE)
        for document in yaml.load_all(text, Loader=StrictLoader):
            if document is None:
                continue
            items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
            for obj in items if isinstance(items, list) else [document]:
                yield where, obj
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        nested = "it is nested too deeply"
        problem = getattr(error, "problem", None) or (nested if isinstance(error, RecursionError) else error)
        raise CommandError(f"{where}{line}: {problem}", code=BAD_INPUT) from None


def _known(obj: Any, where: str) -> tuple[Kind, Json]:
    if not isinstance(obj, dict):
        raise CommandError(
            f"{where}: an object is a map with apiVersion and kind, not a {type(obj).__name__}", code=BAD_INPUT
        )
    version, name = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
    kind = kind_of(version, name)
    if kind is None:
        known = ", ".join(sorted(f"{each.api_version} {each.name}" for each in KINDS))
        raise CommandError(
            f"{where}: Mooring does not serve kind {version} {name}; the kinds are {known}", code=BAD_INPUT
        )
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise CommandError(f"{where}: the {name} has no metadata.name", code=BAD_INPUT)
    return kind, obj
