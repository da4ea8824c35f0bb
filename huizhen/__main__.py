"""``python -m huizhen`` and the console script."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits with its code."""
    from huizhen.cli import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
