"""The identity of a revision: every training input makes one, nothing else does."""

import json
import random
import re
from typing import Any

import pytest

from qwen3_api.v1alpha1.numbers import decimal_text
from qwen3_operator.finetune.promotion.canary import limits_digest
from qwen3_operator.finetune.promotion.evaluation import evaluation_name, resolve_evaluation
from qwen3_operator.resources.identity import (
    checks_digest,
    export_digest,
    resources_digest,
    spec_hash,
)
from qwen3_operator.resources.names import eval_job_name, job_name
from qwen3_operator.resources.storage import resolve_storage
from qwen3_operator.settings import Settings
from support.api_objects import FINE_TUNE_FULL, changed
from support.operator_world import build_finetune, build_spec, spec_of

S3 = {"type": "S3", "s3": {"uri": "s3://team-a/other.jsonl"}}


def hash_of(spec: dict[str, Any]) -> str:
    return spec_hash(spec_of(build_finetune(spec)))


BASE = hash_of(build_spec())

TRAINING_INPUTS: list[dict[str, Any]] = [
    {"baseModel": {"name": "Qwen/Qwen3-4B"}},
    {"baseModel": {"revision": "main"}},
    {"baseModel": {"source": {"type": "HuggingFace"}}},
    {"dataset": {"train": S3}},
    {"dataset": {"train": {"type": "ConfigMap", "s3": None, "configMap": {"name": "x"}}}},
    {"dataset": {"validation": S3}},
    {"dataset": {"format": "Alpaca"}},
    {"dataset": {"maxSequenceLength": 4096}},
    {"method": {"sft": {"assistantOnlyLoss": False}}},
    {"adapter": {"type": "QLoRA"}},
    {"adapter": {"rank": 32}},
    {"adapter": {"alpha": 32}},
    {"adapter": {"dropout": "0.1"}},
    {"adapter": {"targetModules": ["q_proj"]}},
    {"adapter": {"useRSLoRA": True}},
    {"hyperparameters": {"epochs": 4}},
    {"hyperparameters": {"maxSteps": 3}},
    {"hyperparameters": {"learningRate": "1e-4"}},
    {"hyperparameters": {"scheduler": "Cosine"}},
    {"hyperparameters": {"warmupRatio": "0.1"}},
    {"hyperparameters": {"weightDecay": "0"}},
    {"hyperparameters": {"effectiveBatchSize": 32}},
    {"dataset": {"validation": S3}, "hyperparameters": {"earlyStopping": {}}},
    {"dataset": {"validation": S3}, "hyperparameters": {"earlyStopping": {"patience": 4}}},
    {"hyperparameters": {"seed": 1}},
    {"method": {"type": "DPO"}, "dataset": {"format": "Preference"}},
    {"method": {"type": "DPO", "dpo": {"beta": "0.2"}}, "dataset": {"format": "Preference"}},
    {"method": {"type": "DPO", "dpo": {"lossType": "IPO"}}, "dataset": {"format": "Preference"}},
    {"adapter": {"from": {"fineTuneRef": {"name": "sft"}, "revision": "0a1b2c3d"}}},
    {"dataset": {"chatTemplate": {"thinking": "Disabled"}}},
    {"checkpoint": {"loadBest": False}},
]

SAME: list[dict[str, Any]] = [
    # not what is trained, but where and how it is kept and served
    {"suspend": True},
    {"checkpoint": {"everySteps": 1, "keepLast": 9, "resume": "Never"}},
    {"resources": {"gpus": 0, "memory": "1Gi", "queueName": "gpus"}},
    {"failurePolicy": {"maxRetries": 0, "onOutOfMemory": "Fail", "allowQuantization": True}},
    {"limits": {"maxGPUSeconds": 3600}},
    {"tracking": {"wandb": {"project": "p", "mode": "Offline"}}},
    {"mode": "Plan"},
    # what the preflight lets pass, and how the work is cut for the card
    {"dataset": {"checks": {"maxTruncatedPercent": 1, "failOnLeakage": False}}},
    {"hyperparameters": {"microBatchSize": 1, "gradientCheckpointing": False}},
    {"artifacts": {"deletionPolicy": "Delete", "s3": {"bucket": "another"}}},
    {"serving": {"mode": "None"}},
    {"serving": {"modelName": "helper", "replicas": 3}},
    {"revisionHistoryLimit": 1, "ttlSecondsAfterFinished": 0},
    {"baseModel": {"tokenSecretRef": {"name": "hub"}}},
    # defaults written down
    {"hyperparameters": {"epochs": 3, "seed": 3407, "scheduler": "Linear"}},
    {"method": {"type": "SFT", "sft": {"assistantOnlyLoss": True}}},
    {"adapter": {"type": "LoRA", "rank": 16, "alpha": 16, "dropout": "0"}},
    {"dataset": {"format": "Auto", "maxSequenceLength": 2048}},
    # the same number or set in other words
    {"hyperparameters": {"learningRate": "0.0002", "warmupRatio": "0.030"}},
    {"adapter": {"dropout": "0.0"}},
    {"adapter": {"dropout": 0}},
    {"hyperparameters": {"learningRate": 2e-4, "warmupRatio": 0.03, "weightDecay": 0.01}},
    {
        "adapter": {
            "targetModules": [
                "down_proj", "q_proj", "up_proj", "k_proj", "gate_proj", "v_proj", "o_proj",
            ]
        }
    },
]  # fmt: skip


