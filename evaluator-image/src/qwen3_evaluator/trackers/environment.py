"""The environment of a tracker's process, and addresses known beforehand. Pure.

The process sees neither the keys of the bucket nor those of the models, writes below its folder
only, and talks to its tracker alone.
"""

from collections.abc import Mapping
from pathlib import Path

from qwen3_api.job.evaluate import EvalJob, EvalWeave
from qwen3_api.job.train import JobWandb

KEY = "WANDB_API_KEY"
APP = "https://wandb.ai"
"""Of the service; a self-hosted server shows its pages under the address of its API."""
_PASSED_ON = (
    *("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TMPDIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
)


def wandb_environment(
    environ: Mapping[str, str], job: EvalJob, wandb: JobWandb, folder: Path, key: str | None
) -> dict[str, str]:
    """Of the process that writes the W&B run. All attempts of an evaluation are one run."""
    env = _common(environ, folder) | {
        "WANDB_MODE": "offline" if wandb.offline else "online",
        "WANDB_PROJECT": wandb.project,
        "WANDB_RUN_ID": job.uid,
        "WANDB_RESUME": "allow",
        "WANDB_NAME": f"{job.namespace}/{job.name}",
        "WANDB_JOB_TYPE": "evaluation",
    }
    if wandb.entity is not None:
        env["WANDB_ENTITY"] = wandb.entity
    if wandb.base_url is not None:
        env["WANDB_BASE_URL"] = wandb.base_url
    if key is not None and not wandb.offline:
        env[KEY] = key
    return env


def weave_environment(
    environ: Mapping[str, str], weave: EvalWeave, folder: Path, key: str
) -> dict[str, str]:
    """Of the process that logs to Weave."""
    env = _common(environ, folder) | {
        KEY: key,
        # Errors are counted by a handler of our own; the rest is chatter.
        "WEAVE_LOG_LEVEL": "ERROR",
        "WEAVE_PRINT_CALL_LINK": "false",
        "WEAVE_DISPLAY_VIEWER": "print",
        "WEAVE_CAPTURE_CODE": "false",
        "WEAVE_CAPTURE_CLIENT_INFO": "false",
        "WEAVE_CAPTURE_SYSTEM_INFO": "false",
        "WEAVE_IMPLICITLY_PATCH_INTEGRATIONS": "false",
        "WEAVE_USE_SERVER_CACHE": "false",
        "WEAVE_ENABLE_DISK_FALLBACK": "false",
        "WEAVE_HTTP_TIMEOUT": "15",
        # Weave installs an exporter of OpenTelemetry spans to <trace server>/otel.
        "OTEL_SDK_DISABLED": "true",
    }
    if weave.entity is not None:
        env["WANDB_ENTITY"] = weave.entity
    if weave.base_url is not None:
        env["WANDB_BASE_URL"] = weave.base_url
    if weave.trace_url is not None:
        env["WF_TRACE_SERVER_URL"] = weave.trace_url.rstrip("/")
    return env


def _common(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {name: environ[name] for name in _PASSED_ON if name in environ} | {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        # Sentry, of wandb and of Weave.
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
        "DO_NOT_TRACK": "1",
    }


def run_url(job: EvalJob) -> str | None:
    """Address that the W&B run will have; None where the key alone knows the entity."""
    wandb = job.tracking.wandb
    if wandb is None or wandb.offline or wandb.entity is None:
        return None
    return f"{wandb.base_url or APP}/{wandb.entity}/{wandb.project}/runs/{job.uid}"


def evaluations_url(job: EvalJob) -> str | None:
    """Address of Weave's list of evaluations; None where the key alone knows the entity."""
    weave = job.tracking.weave
    if weave is None or weave.entity is None:
        return None
    return f"{weave.base_url or APP}/{weave.entity}/{weave.project}/weave/evaluations"
