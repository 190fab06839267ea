"""`mooring get`: objects as a table, as YAML or JSON, or by name."""

import json
import sys
from collections.abc import Iterable

import click
import yaml

from provisioner.cli.client import TABLE, Refused
from provisioner.cli.exits import FAILED, OK
from provisioner.cli.options import Target, split_names, with_target
from provisioner.cli.table import lines
from provisioner.model.kinds import Json, Kind

FORMS = ("wide", "json", "yaml", "name")


@click.command("get")
@click.argument("what", nargs=-1)
@click.option("-l", "--selector", default="", help="Only objects with these labels, such as app=nginx.")
@click.option("--field-selector", default="", help="Only objects with these fields.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("-o", "--output", type=click.Choice(FORMS), help="Another form than the table.")
@click.option("-w", "--watch", is_flag=True, help="Go on and show every change.")
@click.option("--no-headers", is_flag=True, help="Without the line of headings.")
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
    wanted = split_names(what)
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    if output in {"json", "yaml", "name"}:
        return _show_objects(target, wanted, query, form=output, watch=watch)
    return _show_tables(target, wanted, query, wide=output == "wide", watch=watch, headers=not no_headers)


def _show_objects(
    target: Target, wanted: list[tuple[Kind, str]], query: dict[str, str], *, form: str, watch: bool
) -> int:
    write = {"json": _json, "yaml": _yaml, "name": _name}[form]
    found: list[Json] = []
    code, version = OK, ""
    for kind, name in wanted:
        try:
            answer = target.client.get(kind, namespace=target.within(kind), name=name, query=None if name else query)
        except Refused as error:
            code = _complain(error)
            continue
        version = (answer.get("metadata") or {}).get("resourceVersion", "")
        items = [answer] if name else answer.get("items") or []
        found += [{"apiVersion": kind.api_version, "kind": kind.name} | item for item in items]
    if form == "name" or (len(wanted) == 1 and wanted[0][1] and found):
        for item in found:
            write(item)
    elif not (code and not found):
        write({"apiVersion": "v1", "kind": "List", "items": found, "metadata": {"resourceVersion": ""}})
    if watch and len(wanted) == 1:
        kind, name = wanted[0]
        for _, obj in target.client.watch(
            kind, namespace=target.within(kind), query=_only(query, name) | {"resourceVersion": version}
        ):
            write(obj)
            sys.stdout.flush()
    return code


def _show_tables(
    target: Target, wanted: list[tuple[Kind, str]], query: dict[str, str], *, wide: bool, watch: bool, headers: bool
) -> int:
    code = OK
    several = len({kind for kind, _ in wanted}) > 1
    shown = 0
    for kind in dict.fromkeys(kind for kind, _ in wanted):
        names = [name for each, name in wanted if each == kind]
        rows: list[list[str]] = []
        widths: list[int] = []
        columns: list[Json] = []
        version = ""
        for name in names:
            try:
                table = target.client.get(
                    kind, namespace=target.within(kind), name=name, query=None if name else query, accept=TABLE
                )
            except Refused as error:
                code = _complain(error)
                continue
            version = (table.get("metadata") or {}).get("resourceVersion", "")
            columns = table.get("columnDefinitions") or columns
            found = list(_cells(table, kind, wide=wide, namespaces=target.everywhere, prefix=several))
            rows += found if not rows else found[1:]
        if len(rows) > 1:
            if shown:
                sys.stdout.write("\n")
            shown += 1
            text = lines(rows, widths=widths)
            sys.stdout.write("\n".join(text[0 if headers else 1 :]) + "\n")
        if watch and len(wanted) == 1:
            sys.stdout.flush()
            asked = _only(query, names[0]) | {"resourceVersion": version}
            _follow(target, kind, asked, wide=wide, widths=widths, columns=columns)
    if not shown and not code:
        where = "" if target.everywhere or not wanted[0][0].namespaced else f" in {target.namespace} namespace"
        sys.stderr.write(f"No resources found{where}.\n")
    return code


def _follow(
    target: Target, kind: Kind, query: dict[str, str], *, wide: bool, widths: list[int], columns: list[Json]
) -> None:
    """One line a change, for ever. A server says only once what the columns are."""
    head = not widths
    for happened, table in target.client.watch(kind, namespace=target.within(kind), query=query, accept=TABLE):
        if happened == "BOOKMARK":
            continue
        columns = table.get("columnDefinitions") or columns
        shown = table | {"columnDefinitions": columns}
        rows = list(_cells(shown, kind, wide=wide, namespaces=target.everywhere, prefix=False))
        text = lines(rows, widths=widths)
        sys.stdout.write("\n".join(text if head else text[1:]) + "\n")
        sys.stdout.flush()
        head = False


def _cells(table: Json, kind: Kind, *, wide: bool, namespaces: bool, prefix: bool) -> Iterable[list[str]]:
    """The head and the rows of a Table, as text; columns of lesser priority only in the wide form."""
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


def _only(query: dict[str, str], name: str) -> dict[str, str]:
    return {**query, "fieldSelector": f"metadata.name={name}"} if name else query


def _complain(error: Refused) -> int:
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
