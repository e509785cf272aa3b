"""The handlers of the Cloud Functions: decode, call a service, map its errors."""
