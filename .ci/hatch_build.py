"""hatchling's hook: the manual pages go into the wheel, if `make man` has made them."""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface):
    """share/man of the environment that the wheel is installed into."""

    def initialize(self, version, build_data):
        """A wheel for development has none: `make man` after it has none to take."""
        folder = Path(self.root, "build", "man")
        if version != "standard" or not folder.is_dir():
            return
        for page in sorted(folder.glob("man*/*.[15]")):
            place = f"share/man/{page.relative_to(folder)}"
            build_data["shared_data"][str(page)] = place
