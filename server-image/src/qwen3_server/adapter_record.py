"""What the agent remembers about one adapter of the index."""

from dataclasses import dataclass

from qwen3_api.pod.failure import FailureError
from qwen3_api.serving.pool import AdapterState, AgentAdapter, PoolAdapter

_FIRST_RETRY_SECONDS = 2.0
_LAST_RETRY_SECONDS = 60.0


@dataclass
class AdapterRecord:
    """State of one adapter on this pod. Mutable; the agent's loop owns it."""

    wanted: PoolAdapter
    state: AdapterState = "Pending"
    reason: str = ""
    message: str = ""
    verified_digest: str = ""
    """Digest of the files that were verified on this pod's disk."""
    proved_boot: str = ""
    """The vLLM process in which it completed a token."""
    failures: int = 0
    """In a row."""
    retry_at: float = 0.0
    """Not before this time (monotonic, in seconds)."""

    def enter(self, state: AdapterState) -> None:
        """Go to a state that is no failure."""
        self.state, self.reason, self.message = state, "", ""

    def fail(self, error: FailureError, now: float) -> None:
        """Remember why, and wait twice as long as the last time."""
        self.state, self.reason, self.message = "Failed", str(error.reason), error.message
        wait = min(_LAST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.retry_at = now + wait

    def retry_now(self) -> None:
        """Forget the waiting; the index changed."""
        self.failures, self.retry_at = 0, 0.0

    def to_status(self) -> AgentAdapter:
        """As the operator sees it."""
        return AgentAdapter(
            id=self.wanted.id,
            digest=self.verified_digest,
            state=self.state,
            reason=self.reason,
            message=self.message,
        )
