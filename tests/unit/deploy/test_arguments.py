"""The programs accept the arguments in the manifests."""

import re

import click
import pytest

from csi.__main__ import main as driver
from provisioner.cli.main import COMMANDS, mooring
from provisioner.model.kinds import Json
from tests import programs
from tests.unit.deploy.rendering import OVERLAYS, charted, container, overlay

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]


def _with(env: list[Json], argument: str) -> str:
    """Expand the variables in an argument as kubelet does."""
    known = {each["name"]: each.get("value", "x") for each in env}
    return re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], argument)


def _command(word: str) -> click.Command | None:
    if word == "driver":
        return driver
    return mooring.get_command(click.Context(mooring), word) if word in COMMANDS else None


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_the_arguments_are_valid(name: str, kind: str) -> None:
    """They are parsed by the command line of the program."""
    container_spec = container(overlay(name), kind)
    word, *arguments = [_with(container_spec["env"], each) for each in container_spec["args"]]
    command = _command(word)
    assert command is not None
    known = {option for each in command.params for option in each.opts}
    assert not {argument.partition("=")[0] for argument in arguments} - known
    command.make_context(word, arguments)


def test_the_chart_passes_the_capacity_of_new_nodes_on() -> None:
    """The argument is present only if the value is set, and the command accepts it."""
    argument = "--template-node-capacity=100Gi"
    _, *arguments = container(charted("--set", "templateNodeCapacity=100Gi"), "Deployment")["args"]
    assert argument in arguments
    assert not [each for each in container(charted(), "Deployment")["args"] if "template-node" in each]
    command = _command("controller")
    assert command is not None
    assert command.make_context("controller", [argument]).params["template_bytes"] == 100 << 30
