"""The names by which the program is started."""

from typing import Final

COMMAND: Final = "mooring"
PLUGIN: Final = "kubectl mooring"
"""The name as a plug-in of kubectl; the executable is then called kubectl-mooring."""
