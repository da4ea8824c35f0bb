"""Databases that turn bytes into physical values. No bus, no event loop, no clock."""
