"""Typed tables: base models, architectures, machines, accelerators, regions."""
