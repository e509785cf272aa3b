"""The control plane over Google's emulators, for measurements and storms."""
