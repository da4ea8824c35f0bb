"""Not written yet: reassembly."""
