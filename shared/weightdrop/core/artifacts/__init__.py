"""What was dropped: objects, config, tensor headers, findings, verdict."""
