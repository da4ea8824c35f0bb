"""Not written yet: pci."""
