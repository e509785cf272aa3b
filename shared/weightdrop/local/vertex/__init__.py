"""The Vertex AI stand-in: its REST API on loopback, really running what is deployed.

`python -m weightdrop.local.vertex --port P --home HOME` starts it. A request
goes from `server` (routes) to `models`, `endpoints` or `garden` (the control
plane) or to `prediction`; work that takes time is an operation (`operations`);
what is deployed is a `pool` of `replica` processes that the `fleet` keeps.
"""
