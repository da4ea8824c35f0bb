"""Not written yet: recording."""
