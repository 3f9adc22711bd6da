"""One S3 client per configured bucket, and the few verbs that the operator needs.

The operator reads with its own credentials, from files that the kubelet mounts; it never reads a
tenant's Secret. The files are read at start, and again whenever the store refuses what they held:
the kubelet replaces them when the Secret is rotated.

The client is obstore, whose requests run outside the interpreter: docs/adr/0032-obstore.md.
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from qwen3_api.job.base import S3Location
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_api.v1alpha1.failure import FailureStatus
from qwen3_operator.controller.errors import OperatorError, Stalled, Transient
from qwen3_operator.controller.logs import get_logger
from qwen3_operator.settings import Settings

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import S3Config

logger = get_logger(__name__)
CONNECT = timedelta(seconds=5)
READ = timedelta(seconds=20)
"""Of silence. A large adapter may take much longer as a whole."""
WHOLE = timedelta(hours=1)
RETRIES = 2
CHUNK = 1024 * 1024
PAGE = 1000
"""Keys that one DeleteObjects takes."""
BUCKETS = 64
"""Clients that are kept open: a user may choose the bucket."""
MAX_DOCUMENT = 4 * 1024 * 1024
"""Bytes of the largest JSON document that is read. They come from pods of tenants."""
DEFAULT_REGION = "us-east-1"
"""Signatures need a region even where the store has none; the pods' clients take the same."""

