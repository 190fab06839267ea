"""
The command `mooring`: a thin group that loads only the module of the command that is run.

Every error ends as one sentence on stderr and an exit code of `exits`.
"""

import importlib
import keyword
import os
import sys
from pathlib import Path
from typing import Final

import click

from provisioner.cli.exits import INTERNAL, INTERRUPTED, OK, USAGE, CommandFailed
from provisioner.cli.program import COMMAND, PLUGIN

COMMANDS: Final = {
    "up": "Run the engine on this machine, without a cluster.",
    "controller": "Run the controller of a Kubernetes cluster.",
    "driver": "Run the CSI driver alone.",
    "pool": "Make pools.",
    "apply": "Make objects as files say, or change them so.",
    "get": "Show objects.",
    "delete": "Delete objects.",
    "scale": "Set the number of a StatefulSet's pods.",
    "wait": "Wait for objects to become ready, bound or deleted.",
    "explain": "Say why a claim, volume or pod is as it is.",
    "history": "Show which volumes an ordinal had, and when.",
    "adopt": "Give a claim its former volume back where Mooring asks first.",
    "release": "Let a volume go: no claim gets it back by itself.",
    "forget": "Give a claim a new volume, and leave its former one where it is.",
    "recover": "Give volumes their objects back after the API server's data was lost.",
    "import": "Make a volume of a directory or an image that is there already.",
    "pools": "Show the pools of all nodes, and what takes their space.",
    "volumes": "Show all volumes on the disks, and erase those that nothing has.",
    "trash": "Show deleted volumes, restore them, or remove them for good.",
    "path": "Print where a volume is mounted.",
    "version": "Print versions.",
}
"""Command → its sentence; each stands in the module of its name (`command`)."""


class LazyGroup(click.Group):
    """Imports a command's module when that command is run, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are told of."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module_name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"provisioner.cli.commands.{module_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without loading anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def mooring() -> None:
    """Local volumes for StatefulSets: every ordinal finds its own volume again."""


def main() -> None:
    """Run the command and end the process."""
    as_plugin = Path(sys.argv[0]).name.startswith("kubectl-")
    sys.exit(run(sys.argv[1:], name=PLUGIN if as_plugin else COMMAND))


def run(arguments: list[str], *, name: str = COMMAND) -> int:
    """Run the command under one of its names, those of `program`; its exit code."""
    try:
        result = mooring.main(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "mooring"
        sys.stderr.write(f"mooring: {error.format_message()} (see `{where} --help`)\n")
        return USAGE
    except CommandFailed as error:
        sys.stderr.write(f"mooring: {error}\n")
        return error.code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click's way of saying the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has had enough
        return OK
    except Exception as error:
        if os.environ.get("MOORING_DEBUG"):
            raise
        sys.stderr.write(
            f"mooring: this should not have happened: {type(error).__name__}: {error} "
            f"(MOORING_DEBUG=1 shows where; please report it)\n"
        )
        return INTERNAL
    return result if isinstance(result, int) else OK


if __name__ == "__main__":
    main()
