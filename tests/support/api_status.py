"""Statuses with every field set, as the operator may write them."""

from qwen3_api.v1alpha1.conditions import ConditionType, Reason
from qwen3_api.v1alpha1.evaluation import (
    EvalProgress,
    EvalStatus,
    EvalTrackingStatus,
    GateStatus,
    ResolvedStatus,
    ResultStatus,
    TrackedEvaluation,
    Verdict,
)
from qwen3_api.v1alpha1.export import ExportStatus
from qwen3_api.v1alpha1.failure import FailureClass, FailureStatus
from qwen3_api.v1alpha1.finetune_status import (
    BestCheckpointStatus,
    CheckpointStatus,
    EstimateStatus,
    FineTuneStatus,
    PreflightStatus,
    QueueStatus,
    RevisionStatus,
    ServingStatus,
    SizingStatus,
    TokenBucket,
    TrainingStatus,
    UsageStatus,
)
from qwen3_api.v1alpha1.holdout import HoldoutStatus
from qwen3_api.v1alpha1.meta import Condition, ConditionStatus
from qwen3_api.v1alpha1.promotion import EvaluationStatus, HistoryEntry, Move
from qwen3_api.v1alpha1.schedule import RunStatus, ScheduleStatus

NOW = "2026-11-24T11:00:00Z"
DIGEST = "a" * 64
LONGEST_MESSAGE = "第" * 1024
EVAL_NAME = "support-bot-0a1b2c3d-4e5f6a-and-40-lette"

CONDITIONS = [
    Condition(
        type=type_.value,
        status=ConditionStatus.TRUE,
        observed_generation=3,
        last_transition_time=NOW,
        reason=max(Reason, key=lambda reason: len(reason.value)).value,
        message=LONGEST_MESSAGE,
    )
    for type_ in ConditionType
]
FAILURE = FailureStatus(
    reason=Reason.OUT_OF_MEMORY.value,
    failure_class=FailureClass.USER,
    message=LONGEST_MESSAGE,
    hint="Set adapter.type QLoRA.",
    exit_code=44,
    log_uri="s3://team-a/default/uid/report.json",
    retriable=False,
    job_uid="4f5c9a2f-5e2b-0d0f-9a2f-0b3b8a5b9c1d",
    attempt="0d0f5f44-5e2b-4f5c-9a2f-0b3b8a5b9c1d",
)
LONGEST_URI = f"s3://team-a/{'r' * 1011}"
SIZING = SizingStatus(
    micro_batch_size=4,
    gradient_accumulation_steps=4,
    gradient_checkpointing=False,
    quantized=True,
    padding_free=True,
    gpu="NVIDIA-H100-80GB-HBM3",
    message=LONGEST_MESSAGE,
)

