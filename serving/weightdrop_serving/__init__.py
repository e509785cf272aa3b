"""What runs inside the serving container, in front of vLLM."""