BAD_KEY = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""The key itself is refused, by AWS partly with status 400."""
NO_RIGHT = {"AccessDenied", "Forbidden"}
"""The key lacks a right. For one object of a batch to delete, obstore gives no status."""
DENIED_STATUS = {"401", "403"}
"""Whatever the code is: stores have many of their own (AllAccessDisabled, UserSuspended)."""
SKEWED = "RequestTimeTooSkewed"
ELSEWHERE = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "301",
}
"""The bucket is in another region than the one that the request was signed for."""
MISSING = {"NoSuchKey", "NotFound"}
"""A 404 without a code comes from a proxy, not from the store: it proves nothing about the object,
and a result that seems lost would be trained again."""
NOWHERE = {"404", "NoSuchBucket"}
CONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict"}
# As S3 sends it, and as obstore tells of one key among those to be deleted.
CODE = re.compile(r"(?:<Code>|\(code: )(\w+)")
STATUS = re.compile(r"status code: (\d{3})")
# obstore's own words for PermanentRedirect, whose answer it doesn't quote.
REDIRECTED = "redirect without LOCATION"
REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>")
RECHECK_SECONDS = 30.0
"""From a refusal to the next attempt."""
KEY_HINT = (
    "Ask the platform team to rotate the operator's key: a valid one in the Secret of "
    "storage.default (or storage.additional) takes effect without a restart."
)
RIGHTS_HINT = (
    "Ask the platform team to allow the key in the Secret of storage.default (or "
    "storage.additional) to read, write, list and delete there."
)
CLOCK_HINT = "Ask the platform team to correct the clock of the operator's node or of the store."

Refused = (BaseError, FileNotFoundError)
"""What obstore raises; a missing object or bucket is the built-in FileNotFoundError."""


class StorageProblem(Stalled):
    """The store refuses until a user or an administrator acts. Carries status.failure."""

    def __init__(self, problem: FailureStatus) -> None:
        super().__init__(problem.reason, problem.message, recheck=RECHECK_SECONDS)
        self.problem = problem


@dataclass(frozen=True)
class Fetched:
    """An object and the ETag that a compare-and-swap needs."""

    body: bytes
    etag: str


def code_of(error: BaseException) -> str:
    """S3's error code; the HTTP status of an answer without one; empty without an answer.

    obstore has no field for either: they stand in the text, which quotes the answer.
    """
    text = str(error)
    if REDIRECTED in text:
        return "PermanentRedirect"
    found = CODE.search(text) or STATUS.search(text)
    return found.group(1) if found else ""


def is_denied(error: BaseException) -> bool:
    """The store refuses the key, or has granted it too little."""
    found = STATUS.search(str(error))
    status = found.group(1) if found else ""
    return code_of(error) in BAD_KEY | NO_RIGHT or status in DENIED_STATUS


def classify(error: BaseException, location: S3Location) -> OperatorError:
    """What a refusal means. A missing key is not an error and is handled before."""
    code = code_of(error)
    if code == "NoSuchBucket":
        return StorageProblem(
            FailureStatus.of(
                Reason.BUCKET_NOT_FOUND,
                f"bucket {location.bucket} doesn't exist at {location.endpoint or 'AWS'}",
                "Create the bucket, or correct spec.artifacts.s3.bucket.",
                retriable=True,
            )
        )
    if code in ELSEWHERE:
        told = REGION.search(str(error))
        return StorageProblem(
            FailureStatus.of(
                Reason.STORAGE_DENIED,
                f"bucket {location.bucket} isn't in region {location.region or DEFAULT_REGION}"
                + (f" but in {told.group(1)}" if told else "")
                + f": {code}",
                "Set the bucket's region in spec.artifacts.s3.region (for an evaluation, in "
                "output.s3), or ask the platform team to correct storage.default.region.",
                retriable=True,
            )
        )
    if is_denied(error):
        # A bad key is refused everywhere: which object was read first must not change the message.
        refused = f"bucket {location.bucket}" if code in BAD_KEY else location.uri
        hint = KEY_HINT if code in BAD_KEY else RIGHTS_HINT
        return StorageProblem(
            FailureStatus.of(
                Reason.STORAGE_DENIED,
                f"the object store rejected the operator's credentials for {refused}: {code}",
                CLOCK_HINT if code == SKEWED else hint,
                user=False,
                retriable=True,
            )
        )
    # Behind the first paragraph comes the library's own structure.
    words = str(error).partition("\n\n")[0]
    return Transient("StorageUnavailable", f"{location.uri}: {words[:500]}")


def read_credentials(folder: str | None) -> "S3Config":
    """Key pair from files; an empty result leaves it to the ambient identity.

    Raises:
        OSError: the folder is configured but a file is missing.
    """
    if folder is None:
        return {}
    path = Path(folder)
    return {
        "access_key_id": (path / "AWS_ACCESS_KEY_ID").read_text().strip(),
        "secret_access_key": (path / "AWS_SECRET_ACCESS_KEY").read_text().strip(),
    }


class ObjectStore:
    """All configured stores behind one face.

    Raises:
        OSError: see read_credentials.
    """

    def __init__(self, settings: Settings) -> None:
        stores = (settings.storage.default, *settings.storage.additional)
        self._stores = {s.endpoint: (s, read_credentials(s.credentials_dir)) for s in stores}
        self._clients: OrderedDict[tuple[str | None, str, str], S3Store] = OrderedDict()

    def _client(self, location: S3Location) -> S3Store:
        store, credentials = self._stores[location.endpoint]
        region = location.region or store.region or DEFAULT_REGION
        key = (location.endpoint, region, location.bucket)
        client = self._clients.pop(key, None)
        if client is None:
            client = open_client(location.endpoint, region, location.bucket, credentials)
        self._clients[key] = client
        while len(self._clients) > BUCKETS:
            self._clients.popitem(last=False)
        return client

    def _refuse(self, error: BaseException, location: S3Location) -> OperatorError:
        """What a refusal means. A refused key is read again from its files, for the next call."""
        if is_denied(error):
            self._read_again(location.endpoint)
        return classify(error, location)

    def _read_again(self, endpoint: str | None) -> None:
        store, known = self._stores[endpoint]
        try:
            found = read_credentials(store.credentials_dir)
        except OSError as error:
            logger.warning("credentials can't be read", extra={"error": str(error)})
            return
        if found == known:
            return
        self._stores[endpoint] = (store, found)
        for key in [k for k in self._clients if k[0] == endpoint]:
            del self._clients[key]
        logger.info("credentials reloaded", extra={"endpoint": endpoint or "AWS"})

    async def get(self, location: S3Location) -> Fetched | None:
        """A small object and its ETag, or None.

        Raises:
            StorageProblem: the bucket is missing or the credentials are refused.
            Transient: the store doesn't answer.

        An object over MAX_DOCUMENT comes back empty: no document of the contract is, so it counts
        as a broken one.
        """
        try:
            found = await self._open(location)
            if found is None:
                return None
            etag = str(found.meta["e_tag"])
            if found.meta["size"] > MAX_DOCUMENT:
                return Fetched(b"", etag)
            return Fetched(bytes(await found.bytes_async()), etag)
        except Refused as error:
            raise self._refuse(error, location) from error

    async def stream(self, location: S3Location) -> AsyncGenerator[bytes, None]:
        """The bytes of an object in chunks; none at all if it doesn't exist.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        try:
            found = await self._open(location)
            if found is not None:
                async for chunk in found.stream(min_chunk_size=CHUNK):
                    yield bytes(chunk)
        except Refused as error:
            raise self._refuse(error, location) from error

    async def _open(self, location: S3Location) -> "GetResult | None":
        try:
            return await obstore.get_async(self._client(location), location.prefix)
        except ValueError:
            # A name with an empty part or with dots for one, which a tenant's document may hold:
            # nothing of the contract has such a name.
            return None
        except Refused as error:
            if code_of(error) in MISSING:
                return None
            raise

    async def put_if(self, location: S3Location, body: bytes, etag: str | None) -> bool:
        """Write only if the object still has this ETag (None: doesn't exist yet).

        Returns False when somebody else was first.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        try:
            await obstore.put_async(
                self._client(location),
                location.prefix,
                body,
                attributes={"Content-Type": "application/json"},
                mode="create" if etag is None else {"e_tag": etag},
                # A multipart upload knows no condition.
                use_multipart=False,
            )
        except Refused as error:
            code = code_of(error)
            if code in CONDITION_FAILED or (etag is not None and code in MISSING):
                return False
            # obstore takes every 404 of a conditional write for its condition.
            lost = isinstance(error, AlreadyExistsError | PreconditionError)
            if lost and code not in NOWHERE:
                return False
            raise self._refuse(error, location) from error
        return True

    async def list_folder(self, location: S3Location, most: int) -> dict[str, int]:
        """Size in bytes of each object below `location.prefix` + "/", by its path there; of the
        first `most` of them.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        found: dict[str, int] = {}
        try:
            async for page in obstore.list(
                self._client(location), prefix=f"{location.prefix}/", chunk_size=most
            ):
                for item in page:
                    path = str(item["path"]).removeprefix(f"{location.prefix}/")
                    found[path] = int(item["size"])
                if len(found) >= most:
                    break
        except Refused as error:
            raise self._refuse(error, location) from error
        return dict(list(found.items())[:most])

    async def delete_prefix(self, location: S3Location) -> int:
        """Remove everything below `location.prefix` + "/"; returns how many objects.

        Raises:
            StorageProblem, Transient: as `get`.
        """
        client, count = self._client(location), 0
        try:
            async for page in obstore.list(client, prefix=location.prefix, chunk_size=PAGE):
                await obstore.delete_async(client, [item["path"] for item in page])
                count += len(page)
        except Refused as error:
            raise self._refuse(error, location) from error
        return count


def open_client(endpoint: str | None, region: str, bucket: str, credentials: "S3Config") -> S3Store:
    """A client for one bucket; nothing is asked of the store yet."""
    # obstore takes no None: what isn't set must not be handed over.
    address: S3Config = {} if endpoint is None else {"endpoint": endpoint}
    return S3Store(
        bucket,
        region=region,
        # Other stores than AWS answer on paths; virtual hosts need DNS of their own.
        virtual_hosted_style_request=endpoint is None,
        client_options={
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": CONNECT,
            "read_timeout": READ,
            "timeout": WHOLE,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": READ},
        config={**address, **credentials},
    )
