"""python-can, without asammdf and pandas, which it loads for MF4 loggers of its own wherever they are installed.

They take half a second of every start, and nothing here uses those loggers: :mod:`dbc.recording` reads and writes MF4.
Who imports ``can`` first gets its loggers too; asammdf itself can be imported afterwards as ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

__all__ = ["VirtualBus", "can"]

_UNUSED: Final = "asammdf"

if TYPE_CHECKING or "can" in sys.modules or _UNUSED in sys.modules:
    import can
    from can.interfaces.virtual import VirtualBus
else:
    sys.modules[_UNUSED] = None
    try:
        import can
        from can.interfaces.virtual import VirtualBus
    finally:
        del sys.modules[_UNUSED]
