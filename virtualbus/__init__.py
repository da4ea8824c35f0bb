"""The car that is not there: ECUs, battery physics, faults, adapter front ends."""
