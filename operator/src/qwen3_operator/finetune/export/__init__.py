"""The export stage: merged and GGUF artifacts of a revision."""
