"""Objects at and just over each bound of the schema, derived from the schema itself.

Every leaf with a bound, a pattern, an enum or a size gets the last good and the first bad values,
put into a full object. So no bound of the API goes untested, and a new field brings its own cases.
"""

from collections.abc import Callable, Iterator
from typing import Any

from qwen3_api.kinds import KINDS, ResourceKind, object_schema
from qwen3_api.structural import Schema, is_number_or_string
from support.api_objects import FULL, REMOVED, ApiCase, changed

# One path for each pattern: what it takes, what it refuses. Newlines are tried for all of them:
# in some regex dialects `$` matches before a trailing one.
SAMPLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "spec.baseModel.name": (
        ("Qwen/Qwen3-0.6B", "a/b"),
        ("Qwen3-8B", "a/b/c", "/b", "a/", "a b/c", "../b", "通义/千问"),
    ),
    "spec.baseModel.revision": (("main", "refs/pr/1", "v1.0-rc_1"), ("", "a b", "a?b")),
    "spec.baseModel.source.s3.uri": (
        ("s3://abc/k", "s3://my.bucket-1/a/b=c/d_e.parquet", "s3://models/qwen/"),
        ("s3://a/k", "s3://ABC/k", "s3://abc/", "s3://abc", "https://abc/k", "s3://abc/a b",
         "s3://abc/-a"),
    ),
    "spec.baseModel.tokenSecretRef.name": (
        ("a", "a.b-c.d0"),
        ("", "A", "a_b", ".a", "a.", "a..b", "-a", "a/../b"),
    ),
    "spec.dataset.validation.configMap.key": (("train.jsonl", "A_b-1"), ("", "a/b", "ä")),
    "spec.adapter.dropout": (
        ("0", "1", "0.05", "1.0"),
        ("", "2", ".5", "1.1", "-0.1", "5e-1", "0."),
    ),
    "spec.tracking.wandb.project": (("a", "Team_1.x-y"), ("", "a b", "a/b", "ä")),
    "spec.hyperparameters.learningRate": (
        ("2e-4", "2E+4", "0.0002", "1", "10", "0.10", "00.1"),
        ("", "-1", "1e-", "1e-444", ".1", "1,5", "nan", "inf", "２", "abc", "1e999", "0", "0.0",
         "0e5"),
    ),
    "spec.hyperparameters.weightDecay": (
        ("2e-4", "2E+4", "0.0002", "1", "0"),
        ("", "-1", "1e-", "1e-444", ".1", "1,5", "nan", "inf", "２", "abc", "1e999"),
    ),
    "spec.resources.cpu": (("1", "500m", "0.5", "2k"), ("", "-1", "1 Gi", "1gi", "1Zi", "m")),
    "spec.resources.nodeSelector{}": (("", "a", "A.b_c-D"), ("-a", "a-", "a b", "a/b")),
    "spec.resources.tolerations[].key": (
        ("nvidia.com/gpu", "spot", "a_B.c"),
        ("", "/a", "a/", "A.com/b", "a/b/c", "-a", "a" * 254 + "/b", "a" * 64),
    ),
    "spec.resources.queueName": (("a", "team-a", "0"), ("", "-a", "a-", "a.b", "A", "a_b")),
    "spec.artifacts.s3.endpoint": (
        ("https://s3.example.com", "http://10.0.0.1:9000", "http://s3"),
        ("s3.example.com", "ftp://s3", "http://", "http://s3/path", "http://s3:123456",
         "http://user@s3"),
    ),
    "spec.artifacts.s3.bucket": (("abc", "my.bucket-1"), ("ab", "ABC", "-abc", "abc-", "a/b")),
    "spec.artifacts.s3.region": (("eu-central-1",), ("", "EU", "a b")),
    "spec.serving.modelName": (("a", "team.bot-2", "a..b"), ("", ".a", "a.", "A", "a/b", "a_b")),
    "spec.baselines[].fineTune.revision": (("0a1b2c3d",), ("", "0a1b2c3", "0A1B2C3D", "0a1b2c3g")),
    "spec.baselines[].endpoint.url": (
        ("https://models.example.com/v1", "http://vllm:8000/openai/v1_b/", "http://10.0.0.1"),
        ("models.example.com/v1", "ftp://vllm/v1", "http://", "http://vllm:123456/v1",
         "http://user@vllm/v1", "http://vllm/v1?a=b", "http://vllm/v 1"),
    ),
    "spec.baselines[].endpoint.model": (
        ("qwen3", "Qwen/Qwen3-8B", "qwen3:8b", "team-a.bot_2.0a1b"),
        ("", "/a", "-a", "a b", "a?b", "通义"),
    ),
    "spec.schedule.timeZone": (
        ("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"),
        ("", "/etc", "Europe/", "a//b", "../UTC", "Europe Berlin"),
    ),
    "spec.suites[].generation.temperature": (
        ("0", "0.7", "2", "1.25", "0.000000", "0.0000001", "0.3333333333333333"),
        ("", "3", "10", "-1", ".5", "1e0", "0.0000000"),
    ),
}  # fmt: skip

