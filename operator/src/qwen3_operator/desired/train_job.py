"""The training Job of one revision, and the order that its pod reads."""

from typing import Any

from qwen3_api.job import layout
from qwen3_api.job.train import (
    HuggingFaceModel,
    JobAdapter,
    JobBaseModel,
    JobCheckpoint,
    JobDataset,
    JobHyperparameters,
    S3Model,
    TrainJob,
)
from qwen3_api.v1alpha1.finetune import (
    KIND,
    AdapterType,
    BaseModelSource,
    BaseModelSourceType,
    BaseModelSpec,
    FineTuneSpec,
    ResumePolicy,
)
from qwen3_api.v1alpha1.meta import API_VERSION
from qwen3_operator.desired.job import (
    ORDER_MOUNT,
    MountedData,
    build_failure_policy,
    build_order_config_map,
    build_order_volume,
    mounted_data,
    parse_s3_uri,
    resolve_data,
)
from qwen3_operator.desired.names import (
    ANNOTATION_RESOURCES,
    DEFAULT_EPOCHS,
    LABEL_FINE_TUNE,
    LABEL_QUEUE,
    LABEL_REVISION,
    StorageTarget,
    job_name,
    labels,
    resources_digest,
    revision_id,
    spec_hash,
)
from qwen3_operator.desired.pod import (
    CONTAINER_SECURITY,
    build_credentials_env,
    build_owner,
    build_pod_base,
    build_pod_identity_env,
    empty_dir,
)
from qwen3_operator.observed import Meta
from qwen3_operator.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "trainer"


def resolve_model(base: BaseModelSpec, settings: Settings) -> BaseModelSource | None:
    """Where the weights come from: the spec's source, else the catalogue's; None if in neither."""
    if base.source is not None:
        return base.source
    return next((m.source for m in settings.catalogue if m.name == base.name), None)


def resolve_job_model(
    base: BaseModelSpec, storage: StorageTarget, settings: Settings
) -> HuggingFaceModel | S3Model:
    """The contract's view of the base model.

    Raises:
        LookupError: neither spec nor catalogue has a source; validation comes before.
    """
    source = resolve_model(base, settings)
    if source is None:
        raise LookupError(f"no source for base model {base.name}")
    if source.type is BaseModelSourceType.S3 and source.s3 is not None:
        return S3Model(location=parse_s3_uri(source.s3.uri, storage))
    pinned = next((m.revision for m in settings.catalogue if m.name == base.name), None)
    return HuggingFaceModel(repo=base.name, revision=base.revision or pinned)


def resolve_train_job(
    meta: Meta, spec: FineTuneSpec, storage: StorageTarget, settings: Settings
) -> TrainJob:
    """Every default resolved: the whole order of one revision."""
    digest = spec_hash(spec)
    revision = revision_id(digest)
    hyper = spec.hyperparameters
    sft = spec.method.sft
    dataset = spec.dataset
    return TrainJob(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        revision=revision,
        spec_hash=digest,
        method="SFT",
        base_model=JobBaseModel(
            name=spec.base_model.name,
            source=resolve_job_model(spec.base_model, storage, settings),
        ),
        dataset=JobDataset(
            train=resolve_data("train", dataset.train, storage),
            validation=(
                resolve_data("validation", dataset.validation, storage)
                if dataset.validation
                else None
            ),
            format=dataset.format.value,  # Preference is refused before
            max_sequence_length=dataset.max_sequence_length,
        ),
        adapter=JobAdapter(
            quantized=spec.adapter.type is AdapterType.QLORA,
            rank=spec.adapter.rank,
            alpha=spec.adapter.alpha or spec.adapter.rank,
            dropout=float(spec.adapter.dropout),
            target_modules=spec.adapter.target_modules,
            use_rslora=spec.adapter.use_rslora,
        ),
        hyperparameters=JobHyperparameters(
            epochs=None if hyper.max_steps else (hyper.epochs or DEFAULT_EPOCHS),
            max_steps=hyper.max_steps,
            learning_rate=float(hyper.learning_rate),
            scheduler=hyper.scheduler.value.lower(),
            warmup_ratio=float(hyper.warmup_ratio),
            weight_decay=float(hyper.weight_decay),
            micro_batch_size=hyper.micro_batch_size or 1,
            gradient_accumulation_steps=hyper.effective_batch_size // (hyper.micro_batch_size or 1),
            gradient_checkpointing=hyper.gradient_checkpointing is not False,
            seed=hyper.seed,
            assistant_only_loss=sft.assistant_only_loss if sft else True,
        ),
        checkpoint=JobCheckpoint(
            every_steps=spec.checkpoint.every_steps,
            keep_last=spec.checkpoint.keep_last,
            resume=spec.checkpoint.resume is ResumePolicy.AUTO,
        ),
        gpus=spec.resources.gpus,
        output=storage.location(
            layout.revision_prefix(storage.prefix, meta.namespace, meta.uid, revision)
        ),
        progress_seconds=settings.training.progress_seconds,
        image=settings.images.trainer,
    )


