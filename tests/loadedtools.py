"""Scripts of the folder ``tools``, which is no package, as modules for the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

TOOLS = Path(__file__).parents[1] / "tools"


def loaded_tool(name: str) -> ModuleType:
    """The script of that name; under a name of its own, where dataclasses look their module up."""
    own = f"tool_{name}"
    spec = importlib.util.spec_from_file_location(own, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module
    spec.loader.exec_module(module)
    return module
