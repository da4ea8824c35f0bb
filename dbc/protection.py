"""Not written yet: protection."""
