"""Not written yet: request."""
