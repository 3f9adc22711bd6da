"""`make demo`: ten lines of YAML to an adapter that answers, watched all the way.

On a bare machine it brings a cluster first. With KUBECONFIG set it uses that cluster as it is; then
$QWEN3_VALUES names the values that the chart is installed with there (images, storage, catalogue),
and the namespace `demo` must hold the storage Secret.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwen3_local import tenants
from qwen3_local.cluster import Cluster
from qwen3_local.install import install
from qwen3_local.layout import REPOSITORY, Home, current_home
from qwen3_local.platform import ensure_platform
from qwen3_local.programs import ProgramError, run, wait_until
from qwen3_local.timings import read_timings, render_table, say, step

EXAMPLE = REPOSITORY / "examples" / "01-quickstart"
LOCAL_EXAMPLE = REPOSITORY / "examples" / "01-quickstart-local"
NAMESPACE = "demo"
NAME = "support-bot"
TRAINING_SECONDS = 900.0
QUESTIONS = 4


def demo() -> int:
    """Run it; the exit status is 1 when the fine-tune stalls."""
    home = current_home()
    home.timings_file.unlink(missing_ok=True)
    foreign = os.environ.get("KUBECONFIG")
    if foreign:
        cluster = use_foreign_cluster(home, Path(foreign))
        example = EXAMPLE
    else:
        with step(home, "install"):
            install(home)
        platform = ensure_platform(home)
        with step(home, "tenant"):
            tenants.ensure_tenant(platform, NAMESPACE)
        cluster, example = platform.cluster, LOCAL_EXAMPLE
    with step(home, "training and loading"):
        body = train(cluster, example)
    if body is None:
        return 1
    with step(home, "questions"):
        print(ask_all(cluster, body))
    say("\n" + render_table(read_timings(home.timings_file)))
    return 0


def use_foreign_cluster(home: Home, kubeconfig: Path) -> Cluster:
    """Install the chart there with the platform team's own values.

    Raises:
        SystemExit: QWEN3_VALUES isn't set, or helm is missing.
    """
    values = os.environ.get("QWEN3_VALUES")
    if not values:
        raise SystemExit(
            "KUBECONFIG is set: QWEN3_VALUES must name a values file for helm/qwen3-operator "
            "(images, storage, catalogue). Unset KUBECONFIG to build a local cluster."
        )
    cluster = Cluster("foreign", kubeconfig, "", home.state, Path("kubectl"))
    with step(home, "helm chart"):
        run(
            ["helm", "upgrade", "--install", tenants.RELEASE, tenants.CHART,
             f"--namespace={tenants.SYSTEM}", "--create-namespace", f"--values={values}", "--wait",
             f"--kubeconfig={kubeconfig}"]
        )  # fmt: skip
    return cluster


def train(cluster: Cluster, example: Path) -> dict[str, Any] | None:
    """Apply the example afresh and watch it to Ready; None when it stalls."""
    name = ("qwen3finetune", NAME, f"--namespace={NAMESPACE}")
    cluster.kubectl_run("delete", *name, "--ignore-not-found", "--wait")
    flag = "-k" if (example / "kustomization.yaml").exists() else "-f"
    cluster.kubectl_run("apply", f"--namespace={NAMESPACE}", "--server-side", flag, str(example))
    say(f"\n      kubectl get q3ft -n {NAMESPACE} -w")
    shown, end = "", time.monotonic() + TRAINING_SECONDS
    while time.monotonic() < end:
        body = json.loads(cluster.kubectl_run("get", *name, "-o", "json"))
        line = describe(body)
        if line != shown:
            say(f"      {time.strftime('%H:%M:%S')}  {line}")
            shown = line
        states = {c["type"]: c for c in body.get("status", {}).get("conditions", [])}
        if states.get("Stalled", {}).get("status") == "True":
            say(f"      stalled: {states['Stalled']['message']}")
            return None
        if states.get("Ready", {}).get("status") == "True":
            return dict(body)
        time.sleep(1)
    raise TimeoutError(f"{NAME} isn't Ready after {TRAINING_SECONDS:.0f} s")


def describe(body: dict[str, Any]) -> str:
    """What `kubectl get q3ft` shows, as one line."""
    status = body.get("status", {})
    training, serving = status.get("training", {}), status.get("serving", {})
    parts = [
        f"{status.get('stage', 'Pending'):<12}",
        f"step {training['progress']}" if training.get("progress") else "",
        f"loss {training['loss']}" if training.get("loss") else "",
        f"ETA {training['eta']}" if training.get("eta") else "",
        f"serving {serving['revision']}" if serving.get("revision") else "",
    ]
    return "  ".join(p for p in parts if p)


@contextmanager
def pool_address(cluster: Cluster, service: str) -> Iterator[str]:
    """The pool's OpenAI API on a local port, by `kubectl port-forward`."""
    process = subprocess.Popen(
        [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}",
         "port-forward", f"service/{service}", ":80"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        # "Forwarding from 127.0.0.1:40123 -> 8000"
        line = process.stdout.readline() if process.stdout else ""
        if "127.0.0.1:" not in line:
            raise ProgramError(f"kubectl port-forward: {line!r}")
        port = line.split("127.0.0.1:")[1].split()[0]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


def ask_all(cluster: Cluster, body: dict[str, Any]) -> str:
    """Held-out questions to base and adapter, side by side."""
    serving = body["status"]["serving"]
    service = serving["endpoint"].split("//")[1].split(".")[0]
    rows = [json.loads(line) for line in (EXAMPLE / "data" / "heldout.jsonl").open()]
    lines = [
        f"\nmodel {serving['modelName']} = {serving['modelID']}, digest {serving['digest'][:12]}"
    ]
    with pool_address(cluster, service) as address:
        wait_until(lambda: answers(address), "the pool answers", 60)
        for row in rows[:: max(1, len(rows) // QUESTIONS)][:QUESTIONS]:
            base = ask(address, body["spec"]["baseModel"]["name"], row["question"])
            tuned = ask(address, serving["modelName"], row["question"])
            lines += [
                f"\n  question  {row['question']}",
                f"  expected  {row['answer']}",
                f"  base      {base}",
                f"  adapter   {tuned}",
            ]
    return "\n".join(lines)


def answers(address: str) -> bool:
    """The API lists its models."""
    try:
        with urllib.request.urlopen(f"{address}/models", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ask(address: str, model: str, question: str) -> str:
    """One greedy answer."""
    order = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 64,
    }
    request = urllib.request.Request(
        f"{address}/chat/completions",
        data=json.dumps(order).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        content = json.load(response)["choices"][0]["message"]["content"]
    return " ".join((content or "").split())


if __name__ == "__main__":
    sys.exit(demo())
