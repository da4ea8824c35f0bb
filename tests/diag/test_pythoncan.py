"""python-can starts without the libraries that only its own MF4 loggers need."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("before", "loaded"),
    [("import diag.canbus", False), ("import can, diag.canbus", True), ("import asammdf, diag.canbus", True)],
    ids=["alone", "after python-can", "after asammdf"],
)
def test_links_load_no_asammdf_and_who_wants_it_gets_it(before, loaded):
    pytest.importorskip("asammdf")
    code = (
        f"import sys; {before}; loaded = 'asammdf' in sys.modules; import asammdf; from can.io import mf4; "
        "print(loaded, mf4.asammdf is not None, asammdf.MDF.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(loaded), str(loaded), "MDF"]