FINE_TUNE_STATUS = FineTuneStatus(
    observed_generation=3,
    conditions=CONDITIONS,
    stage="Training",
    current_revision="0a1b2c3d",
    candidate_revision="4e5f6a7b",
    revisions=[
        RevisionStatus(
            id=f"{number:08x}",
            spec_hash=DIGEST,
            created_time="2026-11-24T11:00:00.123456+08:00",
            adapter_uri="s3://team-a/adapter",
            adapter_digest=DIGEST,
            dataset_digest=DIGEST,
            base_commit="b" * 40,
            quantized=True,
            seed=3407,
            final_loss="0.4211",
            verdict="Inconclusive",
            exports=[
                ExportStatus(
                    name=f"gguf-{number}",
                    uri="s3://team-a/exports",
                    digest=DIGEST,
                    size_bytes=2**53,
                )
                for number in range(11)
            ],
        )
        for number in range(20)
    ],
    preflight=PreflightStatus(
        revision="0a1b2c3d",
        rows=2**53,
        validation_rows=40,
        counted_rows=20_000,
        tokens=2**53,
        p50_tokens=600,
        p95_tokens=1800,
        max_tokens=8192,
        truncated_percent="1.25",
        duplicate_rows=3,
        leaked_rows=1,
        thinking="AsInData",
        reasoning_rows=7,
        stripped_rows=2,
        warnings=[LONGEST_MESSAGE] * 8,
        token_buckets=[TokenBucket(tokens=128 * (n + 1), rows=n) for n in range(32)],
        template_hash=DIGEST,
        uri=LONGEST_URI,
        estimate=EstimateStatus(
            steps=1200,
            tokens=2**53,
            memory_mib=48_000,
            seconds=4800,
            gpu_seconds=9600,
            gpu_hours="2.67",
            duration="1h20m",
            cost="6.67 EUR",
        ),
        sizing=SIZING,
    ),
    training=TrainingStatus(
        job_name="support-bot-0a1b2c3d",
        attempt="0d0f5f44-5e2b-4f5c-9a2f-0b3b8a5b9c1d",
        step=420,
        total_steps=1200,
        progress="420/1200",
        epoch="1.05",
        loss="1.2345",
        eval_loss="1.3",
        learning_rate="0.0002",
        tokens_per_second="1234.5",
        eta_seconds=200,
        eta="3m20s",
        start_time=NOW,
        completion_time=NOW,
        last_heartbeat_time=NOW,
        last_checkpoint=CheckpointStatus(step=400, uri="s3://team-a/step-400", time=NOW),
        resumed_from_step=200,
        best_checkpoint=BestCheckpointStatus(step=400, eval_loss="1.2"),
        gpu_memory_mib=48_640,
        sizing=SIZING,
        adaptations=[LONGEST_MESSAGE] * 16,
        tracking_url="https://wandb.example.com/team-a/bots/runs/uid-0a1b2c3d",
        offline_runs_uri=LONGEST_URI,
    ),
    usage=UsageStatus(gpu_seconds=2**53, cost="6.67 EUR"),
    queue=QueueStatus(local_queue="team-a", message="waiting for quota"),
    serving=ServingStatus(
        endpoint="http://qwen3-pool.default.svc:8000/v1",
        model_name="default.support-bot",
        model_id="default.support-bot.aaaaaaaa",
        revision="0a1b2c3d",
        digest=DIGEST,
        loaded_replicas=1,
        desired_replicas=2,
        candidate_id="default.support-bot.bbbbbbbb",
        canary_weight_percent=25,
    ),
    evaluation=EvaluationStatus(
        eval_name=EVAL_NAME,
        revision="4e5f6a7b",
        verdict=Verdict.INCONCLUSIVE,
        score="0.9500",
        baseline_score="0.1000",
        incumbent_score="0.9400",
        leaked_questions=2**53,
        message=LONGEST_MESSAGE,
        report_uri=f"s3://team-a/{'r' * 1011}",
    ),
    history=[
        HistoryEntry(
            time=NOW,
            action=move,
            revision="0a1b2c3d",
            previous_revision="4e5f6a7b",
            eval_name=EVAL_NAME,
            message=LONGEST_MESSAGE,
        )
        for move in (*Move, *[Move.PROMOTED] * 40)
    ],
    failure=FAILURE,
)

EVAL_STATUS = EvalStatus(
    observed_generation=1,
    conditions=CONDITIONS,
    stage="Completed",
    verdict=Verdict.COMPLETED,
    job_name="exam-0a1b2c3d",
    progress=EvalProgress(completed=80, total=80, suite="held-out", eta_seconds=0),
    results=[
        ResultStatus(
            suite=f"suite-{number}",
            metric="ExactMatch",
            baseline_name="base",
            value="0.95",
            baseline="0.1",
            delta="0.85",
            ci_low="+0.7312",
            ci_high="+0.9688",
            samples=40,
        )
        for number in range(64)
    ],
    gates=[
        GateStatus(
            name=f"gate-{number}",
            verdict=Verdict.INCONCLUSIVE,
            estimate="+0.0100",
            ci_low="-0.0200",
            ci_high="+0.0400",
            samples=40,
            needed_samples=2**53,
            message=LONGEST_MESSAGE,
        )
        for number in range(16)
    ],
    score="0.95",
    delta="0.85",
    samples=40,
    resolved=ResolvedStatus(
        endpoint=f"https://{'e' * 504}",
        target_model="m" * 160,
        target_revision="0a1b2c3d",
        target_digest=DIGEST,
    ),
    report_uri="s3://team-a/default/evals/uid/report.html",
    tracking=EvalTrackingStatus(
        run_url=f"https://{'w' * 1016}",
        offline_run_uri=f"s3://{'w' * 1019}",
        evaluations=[
            TrackedEvaluation(suite=f"suite-{n}", model="base", url=f"https://{'w' * 1016}")
            for n in range(40)
        ],
    ),
    failure=FAILURE,
    start_time=NOW,
    completion_time=NOW,
    holdout=[
        HoldoutStatus(
            suite=f"suite-{number}",
            questions=2**53,
            leaked=2**53,
            training_rows=2**53,
            covered_rows=0,
        )
        for number in range(16)
    ],
    schedule=ScheduleStatus(
        next_time=NOW,
        last_time=NOW,
        missed_time=NOW,
        active=EVAL_NAME,
        history=[
            RunStatus(
                name=f"nightly-{number}",
                scheduled_time=NOW,
                completion_time=NOW,
                verdict=Verdict.ERROR,
                reason=max(Reason, key=lambda reason: len(reason.value)).value,
                score="0.9500",
                delta="+0.1000",
                samples=2**53,
                revision="0a1b2c3d",
                report_uri=f"s3://team-a/{'r' * 1011}",
            )
            for number in range(20)
        ],
    ),
)