# The longest text of each pattern, for a given length; other patterns take a row of letters.
LONGEST: dict[str, Callable[[int], str]] = {
    "spec.baseModel.name": lambda n: "a/" + "b" * (n - 2),
    "spec.baseModel.source.s3.uri": lambda n: "s3://abc/" + "d" * (n - 9),
    "spec.adapter.dropout": lambda n: "0." + "1" * (n - 2),
    "spec.hyperparameters.learningRate": lambda n: "0." + "1" * (n - 2),
    "spec.hyperparameters.weightDecay": lambda n: "0." + "1" * (n - 2),
    "spec.resources.cpu": lambda n: "0." + "1" * (n - 2),
    "spec.resources.tolerations[].key": lambda n: "a" * (n - 64) + "/" + "b" * 63,
    "spec.artifacts.s3.endpoint": lambda n: "http://" + "s" * (n - 7),
    "spec.baselines[].endpoint.url": lambda n: "http://" + "s" * (n - 7),
    "spec.suites[].generation.temperature": lambda n: "0." + "1" * (n - 2),
}


def patterns_of(kind: ResourceKind) -> dict[str, str]:
    """Every pattern in the spec by its path (without indices)."""
    return {path: node["pattern"] for path, _, node, _ in _leaves(kind) if "pattern" in node}


def covered_paths(kind: ResourceKind) -> set[str]:
    """Paths (without indices) that the derived cases reach."""
    return {path for path, _, _, _ in _leaves(kind)}


