"""
The entry point of `mooring`, which imports only the module of the subcommand that is run.

Every error becomes one message on stderr and an exit code of `exits`.
"""

import importlib
import keyword
import os
import sys
from pathlib import Path
from typing import Final

import click

from provisioner.cli.exits import INTERNAL, INTERRUPTED, OK, USAGE, CommandError
from provisioner.cli.program import COMMAND, PLUGIN

COMMANDS: Final = {
    "up": "Run the engine on this machine, without a cluster.",
    "controller": "Run the controller of a Kubernetes cluster.",
    "driver": "Run the CSI driver alone.",
    "pool": "Create pools.",
    "apply": "Create or update objects from manifest files.",
    "get": "Show objects.",
    "delete": "Delete objects.",
    "scale": "Set the number of a StatefulSet's pods.",
    "wait": "Wait for objects to become ready, bound or deleted.",
    "explain": "Show the state of a claim, volume or pod, and why.",
    "history": "Show which volumes an ordinal was bound to, and when.",
    "adopt": "Let a claim adopt a former volume that is not adopted automatically.",
    "release": "Exclude a volume from automatic adoption.",
    "forget": "Give a claim a new volume instead of its former one.",
    "recover": "Recreate PersistentVolumes after the API server's data was lost.",
    "import": "Make a volume of an existing directory or image.",
    "pools": "Show the pools of all nodes, and what uses their space.",
    "volumes": "Show all volumes on the disks, and erase orphans.",
    "trash": "List, restore or purge deleted volumes.",
    "path": "Print where a volume is mounted.",
    "version": "Print versions.",
}
"""Command → its summary. `command` in the module of the same name has the same first line in its docstring."""


class LazyGroup(click.Group):
    """A group of commands that imports the module of a command only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command; None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module_name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"provisioner.cli.commands.{module_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the help, without importing their modules."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def mooring() -> None:
    """Local volumes for StatefulSets: each ordinal is bound to its former volume again."""


def main() -> None:
    """Run the command and exit with its code."""
    as_plugin = Path(sys.argv[0]).name.startswith("kubectl-")
    sys.exit(run(sys.argv[1:], name=PLUGIN if as_plugin else COMMAND))


def run(arguments: list[str], *, name: str = COMMAND) -> int:
    """Run the command under one of its names, those of `program`, and return the exit code."""
    try:
        result = mooring.main(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "mooring"
        sys.stderr.write(f"mooring: {error.format_message()} (see `{where} --help`)\n")
        return USAGE
    except CommandError as error:
        sys.stderr.write(f"mooring: {error}\n")
        return error.code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click raises SystemExit for a broken pipe
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader closed the pipe; avoid a second error at exit
        return OK
    except Exception as error:
        if os.environ.get("MOORING_DEBUG"):
            raise
        sys.stderr.write(
            f"mooring: internal error: {type(error).__name__}: {error} "
            f"(MOORING_DEBUG=1 prints the traceback; please report it)\n"
        )
        return INTERNAL
    return result if isinstance(result, int) else OK


if __name__ == "__main__":
    main()
