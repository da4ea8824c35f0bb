"""Not written yet: canbus."""
