"""What can go wrong, by who has to act.

    OperatorError
    ├── Waiting      the world has to move first: come back after `delay`
    ├── Stalled      the user or an administrator has to act: a status, not a retry loop
    ├── Transient    nobody has to act: try again with backoff
    │   └── Conflict     somebody wrote first (HTTP 409): read again, decide again
    └── NotLeader    a write was asked of a process that doesn't hold the lease; nothing was sent

`reason` is one PascalCase word of the documented vocabulary and ends up in a condition or a metric
label; `message` is for people. A missing object isn't an error: reads answer None.
"""


class OperatorError(Exception):
    """Base of every error that this operator raises on purpose."""


class Waiting(OperatorError):  # noqa: N818  named after the state it tells
    """Something outside has to happen first; look again in `delay` seconds.

    An expected state, so it neither counts as an error nor grows a backoff.
    """

    def __init__(self, delay: float, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.delay = delay
        self.reason = reason
        self.message = message


class Stalled(OperatorError):  # noqa: N818  named after the state it tells
    """Trying again can't help until a person changes something.

    recheck: seconds after which a look is worthwhile all the same (a missing right may be granted
        without any event that we see); None when the fix always shows as an event of its own.
    """

    def __init__(self, reason: str, message: str, recheck: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.recheck = recheck


class Transient(OperatorError):  # noqa: N818  named after the state it tells
    """Likely to pass by itself; retried with exponential backoff.

    retry_after: seconds the other side asked us to wait at least, or None.
    """

    def __init__(self, reason: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Conflict(Transient):
    """A precondition (resourceVersion, uid, field ownership) no longer holds."""


class NotLeader(OperatorError):  # noqa: N818  named after the state it tells
    """The write was refused before it was sent, because the lease isn't held any more."""
