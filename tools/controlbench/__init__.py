"""The benchmark of the warm control plane: what is loaded, and what is measured."""
