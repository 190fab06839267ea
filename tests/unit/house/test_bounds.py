"""The tables of limits are documented and tested, and everything in the sources that grows has an entry."""

import importlib.machinery
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import csi.limits
import provisioner.limits
from tests.conftest import ROOT

DRIVEN = re.compile(r"pytest\.mark\.bound\(([^)]*)\)")
NAME = re.compile(r'"([a-z0-9-]+)"')
TABLES: dict[str, Mapping[str, Any]] = {"csi": csi.limits.TABLE, "provisioner": provisioner.limits.TABLE}


def _lint() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("bounds", str(ROOT / "hack" / "bounds"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


LINT = _lint()


def test_every_entry_has_a_test_that_exceeds_it_and_every_such_test_names_an_entry() -> None:
    """An entry without a test may be untrue; no name is in both tables."""
    driven = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for mark in DRIVEN.findall(path.read_text(encoding="utf-8"))
        for name in NAME.findall(mark)
    }

    assert set(TABLES["csi"]) & set(TABLES["provisioner"]) == set()
    assert driven == {*TABLES["csi"], *TABLES["provisioner"]}


def test_the_documentation_shows_both_tables() -> None:
    """`hack/bounds --table` prints what has to be in docs/limits.md."""
    assert LINT.rendered().strip() in (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", TABLES)
def test_every_entry_is_complete(package: str) -> None:
    """An entry has a value above 0, a unit, its subject, and the behaviour beyond it."""
    for name, each in TABLES[package].items():
        assert each.value > 0, name
        assert all((each.unit, each.on, each.beyond)), name


GROWS = {
    "import asyncio\nqueue = asyncio.Queue()\n": "a queue",
    "from collections import deque\nfound = deque()\n": "a queue",
    "from collections import deque\nfound = deque(maxlen=7)\n": "a queue",
    "import functools\n@functools.cache\ndef f(x): return x\n": "a cache",
    "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef f(x): return x\n": "a cache",
    "def f(file): return file.read()\n": "a read",
    "def f(path): return path.read_text(encoding='utf-8')\n": "a read",
    "import grpc.aio\nserver = grpc.aio.server()\n": "a server",
    "from aiohttp import web\napp = web.Application()\n": "a server",
    "class S:\n    async def ListThings(self, request):\n        return [each for each in request]\n": "a list answer",
    "import time\ndef f():\n    while True:\n        time.sleep(1)\n": "a retry",
    "def f(ask):\n    token = ''\n    while True:\n        token = ask(token).next_page_token\n": "a list that is followed",
    "from collections import deque\n# limit: no-such-entry\nfound = deque()\n": "does not have",
    "from collections import deque\n# unbounded: because\nfound = deque()\n": "does not say why",
}

BOUNDED = (
    "from csi import limits\nfrom collections import deque\nfound = deque(maxlen=limits.CALLS)\n",
    "from csi import limits\nMOST = limits.CALLS\nfrom collections import deque\nfound = deque(maxlen=MOST)\n",
    "from collections import deque\n# limit: calls\nfound = deque()\n",
    "from collections import deque\n# unbounded: one for each pool\nfound = deque()\n",
    "def f(file): return file.read(16)\n",
    "class S:\n    async def ListThings(self, request):\n        return page(request, size=1)\n",
)


@pytest.mark.parametrize("text", GROWS)
def test_growth_without_an_entry_is_refused(text: str) -> None:
    """The problem has the line and the kind of growth."""
    (problem,) = LINT.problems(Path("x.py"), text, set(), TABLES["csi"])

    assert GROWS[text] in problem
    assert re.match(r"x\.py:\d+: ", problem)


@pytest.mark.parametrize("text", BOUNDED)
def test_growth_with_an_entry_or_a_reason_is_accepted(text: str) -> None:
    """The entry is referred to in the code, by a constant that is made of it, or by a comment."""
    known = LINT.names_of_limits({Path("x.py"): LINT.ast.parse(text)})

    assert [] == list(LINT.problems(Path("x.py"), text, known, TABLES["csi"]))


def test_the_sources_have_nothing_that_grows_without_an_entry() -> None:
    """This is the check of `make lint`."""
    result = subprocess.run([sys.executable, "hack/bounds"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
