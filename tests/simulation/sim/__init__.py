"""Deterministic simulation of the whole pipeline.

The real services and core run over ports in memory and a virtual clock. One
seeded scheduler decides, at every port call, who runs next and what goes wrong;
a seed is a schedule, and the same seed is the same schedule.
"""
