"""`mooring get`: print objects as a table, as YAML, as JSON, or their names."""

import json
import sys
from collections.abc import Iterable

import click
import yaml

from provisioner.cli.client import TABLE, StatusError
from provisioner.cli.exits import FAILED, OK
from provisioner.cli.options import Target, split_names, with_target
from provisioner.cli.table import lines
from provisioner.model.kinds import Json, Kind

FORMS = ("wide", "json", "yaml", "name")


@click.command("get")
@click.argument("what", nargs=-1)
@click.option("-l", "--selector", default="", help="Select objects by labels, such as app=nginx.")
@click.option("--field-selector", default="", help="Select objects by fields.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Show objects of all namespaces.")
@click.option("-o", "--output", type=click.Choice(FORMS), help="Output format, instead of the table.")
@click.option("-w", "--watch", is_flag=True, help="Watch for changes and print each.")
@click.option("--no-headers", is_flag=True, help="Omit the header line.")
@with_target
def command(
    *,
    what: tuple[str, ...],
    selector: str,
    field_selector: str,
    all_namespaces: bool,
    output: str | None,
    watch: bool,
    no_headers: bool,
    target: Target,
) -> int:
    """
    Show objects.

    WHAT is KIND, KIND NAME…, KIND/NAME… or several kinds as in pvc,pv.
    """
    target = Target(target.client, target.namespace, all_namespaces)
    requested = split_names(what)
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    if output in {"json", "yaml", "name"}:
        return _show_objects(target, requested, query, form=output, watch=watch)
    return _show_tables(target, requested, query, wide=output == "wide", watch=watch, headers=not no_headers)


def _show_objects(
    target: Target, requested: list[tuple[Kind, str]], query: dict[str, str], *, form: str, watch: bool
) -> int:
    write = {"json": _json, "yaml": _yaml, "name": _name}[form]
    found: list[Json] = []
    code, version = OK, ""
    for kind, name in requested:
        try:
            response = target.client.get(kind, namespace=target.within(kind), name=name, query=None if name else query)
        except StatusError as error:
            code = _print_error(error)
            continue
        version = (response.get("metadata") or {}).get("resourceVersion", "")
        items = [response] if name else response.get("items") or []
        found += [{"apiVersion": kind.api_version, "kind": kind.name} | item for item in items]
    if form == "name" or (len(requested) == 1 and requested[0][1] and found):
        for item in found:
            write(item)
    elif not (code and not found):
        write({"apiVersion": "v1", "kind": "List", "items": found, "metadata": {"resourceVersion": ""}})
    if watch and len(requested) == 1:
        kind, name = requested[0]
        for _, obj in target.client.watch(
            kind, namespace=target.within(kind), query=_with_name(query, name) | {"resourceVersion": version}
        ):
            write(obj)
            sys.stdout.flush()
    return code


def _show_tables(
    target: Target, requested: list[tuple[Kind, str]], query: dict[str, str], *, wide: bool, watch: bool, headers: bool
) -> int:
    code = OK
    several = len({kind for kind, _ in requested}) > 1
    shown = 0
    for kind in dict.fromkeys(kind for kind, _ in requested):
        names = [name for each, name in requested if each == kind]
        rows: list[list[str]] = []
        widths: list[int] = []
        columns: list[Json] = []
        version = ""
        for name in names:
            try:
                table = target.client.get(
                    kind, namespace=target.within(kind), name=name, query=None if name else query, accept=TABLE
                )
            except StatusError as error:
                code = _print_error(error)
                continue
            version = (table.get("metadata") or {}).get("resourceVersion", "")
            columns = table.get("columnDefinitions") or columns
            found = list(_cells(table, kind, wide=wide, namespaces=target.all_namespaces, prefix=several))
            rows += found if not rows else found[1:]
        if len(rows) > 1:
            if shown:
                sys.stdout.write("\n")
            shown += 1
            text = lines(rows, widths=widths)
            sys.stdout.write("\n".join(text[0 if headers else 1 :]) + "\n")
        if watch and len(requested) == 1:
            sys.stdout.flush()
            params = _with_name(query, names[0]) | {"resourceVersion": version}
            _follow(target, kind, params, wide=wide, widths=widths, columns=columns)
    if not shown and not code:
        where = "" if target.all_namespaces or not requested[0][0].namespaced else f" in {target.namespace} namespace"
        sys.stderr.write(f"No resources found{where}.\n")
    return code


def _follow(
    target: Target, kind: Kind, query: dict[str, str], *, wide: bool, widths: list[int], columns: list[Json]
) -> None:
    """Print one line for each change until the watch ends. Only the first Table of a watch has the column names."""
    head = not widths
    for event_type, table in target.client.watch(kind, namespace=target.within(kind), query=query, accept=TABLE):
        if event_type == "BOOKMARK":
            continue
        columns = table.get("columnDefinitions") or columns
        shown = table | {"columnDefinitions": columns}
        rows = list(_cells(shown, kind, wide=wide, namespaces=target.all_namespaces, prefix=False))
        text = lines(rows, widths=widths)
        sys.stdout.write("\n".join(text if head else text[1:]) + "\n")
        sys.stdout.flush()
        head = False


def _cells(table: Json, kind: Kind, *, wide: bool, namespaces: bool, prefix: bool) -> Iterable[list[str]]:
    """Yield the header and the rows of a Table as text; columns with a priority above 0 only if `wide`."""
    columns = table.get("columnDefinitions") or []
    chosen = [number for number, each in enumerate(columns) if wide or not each.get("priority")]
    yield (["NAMESPACE"] if namespaces and kind.namespaced else []) + [columns[each]["name"].upper() for each in chosen]
    for row in table.get("rows") or []:
        cells = [_text(row["cells"][number]) for number in chosen]
        metadata = (row.get("object") or {}).get("metadata") or {}
        if prefix and cells:
            group = f".{kind.group}" if kind.group else ""
            cells[0] = f"{kind.singular}{group}/{cells[0]}"
        yield ([metadata.get("namespace", "")] if namespaces and kind.namespaced else []) + cells


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)


def _with_name(query: dict[str, str], name: str) -> dict[str, str]:
    return {**query, "fieldSelector": f"metadata.name={name}"} if name else query


def _print_error(error: StatusError) -> int:
    sys.stderr.write(f"mooring: {error}\n")
    return FAILED


def _json(obj: Json) -> None:
    sys.stdout.write(json.dumps(obj, indent=4) + "\n")


def _yaml(obj: Json) -> None:
    sys.stdout.write(yaml.dump(obj, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True))


def _name(obj: Json) -> None:
    group = obj["apiVersion"].rpartition("/")[0]
    kind = obj["kind"].lower()
    sys.stdout.write(f"{kind}{'.' + group if group else ''}/{obj['metadata']['name']}\n")
