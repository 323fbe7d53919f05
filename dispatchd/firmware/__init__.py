"""Firmware programs: C sources, and what they were built into."""
