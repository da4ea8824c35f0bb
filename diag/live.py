"""Not written yet: live."""
