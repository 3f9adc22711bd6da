"""The name that `store` still has for the contract's FailureError."""

from qwen3_api.pod.failure import FailureError

EvaluationError = FailureError
