"""Not written yet: guard."""
