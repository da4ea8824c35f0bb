"""Not written yet: database."""
