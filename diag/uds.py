"""Not written yet: uds."""