def build_train_objects(
    meta: Meta, spec: FineTuneSpec, storage: StorageTarget, settings: Settings
) -> tuple[Manifest, Manifest]:
    """ConfigMap and Job of a revision, in the order they must be applied."""
    order = resolve_train_job(meta, spec, storage, settings)
    name = job_name(meta.name, order.revision)
    tags = labels("trainer", **{LABEL_FINE_TUNE: meta.name, LABEL_REVISION: order.revision})
    owner = build_owner(KIND, meta.name, meta.uid, API_VERSION)
    config_map = build_order_config_map(name, meta.namespace, order.to_json(), tags, owner)
    queue = {LABEL_QUEUE: spec.resources.queue_name} if spec.resources.queue_name else {}
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": {**tags, **queue},
            "annotations": {ANNOTATION_RESOURCES: resources_digest(spec)},
            "ownerReferences": [owner],
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": spec.failure_policy.max_retries,
            # Never two training pods at once, not even while the first one still terminates.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": build_failure_policy(CONTAINER),
            "template": {
                "metadata": {"labels": tags},
                "spec": _build_pod(name, spec, storage, settings),
            },
        },
    }
    return config_map, job


def _build_pod(
    config_map: str, spec: FineTuneSpec, storage: StorageTarget, settings: Settings
) -> Manifest:
    training = settings.training
    mounts = [
        m
        for m in (
            mounted_data("train", spec.dataset.train),
            mounted_data("validation", spec.dataset.validation),
        )
        if m is not None
    ]
    pod = build_pod_base(settings) | {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": training.grace_seconds,
        "containers": [_build_container(spec, storage, settings, mounts)],
        "volumes": [
            build_order_volume(config_map),
            empty_dir("work", training.scratch),
            empty_dir("tmp"),
            empty_dir("shm", training.shared_memory, memory=True),
            *(m.build_volume() for m in mounts),
        ],
    }
    if spec.resources.node_selector:
        pod["nodeSelector"] = spec.resources.node_selector
    if spec.resources.tolerations:
        pod["tolerations"] = [t.to_wire() for t in spec.resources.tolerations]
    if spec.resources.priority_class_name:
        pod["priorityClassName"] = spec.resources.priority_class_name
    return pod


def _build_container(
    spec: FineTuneSpec, storage: StorageTarget, settings: Settings, mounts: list[MountedData]
) -> Manifest:
    training = settings.training
    memory = spec.resources.memory or training.memory
    gpus = {training.gpu_resource: str(spec.resources.gpus)} if spec.resources.gpus else {}
    env = [
        *build_pod_identity_env(),
        *build_credentials_env(storage.secret),
        {"name": "HOME", "value": layout.WORK_DIR},
    ]
    if training.allow_cpu:
        env.append({"name": "QWEN3_ALLOW_CPU", "value": "1"})
    if spec.base_model.token_secret_ref:
        key = {"name": spec.base_model.token_secret_ref.name, "key": "HF_TOKEN"}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}})
    return {
        "name": CONTAINER,
        "image": settings.images.trainer,
        "imagePullPolicy": settings.images.pull_policy,
        "env": env,
        "resources": {
            "requests": {"cpu": spec.resources.cpu or training.cpu, "memory": memory, **gpus},
            "limits": {"memory": memory, **gpus},
        },
        "securityContext": CONTAINER_SECURITY,
        # The trainer writes its reason here itself; the log is the fallback for a crash.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            ORDER_MOUNT,
            {"name": "work", "mountPath": layout.WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            *(m.build_mount() for m in mounts),
        ],
    }