@pytest.mark.parametrize("change", TRAINING_INPUTS, ids=json.dumps)
def test_every_training_input_makes_a_revision(change: dict[str, Any]) -> None:
    assert hash_of(build_spec(**change)) != BASE


def test_training_inputs_make_different_revisions() -> None:
    hashes = [hash_of(build_spec(**change)) for change in TRAINING_INPUTS]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("change", SAME, ids=json.dumps)
def test_nothing_else_does(change: dict[str, Any]) -> None:
    assert hash_of(build_spec(**change)) == BASE


def shuffled(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    rng.shuffle(keys)
    return {key: shuffled(value[key], rng) for key in keys}


def test_the_order_of_keys_means_nothing() -> None:
    rng = random.Random(7)  # noqa: S311  an order, not a secret
    for _ in range(10):
        assert hash_of(shuffled(build_spec(), rng)) == BASE


def test_a_stored_spec_with_all_defaults_is_the_same_revision() -> None:
    """The API server fills defaults in; a user's file has ten lines."""
    stored = spec_of(build_finetune()).to_wire()
    assert hash_of(stored) == BASE


def test_the_hash_is_pinned() -> None:
    """It names Jobs and folders of everybody's runs: a change of it trains everything again.

    If you meant to change it, write the migration first.
    """
    assert BASE == "9eb4298b9c753f86d69a496b66d1699faa1b0c150f5b0c37a350f535935e7e86"


DPO_FULL = changed(
    FINE_TUNE_FULL,
    {"method": {"type": "DPO", "dpo": {"beta": "0.05"}}, "dataset.format": "Preference"},
)


@pytest.mark.parametrize(
    ("wire", "revision", "resources", "evaluation"),
    [
        (
            FINE_TUNE_FULL,
            "02e12954f3a86073a115d68b728bc21a7472fac34dac62be705601007b6d41ca",
            "a38bf1b9cd05f98b",
            "bot-0a1b2c3d-983c53",
        ),
        (
            DPO_FULL,
            "a19e19d396da8dcc795794971803281a780ac4380f0f80b2355982e5f36adda1",
            "a38bf1b9cd05f98b",
            "bot-0a1b2c3d-983c53",
        ),
    ],
    ids=["sft", "dpo"],
)
def test_digests_of_numbers_in_text_are_pinned(
    wire: dict[str, Any], revision: str, resources: str, evaluation: str
) -> None:
    """Of every number as text: from before they could be JSON numbers. A change makes stored
    objects train, or be evaluated, again."""
    finetune = build_finetune(wire)
    spec = spec_of(finetune)
    assert spec_hash(spec) == revision
    assert resources_digest(spec) == resources
    assert checks_digest(spec) == "0517560926bcff3e"
    assert export_digest(spec) == "983e3fa87d8ab1a7"
    assert limits_digest(spec.serving.rollout.auto_rollback) == "fa573d8faa917707"
    assert spec.evaluation is not None
    asked = resolve_evaluation(finetune.meta, spec, spec.evaluation, "0a1b2c3d", "deadbeef")
    assert evaluation_name(finetune.meta, asked, "0a1b2c3d") == evaluation


def test_a_number_is_the_same_as_its_plain_text() -> None:
    """In every digest: of the revision, of a Job's resources and of an evaluation."""
    paths = {
        "adapter.dropout": 0.05,
        "hyperparameters.learningRate": 1e-5,
        "hyperparameters.warmupRatio": 0.1,
        "hyperparameters.weightDecay": 0,
        "hyperparameters.earlyStopping.minDelta": 0.01,
        "method.dpo.beta": 0.05,
        "resources.cpu": 0.5,
        "resources.memory": 68719476736,
        "evaluation.suites[0].generation.temperature": 0.7,
        "evaluation.suites[0].questions.judge.maxCost": 12.5,
        "evaluation.suites[0].questions.judge.endpoints[0].promptPrice": 0.7,
        "evaluation.suites[0].questions.judge.endpoints[0].completionPrice": 2.8,
        "evaluation.gates[0].minimum": 0.6,
        "evaluation.gates[1].maximum": 1.5,
        "evaluation.gates[2].maxRegression": 0.02,
        "evaluation.gates[3].minimumEffect": 0.05,
        "evaluation.runner.cpu": 1,
        "evaluation.runner.memory": 536870912,
    }
    texts = {path: decimal_text(number) for path, number in paths.items()}
    as_numbers = spec_of(build_finetune(changed(DPO_FULL, paths)))
    as_texts = spec_of(build_finetune(changed(DPO_FULL, texts)))
    assert as_numbers == as_texts
    assert spec_hash(as_numbers) == spec_hash(spec_of(build_finetune(DPO_FULL)))


def test_names_fit_and_never_meet() -> None:
    longest = "a" * 40
    assert len(job_name(longest, BASE[:8])) <= 63
    assert len(eval_job_name(longest)) <= 63
    # An evaluation and a fine-tune of one name: no revision is spelt like that.
    assert re.fullmatch(r"x-[0-9a-f]{8}", eval_job_name("x")) is None
    for model in ("Qwen/Qwen3-8B", "a/" + "B" * 90, "x/a._", "x/A.B_C-"):
        name = build_finetune(build_spec(baseModel={"name": model})).pool
        assert len(name) <= 48
        assert name.strip("-") == name
        assert name == name.lower()


@pytest.mark.parametrize(
    ("change", "shares"),
    [
        ({"hyperparameters": {"seed": 1}}, True),
        ({"serving": {"modelName": "helper", "replicas": 3}}, True),
        ({"adapter": {"rank": 8}}, True),
        ({"baseModel": {"name": "Qwen/Qwen3-4B"}}, False),
        ({"baseModel": {"revision": "main"}}, False),
        ({"artifacts": {"s3": {"bucket": "another"}}}, False),
        ({"artifacts": {"s3": {"credentialsSecretRef": {"name": "mine"}}}}, False),
        ({"artifacts": {"s3": {"bucket": "qwen3"}}}, True),
    ],
    ids=json.dumps,
)
def test_who_shares_a_pool(change: dict[str, Any], shares: bool) -> None:
    mine = build_finetune().pool
    other = build_finetune(build_spec(**change)).pool
    assert (mine == other) is shares


def test_storage_is_resolved_against_the_settings() -> None:
    def resolve(**s3: Any) -> Any:
        spec = spec_of(build_finetune(build_spec(artifacts={"s3": s3})))
        return resolve_storage(spec.artifacts.s3, settings)

    extra = {"endpoint": "http://two.test:1", "region": "eu-1"}
    settings = Settings.model_validate(
        {
            "images": {"trainer": "t", "server": "s", "evaluator": "e"},
            "storage": {"default": {"bucket": "main"}, "additional": [extra]},
        }
    )
    assert (resolve().endpoint, resolve().bucket, resolve().secret) == (None, "main", "qwen3-s3")
    assert resolve(endpoint="http://two.test:1") is None, "it has no bucket of its own"
    assert resolve(endpoint="http://two.test:1", bucket="mine").region == "eu-1"
    assert resolve(endpoint="http://evil.test:1", bucket="mine") is None
    own = resolve(bucket="mine", credentialsSecretRef={"name": "key"})
    assert (own.bucket, own.secret) == ("mine", "key")


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"maxGPUSeconds": 3600}},
        {"hyperparameters": {"microBatchSize": 2}},
        {"hyperparameters": {"gradientCheckpointing": False}},
        {"failurePolicy": {"onOutOfMemory": "Fail"}},
        {"failurePolicy": {"allowQuantization": True}},
        {"failurePolicy": {"stallTimeoutSeconds": 60}},
    ],
    ids=json.dumps,
)
def test_a_job_is_made_again_of_the_same_revision(change: dict[str, Any]) -> None:
    before, after = (spec_of(build_finetune(build_spec(**c))) for c in ({}, change))
    assert resources_digest(before) != resources_digest(after)
    assert spec_hash(before) == spec_hash(after)


def test_resources_digest_follows_every_resource() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"gpus": 0},
        {"cpu": "1"},
        {"memory": "1Gi"},
        {"nodeSelector": {"a": "b"}},
        {"tolerations": [{"key": "a", "operator": "Exists"}]},
        {"priorityClassName": "high"},
        {"queueName": "gpus"},
    ]
    found = {resources_digest(spec_of(build_finetune(build_spec(resources=c)))) for c in changes}
    assert len(found) == len(changes)
