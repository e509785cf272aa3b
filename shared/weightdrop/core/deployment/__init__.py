"""The life of a deployment: phases, record, transitions, names, events."""
