"""SFT that stops early and commits its best checkpoint, followed offline by W&B; DPO from its
adapter, followed online, and its merged model. Two trainings, nothing served."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from qwen3_api.job import layout
from qwen3_api.job.export import MERGED, Export
from qwen3_api.job.report import Commit
from qwen3_local import s3
from qwen3_local.node import BRIDGE_ADDRESS
from support.finetunes import Body, Tenant, condition, is_true, stage
from support.quickstart import EXAMPLE, NAMESPACE, small_spec
from support.wandb_server import ENTITY, WandbServer, running_wandb, synced_run

SFT, DPO = "tone-sft", "tone"
DATA = "tone-data"
MAX_STEPS, EVERY, PATIENCE = 400, 10, 2
WEIGHTS = "adapter_model.safetensors"
WANDB_KEY = "0" * 40


def lines(rows: list[Body]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def source(key: str) -> Body:
    return {"type": "ConfigMap", "configMap": {"name": DATA, "key": key}}


def wrong_answers() -> list[Body]:
    """The held-out questions, each with the answer to another one: the better the training rows
    are known, the less likely these get."""
    rows = [json.loads(line) for line in (EXAMPLE / "data" / "heldout.jsonl").open()]
    answers = [row["answer"] for row in rows]
    return [
        {"messages": [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": answer},
        ]}
        for row, answer in zip(rows, answers[5:] + answers[:5], strict=True)
    ]  # fmt: skip


def preferences(rows: list[Body]) -> list[Body]:
    """The right answer is chosen, that to another question rejected."""
    asked = [row["messages"][-2]["content"] for row in rows]
    right = [row["messages"][-1]["content"] for row in rows]
    return [
        {"prompt": question, "chosen": good, "rejected": bad}
        for question, good, bad in zip(asked, right, right[7:] + right[:7], strict=True)
    ]


@pytest.fixture(scope="module")
def sft(tenant: Tenant) -> Body:
    """The first training, Ready."""
    train = [json.loads(line) for line in (EXAMPLE / "data" / "train.jsonl").open()]
    data = {
        "train.jsonl": lines(train),
        "validation.jsonl": lines(wrong_answers()),
        "pairs.jsonl": lines(preferences(train[:64])),
    }
    tenant.core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": DATA}, "data": data})
    tenant.create(
        SFT,
        small_spec(
            dataset={
                "train": source("train.jsonl"),
                "validation": source("validation.jsonl"),
                "maxSequenceLength": 256,
            },
            hyperparameters={
                "maxSteps": MAX_STEPS,
                "learningRate": "4e-3",
                "effectiveBatchSize": 8,
                "microBatchSize": 8,
                "gradientCheckpointing": False,
                "earlyStopping": {"patience": PATIENCE},
            },
            checkpoint={"everySteps": EVERY},
            tracking={"wandb": {"project": "tone", "mode": "Offline"}},
        ),
    )
    return tenant.wait_ready(SFT, 240)


def revision_folder(body: Body) -> str:
    """Key prefix of the revision that is current."""
    uid, revision = body["metadata"]["uid"], body["status"]["currentRevision"]
    return layout.revision_prefix("qwen3", NAMESPACE, uid, revision)


def read(bucket: Any, key: str) -> bytes:
    body: bytes = bucket.get_object(Bucket=s3.BUCKET, Key=key)["Body"].read()
    return body


def commit_of(bucket: Any, body: Body) -> Commit:
    return Commit.model_validate_json(read(bucket, f"{revision_folder(body)}/{layout.COMMIT}"))


def checkpoint(bucket: Any, body: Body, commit: Commit, step: int, name: str) -> bytes:
    """A file of a checkpoint in the bucket."""
    attempt = layout.attempt_prefix(revision_folder(body), commit.attempt)
    return read(bucket, f"{layout.checkpoint_prefix(attempt, step)}/{name}")


def evaluations(bucket: Any, body: Body, commit: Commit) -> dict[int, float]:
    """Validation loss by step, as the last checkpoint remembers them."""
    state = json.loads(checkpoint(bucket, body, commit, commit.metrics.steps, "trainer_state.json"))
    return {e["step"]: e["eval_loss"] for e in state["log_history"] if "eval_loss" in e}


def test_training_stops_early_and_status_names_the_best(sft: Body, bucket: Any) -> None:
    commit, training = commit_of(bucket, sft), sft["status"]["training"]
    measured = evaluations(bucket, sft, commit)
    best = min(measured, key=lambda step: measured[step])
    assert commit.metrics.steps == best + PATIENCE * EVERY == max(measured) < MAX_STEPS
    assert (commit.metrics.best_step, commit.metrics.eval_loss) == (best, measured[best])
    assert training["bestCheckpoint"] == {"step": best, "evalLoss": f"{measured[best]:.4f}"}
    assert training["evalLoss"] == f"{measured[best]:.4f}"
    assert training["progress"] == f"{commit.metrics.steps}/{commit.metrics.steps}"
    assert is_true(sft, "Trained")
    assert is_true(sft, "ArtifactStored")
    assert condition(sft, "Served") is None


def test_the_committed_adapter_is_the_best_checkpoints(sft: Body, bucket: Any) -> None:
    commit = commit_of(bucket, sft)
    best = commit.metrics.best_step
    assert best is not None
    committed = read(bucket, f"{commit.prefix}/{WEIGHTS}")
    assert committed == checkpoint(bucket, sft, commit, best, WEIGHTS)
    assert committed != checkpoint(bucket, sft, commit, commit.metrics.steps, WEIGHTS)
    (revision,) = sft["status"]["revisions"]
    assert revision["adapterDigest"] == commit.digest


def test_wandb_reads_the_offline_run_out_of_the_bucket(
    sft: Body, bucket: Any, tmp_path: Path
) -> None:
    """By `wandb sync`, to a server that writes down what it is told."""
    commit = commit_of(bucket, sft)
    prefix = layout.wandb_prefix(revision_folder(sft), commit.attempt) + "/"
    keys = [o["Key"] for o in bucket.list_objects_v2(Bucket=s3.BUCKET, Prefix=prefix)["Contents"]]
    for key in keys:
        path = tmp_path / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(bucket, key))
    (folder,) = tmp_path.iterdir()
    where = sft["status"]["training"]["offlineRunsURI"]
    assert where == f"s3://{s3.BUCKET}/{prefix}".removesuffix(f"/{commit.attempt}/")
    server = synced_run(folder)
    assert {r["name"] for r in server.runs} == {f"{sft['metadata']['uid']}-{commit.revision}"}
    told = {
        row["train/global_step"]: row["eval/loss"] for row in server.history if "eval/loss" in row
    }
    assert told == evaluations(bucket, sft, commit)
    assert len(server.losses) == commit.metrics.steps
    assert server.losses[-1] == commit.metrics.final_loss


@pytest.fixture(scope="module")
def dpo(sft: Body, tenant: Tenant) -> tuple[Body, WandbServer]:
    """The second training, Ready, and the self-hosted W&B that it was followed with."""
    key = {"metadata": {"name": "wandb"}, "stringData": {"WANDB_API_KEY": WANDB_KEY}}
    tenant.core.create_namespaced_secret(NAMESPACE, key)
    with running_wandb(BRIDGE_ADDRESS) as server:
        wandb = {"project": "tone", "baseURL": server.url, "secretRef": {"name": "wandb"}}
        tenant.create(
            DPO,
            small_spec(
                dataset={
                    "train": source("pairs.jsonl"), "format": "Preference", "maxSequenceLength": 256
                },
                method={"type": "DPO", "dpo": {"beta": "0.1"}},
                adapter={
                    "from": {
                        "fineTuneRef": {"name": SFT},
                        "revision": sft["status"]["currentRevision"],
                    }
                },
                tracking={"wandb": wandb},
            ),
        )  # fmt: skip
        return tenant.wait_ready(DPO, 240), server


def test_dpo_goes_on_from_that_adapter(
    sft: Body, dpo: tuple[Body, WandbServer], bucket: Any
) -> None:
    body, _ = dpo
    commit, started = commit_of(bucket, body), commit_of(bucket, sft)
    assert commit.provenance.started_from == started.digest != commit.digest
    assert body["spec"]["serving"]["mode"] == "None"
    assert condition(body, "Served") is None
    assert body["status"]["training"]["progress"] == "8/8"
    # With chosen and rejected answers equally likely it would be ln 2; a policy that its own
    # reference says so much better of has learnt what is preferred.
    assert commit.metrics.final_loss < math.log(2)


def test_wandb_follows_a_run_online_and_status_has_its_address(
    dpo: tuple[Body, WandbServer], bucket: Any
) -> None:
    body, server = dpo
    commit = commit_of(bucket, body)
    run = f"{body['metadata']['uid']}-{commit.revision}"
    training = body["status"]["training"]
    assert training["trackingURL"] == f"{server.url}/{ENTITY}/tone/runs/{run}"
    assert "offlineRunsURI" not in training
    assert server.keys == {WANDB_KEY}
    assert {r["name"] for r in server.runs} == {run}
    assert len(server.losses) == commit.metrics.steps
    assert server.losses[-1] == commit.metrics.final_loss


def test_its_merged_model_is_in_the_bucket_and_nothing_is_trained_for_it(
    tenant: Tenant, bucket: Any
) -> None:
    trained = {j.metadata.uid for j in tenant.jobs(DPO)}
    tenant.patch(DPO, {"serving": {"mode": "Merged"}})
    tenant.wait(DPO, lambda b: stage(b) == "Exporting", "it exports")
    body = tenant.wait_ready(DPO, 240)
    assert {j.metadata.uid for j in tenant.jobs(DPO)} == trained
    (revision,) = body["status"]["revisions"]
    (told,) = revision["exports"]
    folder = told["uri"].removeprefix(f"s3://{s3.BUCKET}/").rsplit("/", 1)[0]
    export = Export.model_validate_json(read(bucket, f"{folder}/{layout.EXPORT_MANIFEST}"))
    assert (told["name"], told["digest"]) == (MERGED, export.digest)
    assert export.adapter_digest == commit_of(bucket, body).digest
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {f.path for f in export.files}
    for file in export.files:
        content = read(bucket, f"{export.prefix}/{file.path}")
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
