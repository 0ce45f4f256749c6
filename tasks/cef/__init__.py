"""Renderings of normalized events: CEF for the sensor, and the formats of `export`."""
