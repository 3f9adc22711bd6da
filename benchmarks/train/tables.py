"""Tables of a result file for docs/reference/performance.md, and constants fitted to it. Pure.

The model's figures are computed here, when the table is made: after a change of a constant the same
file tells the new errors.
"""

from dataclasses import replace
from statistics import mean, median

import numpy as np

from benchmarks.train.configurations import WARM_UP, Configuration, model_shape
from benchmarks.train.results import Machine, Results, Run
from qwen3_sizing import memory, throughput
from qwen3_sizing.memory import GIB, MIB, MemoryEstimate, estimate_memory
from qwen3_sizing.plan import CARDS, Card

GOAL = 0.10
"""Of the memory model's error."""


def render(results: Results) -> str:
    """Everything, as Markdown."""
    parts = [_machine(results.machine)] if results.machine else []
    defaults = results.machine is not None and results.machine.defaults
    parts.append(defaults_table(results) if defaults else compared_table(results))
    parts += _models(results)
    parts += [f"- failed: {f.system}, {f.configuration.name}: {f.error}" for f in results.failures]
    return "\n\n".join(parts)


def together(several: list[Results]) -> str:
    """The product's runs of several files of one card in one table of each kind, with both models'
    constants fitted to all of them."""
    runs = [run for results in several for run in results.runs if run.system == "product"]
    return "\n\n".join(_models(replace(several[-1], runs=runs)))


