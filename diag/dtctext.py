"""Not written yet: dtctext."""
