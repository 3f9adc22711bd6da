"""The parts of training methods that need TRL: a module for each, named like it in small letters.

Imported after unsloth, by the worker that trains. The declarations, which everything else reads,
are `qwen3_api.methods`.
"""
