"""The serving image: vLLM behind Vertex AI's container contract."""
