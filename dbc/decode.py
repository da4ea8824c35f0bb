"""Not written yet: decode."""
