"""Not written yet: obd."""
