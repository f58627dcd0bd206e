"""What Hatchling asks when it builds the load generator: an editable installation is a checkout to work in.

`pip install .` installs the load generator and its two needs. `pip install -e .` puts this folder on Python's path, so
what it makes runnable is the whole repository: it brings what `make setup` installs too, the group `stack`.
"""

import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CHECKOUT_GROUP = "stack"


class EditableIsACheckout(BuildHookInterface):  # type: ignore[type-arg]  # Hatchling asks for no config of a builder here
    """Adds to the needs of an editable installation; see Hatchling's build data, `dependencies`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Do so when `version` says that the wheel is an editable one."""
        if version == "editable":
            groups = tomllib.loads((Path(self.root) / "pyproject.toml").read_text())["dependency-groups"]
            build_data["dependencies"] += requirements(groups, CHECKOUT_GROUP)


def requirements(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return the requirements of a dependency group (PEP 735), those of the groups that it includes among them."""
    found: list[str] = []
    for entry in groups[name]:
        found += requirements(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found
