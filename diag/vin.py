"""Not written yet: vin."""
