"""Container images made of files, without a build: one uncompressed layer in an OCI archive.

For the two images that no Dockerfile is worth it: the pause program, and the base that
mmdebstrap made.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def layer_of_files(path: Path, files: Mapping[str, bytes], mode: int = 0o755) -> None:
    """A layer with the given files, all owned by root and dated 0, so that it is reproducible."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))


def write_image(archive: Path, name: str, layer: Path, config: Mapping[str, object]) -> str:
    """An OCI archive that `ctr images import` takes; returns the manifest digest.

    `config` is the runtime part (Entrypoint, User, Env); `name` becomes the image's name.
    """
    layer_digest = digest_of(layer)
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }
    config_blob = json.dumps(image, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, digest_of(config_blob), len(config_blob)),
        "layers": [descriptor(LAYER, layer_digest, layer.stat().st_size)],
    }
    manifest_blob = json.dumps(manifest, sort_keys=True).encode()
    entry = descriptor(MANIFEST, digest_of(manifest_blob), len(manifest_blob))
    entry["annotations"] = {"io.containerd.image.name": name}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}, sort_keys=True).encode()
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as target:
        add(target, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(target, "index.json", index)
        for blob in (config_blob, manifest_blob):
            add(target, blob_path(digest_of(blob)), blob)
        with layer.open("rb") as source:
            item = tarfile.TarInfo(blob_path(layer_digest))
            item.size = layer.stat().st_size
            target.addfile(item, source)
    return digest_of(manifest_blob)


def descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def digest_of(content: bytes | Path) -> str:
    """`sha256:<hex>` of bytes or of a file."""
    if isinstance(content, bytes):
        return f"sha256:{hashlib.sha256(content).hexdigest()}"
    with content.open("rb") as source:
        return f"sha256:{hashlib.file_digest(source, 'sha256').hexdigest()}"
