"""The ports over Google's clients: vendor types and errors end here."""
