"""Run the engine with its settings as one JSON argument, as `detached` and `rootless` start it."""

import sys

import msgspec

from provisioner.embedded.settings import UpSettings
from provisioner.embedded.up import run

USAGE = 2


def main() -> int:
    """Run the engine; return its exit code, 2 when the settings are invalid."""
    try:
        settings = msgspec.json.decode(sys.argv[1], type=UpSettings)
    except (IndexError, msgspec.DecodeError) as error:
        sys.stderr.write(f"mooring: the engine needs its settings as one JSON argument ({error}); use `mooring up`\n")
        return USAGE
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
