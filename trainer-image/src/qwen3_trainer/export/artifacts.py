"""From files on the disk to EXPORT.json: digest, upload, read everything back, write the manifest
with If-None-Match. What an earlier pod left of the same artifact goes then.
"""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from qwen3_api.job import layout
from qwen3_api.job.export import Export, ExportJob
from qwen3_api.job.report import adapter_digest
from qwen3_api.pod.failure import FailureError
from qwen3_trainer.base_model import file_digest
from qwen3_trainer.progress import now
from qwen3_trainer.publish import upload_verified
from qwen3_trainer.report import library_versions
from qwen3_trainer.shutdown import Shutdown
from qwen3_trainer.store import Bucket, ObjectExistsError, ObjectMissingError, patiently

log = logging.getLogger(__name__)

LLAMA_CPP = "llama_cpp_python"


@dataclass(frozen=True)
class Publisher:
    """Where the artifacts of one order go."""

    bucket: Bucket
    job: ExportJob
    pod_uid: str
    shutdown: Shutdown

    def is_there(self, artifact: str) -> bool:
        """Whether some pod has finished the artifact."""
        try:
            body = self.bucket.get(self._manifest(artifact))
            return Export.model_validate_json(body).artifact == artifact
        except ObjectMissingError:
            return False
        except ValidationError as error:
            # It is never overwritten; the operator says that it can't read it.
            log.warning("EXPORT.json of %s can't be read: %d errors", artifact, error.error_count())
            return True

    def publish(
        self, artifact: str, folder: Path, tensor_types: dict[str, int] | None = None
    ) -> None:
        """Uploads all files of the folder. Raises FailureError of the store."""
        names = sorted(p.name for p in folder.iterdir() if p.is_file())
        files = [file_digest(folder, name) for name in names]
        prefix = f"{self._folder(artifact)}/{self.pod_uid}"
        document = Export(
            artifact=artifact,
            spec_hash=self.job.spec_hash,
            revision=self.job.revision,
            attempt=self.pod_uid,
            prefix=prefix,
            files=files,
            digest=adapter_digest(files),
            adapter_digest=self.job.adapter.digest,
            base_commit=self.job.base_commit,
            tensor_types=tensor_types or {},
            versions=library_versions() | {LLAMA_CPP: version(LLAMA_CPP)},
            written=now(),
        )
        patiently(lambda: upload_verified(self.bucket, folder, prefix, files))
        with self.shutdown.finishing():
            won = patiently(lambda: self._commit(artifact, document))
            self._sweep(artifact, prefix, won=won)
        log.info("%s %s: %d bytes", artifact, "is written" if won else "was there", document.size)

    def _folder(self, artifact: str) -> str:
        return layout.export_prefix(self.job.output.prefix, artifact)

    def _manifest(self, artifact: str) -> str:
        return f"{self._folder(artifact)}/{layout.EXPORT_MANIFEST}"

    def _commit(self, artifact: str, document: Export) -> bool:
        """False: another pod was first."""
        key = self._manifest(artifact)
        try:
            self.bucket.put(key, document.to_json(), only_if_absent=True)
        except ObjectExistsError:
            # Ours, if an answer was lost and botocore asked again.
            return Export.model_validate_json(self.bucket.get(key)).attempt == self.pod_uid
        return True

    def _sweep(self, artifact: str, prefix: str, *, won: bool) -> None:
        """Removes gigabytes that nothing names: the others' if this pod won, else its own."""
        keep = self._manifest(artifact)
        keys = [key for key, _ in self.bucket.list(self._folder(artifact) + "/") if key != keep]
        try:
            self.bucket.delete([k for k in keys if k.startswith(prefix + "/") != won])
        except FailureError as error:  # costs room, not the export, which is committed
            log.warning("files of other attempts stay: %s", error.advice)
