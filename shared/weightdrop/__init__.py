"""Weightdrop: turns a bucket into a deployment button.

The layers, from the inside out: `core` decides and touches nothing, `ports`
says what the outside world must offer, `services` are the use cases,
`adapters` and `local` implement the ports, `bootstrap` wires them together.
"""

__version__ = "0.1.0"
