"""Talks to the vehicle and judges it: links, transports, protocols, scan, battery, findings."""
