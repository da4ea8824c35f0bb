"""Not written yet: isotp."""