def _models(results: Results) -> list[str]:
    """Both models' tables: of full rows, since of many lengths they tell a bound and a mean."""
    full = [r for r in results.runs if r.configuration.shortest is None]
    on_gpu = [r for r in full if r.system == "product" and r.reserved > 0]
    memory_parts = [memory_table(on_gpu), fit_of_memory(on_gpu)] if on_gpu else []
    return [*memory_parts, speed_table(replace(results, runs=full))]


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    commit = f", commit {machine.commit}" if machine.commit else ""
    return (
        f"{machine.date}, {machine.card} ({machine.memory_mib:,} MiB, driver {machine.driver}), "
        f"Python {machine.python}, {versions}{commit}."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def defaults_table(results: Results) -> str:
    """What the planner chose by itself: what it said that a card needs, and what the run took."""
    memory_mib = results.machine.memory_mib if results.machine else 0
    head = ["setting", "needs GiB", "took GiB", "error", "of the card", "tokens/s"]
    rows = []
    for run in results.runs:
        took, needs = run.reserved + run.context, _predicted(run.configuration).on_card
        known = took > 0
        rows.append(
            [
                run.configuration.name,
                f"{needs / GIB:.1f}",
                f"{took / GIB:.1f}" if known else "",
                f"{needs / took - 1:+.1%}" if known else "",
                f"{took / MIB / memory_mib:.0%}" if known else "",
                f"{run.tokens_per_second:,.0f}",
            ]
        )
    return (
        f"{_table(head, rows)}\n\n{len(results.runs)} of the planner's own choices ran to "
        f"their end, {len(results.failures)} did not."
    )


def compared_table(results: Results) -> str:
    """The planned settings beside TRL + PEFT: speed, memory, loss after equal samples."""
    usual = [r for r in results.runs if r.system == "TRL + PEFT"]
    own = [r for r in results.runs if r.system == "product"]
    # The product's first runs are these, in the same order.
    pairs = [
        (u, o)
        for u, o in zip(usual, own, strict=False)
        if u.configuration.lengths == o.configuration.lengths
    ]
    if not pairs:
        return "The comparison with TRL + PEFT was not completed."
    return "\n\n".join(_compared(*pair) for pair in pairs)


def _compared(usual: Run, own: Run) -> str:
    head = ["", "setting", "tokens/s", "peak GiB", "mean loss", "last loss"]
    rows = [
        [
            run.system,
            run.configuration.name,
            f"{run.tokens_per_second:,.0f}",
            f"{run.reserved / GIB:.1f}",
            f"{mean(run.losses):.4f}",
            f"{run.losses[-1]:.4f}",
        ]
        for run in (usual, own)
    ]
    ratio = own.tokens_per_second / usual.tokens_per_second
    mean_off, last_off = (
        abs(a / b - 1)
        for a, b in ((mean(own.losses), mean(usual.losses)), (own.losses[-1], usual.losses[-1]))
    )
    padding = (
        "every row is full, there is no padding"
        if own.configuration.shortest is None
        else "all lengths are as frequent, padding doesn't count"
    )
    return (
        f"{_table(head, rows)}\n\nThe product's planned setting is {ratio:.2f} times as fast; "
        f"after the same {own.configuration.rows} rows the mean loss differs by {mean_off:.2%}, "
        f"the last by {last_off:.2%}. Medians of the steps after the first {WARM_UP}; {padding}."
    )


def _predicted(configuration: Configuration) -> MemoryEstimate:
    return estimate_memory(configuration.setup(), configuration.step())


def memory_table(runs: list[Run]) -> str:
    """Measured peaks beside the model's."""
    head = [
        *("base", "adapter", "checkpointing", "rows x tokens", "allocated GiB", "model", "error"),
        *("reserved GiB", "model", "error", "context GiB", "loading GiB"),
    ]
    rows = []
    errors = []
    for run in runs:
        c, estimate = run.configuration, _predicted(run.configuration)
        error = estimate.reserved / run.reserved - 1
        errors.append(abs(error))
        rows.append(
            [
                c.base,
                f"{'QLoRA' if c.quantized else 'LoRA'} r{c.rank}"
                + ("" if c.method == "SFT" else f" {c.method}"),
                "on" if c.checkpointing else "off",
                f"{c.micro_batch_size} x {c.tokens:,}",
                f"{run.allocated / GIB:.2f}",
                f"{estimate.allocated / GIB:.2f}",
                f"{estimate.allocated / run.allocated - 1:+.1%}",
                f"{run.reserved / GIB:.2f}",
                f"{estimate.reserved / GIB:.2f}",
                f"{error:+.1%}",
                f"{run.context / GIB:.2f}",
                f"{run.load_reserved / GIB:.2f}",
            ]
        )
    within = sum(error <= GOAL for error in errors)
    return (
        f"{_table(head, rows)}\n\n{within} of {len(runs)} reserved peaks within {GOAL:.0%}; the "
        f"largest error is {max(errors):.1%}, the mean {mean(errors):.1%}."
    )


def fit_of_memory(runs: list[Run]) -> str:
    """SLACK and RESERVE by least squares of relative errors; CONTEXT as the largest seen."""
    # reserved / r = (1 + SLACK) * allocated / r + RESERVE / r: two unknowns, normal equations.
    points = [(_predicted(r.configuration).allocated / r.reserved, GIB / r.reserved) for r in runs]
    aa = sum(a * a for a, _ in points)
    ab = sum(a * b for a, b in points)
    bb = sum(b * b for _, b in points)
    sa, sb = sum(a for a, _ in points), sum(b for _, b in points)
    determinant = aa * bb - ab * ab
    if len(runs) < 2 or determinant == 0:
        return "Too few configurations to fit the memory model's constants."
    slack = (sa * bb - sb * ab) / determinant - 1
    reserve = (aa * sb - ab * sa) / determinant * GIB
    largest = max(
        abs(((1 + slack) * _predicted(r.configuration).allocated + reserve) / r.reserved - 1)
        for r in runs
    )
    return (
        f"Fitted to these: SLACK {slack:.4f} (in use {memory.SLACK}), RESERVE {reserve / MIB:.0f} "
        f"MiB (in use {memory.RESERVE / MIB:.0f}), largest error then {largest:.1%}; CONTEXT "
        f"{max(r.context for r in runs) / MIB:.0f} MiB (in use {memory.CONTEXT / MIB:.0f})."
    )


def speed_table(results: Results) -> str:
    """Tokens per second of all runs, and of the product beside the speed model's."""
    card = CARDS.get(results.machine.product) if results.machine else None
    head = ["", "setting", "tokens/s", "model", "error", "s a micro-batch", "MFU", "first steps s"]
    rows = []
    for run in results.runs:
        c = run.configuration
        seconds = run.steady_step_seconds / c.accumulation
        model, error, used = "", "", ""
        if card is not None and run.system == "product":
            expected = expected_seconds(c, card)
            model = f"{run.tokens_per_step / c.accumulation / expected:,.0f}"
            error = f"{seconds / expected - 1:+.1%}"
        if card is not None:
            used = f"{_utilisation(run, seconds, card.tflops):.2f}"
        first = " ".join(f"{s:.1f}" for s in run.step_seconds[: WARM_UP - 1])
        rows.append(
            [
                *(run.system, c.name, f"{run.tokens_per_second:,.0f}", model, error),
                *(f"{seconds:.3f}", used, first),
            ]
        )
    text = _table(head, rows)
    own = [run for run in results.runs if run.system == "product"]
    if card is not None and own:
        text += f"\n\n{fit_of_speed(own, card)}"
    return text


def _utilisation(run: Run, seconds: float, tflops: float) -> float:
    c = run.configuration
    flops = throughput.flops_per_token(
        model_shape(c.base), c.method, length=c.tokens, checkpointing=c.checkpointing
    )
    return run.tokens_per_step / c.accumulation * flops / seconds / (tflops * 1e12)


def fit_of_speed(runs: list[Run], card: Card) -> str:
    """The speed model's errors; its constants by least squares of relative errors: of the card from
    runs that the model takes to be limited by it, of the host from the others."""
    busy, errors_of_busy, errors_of_host, layers = [], [], [], []
    for run in runs:
        c = run.configuration
        seconds, told = run.steady_step_seconds / c.accumulation, expected_seconds(c, card)
        error = abs(seconds / told - 1)
        alone = throughput.host_seconds(model_shape(c.base), checkpointing=c.checkpointing)
        if told > alone:
            busy.append((c, seconds))
            errors_of_busy.append(error)
        else:
            layers.append(throughput.LAYER_SECONDS * seconds / alone)
            errors_of_host.append(error)
    texts = []
    if busy:
        texts.append(
            f"The card is the limit of {len(busy)}: largest error {max(errors_of_busy):.0%}"
            f"{_fitted_card(busy, card)}."
        )
    if layers:
        texts.append(
            f"The host is the limit of {len(layers)}: largest error {max(errors_of_host):.0%}, "
            f"LAYER_SECONDS {median(layers):.4f}, {min(layers):.4f} to {max(layers):.4f} "
            f"(in use {throughput.LAYER_SECONDS})."
        )
    return "\n".join(texts)


def expected_seconds(c: Configuration, card: Card) -> float:
    """Of a micro-batch, by the model."""
    return throughput.micro_batch_seconds(
        model_shape(c.base),
        c.method,
        card,
        rows=c.micro_batch_size,
        length=c.tokens,
        checkpointing=c.checkpointing,
    )


def _fitted_card(runs: list[tuple[Configuration, float]], card: Card) -> str:
    """seconds = FLOPs / (PRODUCTS * speed) + (TRAVERSALS * saved + LOGIT_TRAVERSALS * logits) /
    bandwidth: linear in three unknowns."""
    lines = []
    for c, seconds in runs:
        shape = model_shape(c.base)
        tokens = c.micro_batch_size * c.tokens * memory.sequences_per_row(c.method)
        flops = throughput.flops_per_token(
            shape, c.method, length=c.tokens, checkpointing=c.checkpointing
        )
        saved, logits = throughput.touched_per_token(shape, c.method, checkpointing=c.checkpointing)
        bandwidth = card.bandwidth_gbs * 1e9
        terms = (flops / (card.tflops * 1e12), saved / bandwidth, logits / bandwidth)
        lines.append([tokens * term / seconds for term in terms])
    (slowness, layers, loss), _, rank, _ = np.linalg.lstsq(np.array(lines), np.ones(len(lines)))
    if rank < len(lines[0]):
        return ""
    return (
        f". Fitted to these: PRODUCTS {1 / slowness:.2f} (in use {throughput.PRODUCTS}), "
        f"TRAVERSALS {layers:.0f} (in use {throughput.TRAVERSALS}), "
        f"LOGIT_TRAVERSALS {loss:.0f} (in use {throughput.LOGIT_TRAVERSALS})"
    )
