"""Not written yet: scan."""
