"""Python runs this in every process of a stack that has this folder on its path, before anything else.

It lets tests reach into the processes of the service, whose code knows nothing of tests: when one of
`MODULES` is imported, its functions are wrapped at once, before other code can refer to them.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from tests.system.inside import crash_points, witness

WRAPPERS = (crash_points.wrap, witness.wrap)
MODULES = crash_points.MODULES | witness.MODULES


class WrappingFinder(MetaPathFinder):
    """Finds the modules whose functions are wrapped, as Python would, and leaves all others to Python."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None, name
        assert spec.loader is not None, name
        run = spec.loader.exec_module

        def run_and_wrap(module: ModuleType) -> None:
            run(module)
            for wrap in WRAPPERS:
                wrap(module)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, WrappingFinder())
