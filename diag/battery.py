"""Not written yet: battery."""
