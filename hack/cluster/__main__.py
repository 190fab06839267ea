"""
Run a real Kubernetes on this machine, for tests.

    hack/cluster/run up [--nodes N]          start it unless it runs; prints its kubeconfig
    hack/cluster/run down                    take it down; leaves nothing behind
    hack/cluster/run build                   only build the programs
    hack/cluster/run kubectl ARGUMENT...     run kubectl as its administrator
    hack/cluster/run load ARCHIVE            import an image on every node
    hack/cluster/run on MACHINE COMMAND...   run a command on a machine (control-plane, node-1, ...)
    hack/cluster/run kill|stop|start|restart MACHINE COMPONENT
    hack/cluster/run off|boot NODE           power a node off or on
    hack/cluster/run missing                 print what this machine lacks; exit 1 when it lacks something

MOORING_CLUSTER names the cluster (default: main), MOORING_KUBERNETES its version (default: the line in
hack/cluster/version).
"""

import os
import sys
from pathlib import Path

from hack.cluster import binaries, life, outside, requirements
from hack.cluster.place import Cluster


def _cluster() -> Cluster:
    if (cluster := life.running()) is None:
        raise RuntimeError(f"cluster {life.NAME} is not running; 'make cluster' starts it")
    return cluster


def _up(arguments: list[str]) -> None:
    nodes = int(arguments[1]) if arguments[:1] == ["--nodes"] and len(arguments) == 2 else 2
    print(life.up(nodes=nodes).kubeconfig)


def _missing() -> int:
    lacking = requirements.missing()
    print("\n".join(lacking), file=sys.stderr)
    return 1 if lacking else 0


def _run(words: list[str]) -> int:
    match words:
        case ["up", *rest]:
            _up(rest)
        case ["down"]:
            life.down()
        case ["build"]:
            print(life.build(binaries.wanted_version()))
        case ["missing"]:
            return _missing()
        case ["kubectl", *rest]:
            cluster = _cluster()
            program = f"{cluster.programs}/kubectl"
            os.execve(program, [program, *rest], os.environ | {"KUBECONFIG": str(cluster.kubeconfig)})  # noqa: S606
        case ["load", archive]:
            life.load(_cluster(), Path(archive))
        case ["on", machine, *command] if command:
            cluster = _cluster()
            argv = outside.Inside(cluster, cluster.machine(machine)).enter(command)
            os.execvpe(argv[0], argv, cluster.environment | {"TERM": os.environ.get("TERM", "dumb")})  # noqa: S606
        case [("kill" | "stop" | "start" | "restart") as action, machine, component]:
            cluster = _cluster()
            getattr(outside.Inside(cluster, cluster.machine(machine)), action)(component)
        case ["off", node]:
            life.power_off(_cluster(), node)
        case ["boot", node]:
            life.power_on(_cluster(), node)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def main(words: list[str]) -> int:
    """Run the command line; a failure is one line."""
    try:
        return _run(words)
    except (RuntimeError, LookupError, ValueError, OSError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
