"""The use cases: admit, deploy, reconcile, retire, query. They take ports."""
