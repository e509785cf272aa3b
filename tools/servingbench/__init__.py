"""Measurements of the serving container, and what they need."""