def samples_by_pattern() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Good and bad texts of each pattern."""
    return {pattern: SAMPLES[path] for path, pattern in _known_patterns().items()}


def _known_patterns() -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in KINDS:
        found |= patterns_of(kind)
    return {path: found[path] for path in SAMPLES}


def boundary_cases() -> list[ApiCase]:
    """All derived cases. A refused one blames the field itself.

    `blamed` of a case that keeps every bound is None; rules between fields may still refuse it, so
    tests of the accepted ones compare verdicts.
    """
    return [case for kind in KINDS for case in _cases_of(kind)]


def _cases_of(kind: ResourceKind) -> Iterator[ApiCase]:
    full = FULL[kind.kind]
    longest = {_known_patterns()[path]: make for path, make in LONGEST.items()}
    samples = samples_by_pattern()
    for _, place, node, value in _leaves(kind):
        path = place.removeprefix("spec.")
        good, bad = _values(node, value, samples, longest)
        for title, item in good:
            yield ApiCase(f"{place}-{title}", kind, changed(full, {path: item}))
        for title, item in bad:
            yield ApiCase(f"{place}-{title}", kind, changed(full, {path: item}), place)


def _letters(length: int) -> str:
    return "a" * length


Values = list[tuple[str, Any]]


def _values(
    node: Schema,
    value: Any,
    samples: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
    longest: dict[str, Callable[[int], str]],
) -> tuple[Values, Values]:
    """Good and bad values of a node, with a word for each."""
    good: Values = []
    bad: Values = []
    if "enum" in node:
        good += [(f"is-{option}", option) for option in node["enum"]]
        bad.append(("other", max(node["enum"]) + 1 if node["type"] == "integer" else "Nonsense"))
    if is_number_or_string(node):
        _add_numbers(node, good, bad)
    elif "minimum" in node and "enum" not in node:
        good.append(("least", node["minimum"]))
        bad.append(("less", node["minimum"] - 1))
    if "maximum" in node and "enum" not in node and not is_number_or_string(node):
        good.append(("most", node["maximum"]))
        bad.append(("more", node["maximum"] + 1))
    if "pattern" in node:
        takes, refuses = samples[node["pattern"]]
        good += [(f"takes-{text!r}", text) for text in takes]
        bad += [(f"refuses-{text!r}", text) for text in refuses]
        bad.append(("newline", f"{value}\n"))
    if "maxLength" in node and "enum" not in node:
        make = longest.get(node.get("pattern", ""), _letters)
        good.append(("longest", make(node["maxLength"])))
        bad.append(("longer", make(node["maxLength"] + 1)))
    if node.get("type") == "array":
        bad += _sizes(node, value)
    if "maxProperties" in node and not is_number_or_string(node):
        most = {f"k{i}": "v" for i in range(node["maxProperties"])}
        good.append(("most", most))
        bad.append(("more", most | {"one-more": "v"}))
    return good, bad


def _add_numbers(node: Schema, good: Values, bad: Values) -> None:
    """JSON numbers at the bounds, in the shapes of a number that people write, and other kinds."""
    least, most = node["minimum"], node["maximum"]
    (bad if node.get("exclusiveMinimum") else good).append(("zero", least))
    (bad if node.get("exclusiveMaximum") else good).append(("most", most))
    good += [(f"number-{number}", number) for number in (1, 1.0, 2e-4, 5e-05, 1e-7, 1 / 3)]
    bad += [("less", -1), ("little-less", -1e-9), ("more", most * 10)]
    nonsense: tuple[Any, ...] = (True, False, {}, {"value": 1}, [], [1])
    bad += [(f"refuses-{value!r}", value) for value in nonsense]


def _sizes(node: Schema, value: list[Any]) -> Values:
    """Lists that are too short or too long."""
    bad: Values = []
    if node.get("minItems"):
        bad.append(("empty", []))
    if node["x-kubernetes-list-type"] != "set":
        keys = node.get("x-kubernetes-list-map-keys", [])
        many = [value[0] | dict.fromkeys(keys, f"n{i}") for i in range(node["maxItems"] + 1)]
        bad.append(("more", many))
    return bad


def _leaves(kind: ResourceKind) -> Iterator[tuple[str, str, Schema, Any]]:
    """Every node of the spec that the full object has a value for.

    Yields (path without indices, path with indices, schema, value).
    """
    schema = object_schema(kind)["properties"]["spec"]
    yield from _below(schema, FULL[kind.kind], "spec", "spec")


def _below(
    schema: Schema, value: Any, path: str, place: str
) -> Iterator[tuple[str, str, Schema, Any]]:
    yield path, place, schema, value
    for name, field in schema.get("properties", {}).items():
        if name in value:
            yield from _below(field, value[name], f"{path}.{name}", f"{place}.{name}")
    if "items" in schema:
        for index, item in enumerate(value):
            yield from _below(schema["items"], item, f"{path}[]", f"{place}[{index}]")
    if "additionalProperties" in schema:
        key = next(key for key in value if "." not in key)
        inner = schema["additionalProperties"]
        yield from _below(inner, value[key], f"{path}{{}}", f"{place}.{key}")


def duplicate_cases() -> list[ApiCase]:
    """A list with unique items, with its first one twice."""
    cases: list[ApiCase] = []
    for kind in KINDS:
        for _, place, node, value in _leaves(kind):
            if node.get("x-kubernetes-list-type") not in ("set", "map"):
                continue
            spec = changed(FULL[kind.kind], {place.removeprefix("spec."): [value[0], value[0]]})
            cases.append(ApiCase(f"{place}-twice", kind, spec, place))
    return cases


def required_cases() -> list[ApiCase]:
    """Each required field taken out."""
    return [
        ApiCase(
            f"{place}.{name}-missing",
            kind,
            changed(FULL[kind.kind], {f"{place}.{name}".removeprefix("spec."): REMOVED}),
            f"{place}.{name}",
        )
        for kind in KINDS
        for _, place, node, _ in _leaves(kind)
        for name in node.get("required", ())
    ]
