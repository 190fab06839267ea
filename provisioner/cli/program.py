"""The names under which the command is run."""

from typing import Final

COMMAND: Final = "mooring"
PLUGIN: Final = "kubectl mooring"
"""As a plug-in of kubectl: the program is then called kubectl-mooring."""
