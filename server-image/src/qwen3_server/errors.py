"""Why something could not be done.

FailureError (of the contract)
├── AdapterError      this adapter: it is marked Failed and tried again later
│   └── CheckDiedError   its check ended without a verdict
└── StorageError      the object store: denied, unavailable, bucket missing
EngineDownError       vLLM does not answer: nobody's fault, tried again at the next tick
└── EngineBusyError   it holds the connection and says nothing yet

Reasons are members of qwen3_api.v1alpha1.conditions.Reason: they end up in status.
"""

from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason

MAX_MESSAGE = 512


def clean_message(text: str) -> str:
    """One printable line of at most MAX_MESSAGE characters.

    File names, configurations and vLLM's words in it are a tenant's.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:MAX_MESSAGE]


class AdapterError(FailureError):
    """An adapter cannot be served."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, clean_message(message))


class CheckDiedError(AdapterError):
    """The process that checked the adapter's content ended without a verdict."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.ARTIFACT_REFUSED, message)


class StorageError(FailureError):
    """The object store did not give what was asked for."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, clean_message(message))


class EngineDownError(Exception):
    """vLLM does not answer now: it starts, restarts or is too busy."""


class EngineBusyError(EngineDownError):
    """vLLM took the connection and does not answer in time; a process that died refuses it."""


def corrupt(message: str) -> AdapterError:
    """The files are not those that were committed."""
    return AdapterError(Reason.ARTIFACT_CORRUPT, message)


def refused(message: str) -> AdapterError:
    """The files are as committed, and break a rule."""
    return AdapterError(Reason.ARTIFACT_REFUSED, message)


def load_failed(message: str) -> AdapterError:
    """vLLM does not take the adapter, or does not answer with it."""
    return AdapterError(Reason.LOAD_FAILED, message)
