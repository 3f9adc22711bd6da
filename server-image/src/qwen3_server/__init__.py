"""What runs beside and inside vLLM in a pool pod: fetch-base, agent, gateway."""
