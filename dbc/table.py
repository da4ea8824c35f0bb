"""Not written yet: table."""
