"""Prints the history of an offline W&B run. Runs in the ML environment:

    python wandb_probe.py FOLDER/run-<id>.wandb

The file is a LevelDB log (32 KiB blocks of records: crc, length, kind) behind a header of seven
bytes; each record is a protobuf of wandb's own. wandb 0.31 reads such files in Go alone.
"""

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as pb

BLOCK = 32 * 1024
HEADER = struct.Struct("<IHB")
FULL, LAST = 1, 4


def records(data: bytes) -> Iterator[pb.Record]:
    """The records of a file. Fails on a wrong checksum."""
    assert data[:4] == b":W&B", data[:4]
    at, parts = 7, b""
    while at + HEADER.size <= len(data):
        if BLOCK - at % BLOCK < HEADER.size:  # the rest of a block that takes no header
            at += BLOCK - at % BLOCK
            continue
        crc, length, kind = HEADER.unpack_from(data, at)
        at += HEADER.size
        body = data[at : at + length]
        assert zlib.crc32(body, zlib.crc32(bytes([kind]))) == crc
        at += length
        parts += body
        if kind in (FULL, LAST):
            record = pb.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def main(path: Path) -> None:
    """Prints one JSON document."""
    history, run, exit_code = [], {}, None
    for record in records(path.read_bytes()):
        if record.HasField("run"):
            run = {
                "id": record.run.run_id,
                "project": record.run.project,
                "name": record.run.display_name,
                "has_git": record.run.HasField("git"),
            }
        elif record.HasField("exit"):
            exit_code = record.exit.exit_code
        elif record.HasField("history"):
            items = {}
            for item in record.history.item:
                items["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            history.append(items)
    print(json.dumps({"run": run, "history": history, "exit_code": exit_code}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
