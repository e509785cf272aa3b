"""The embedded stack: bucket server, records, queue, Vertex stand-in, supervisor.

For trying, developing and testing on one machine; it binds loopback only.
"""
