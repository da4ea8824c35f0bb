"""Not written yet: dtc."""
