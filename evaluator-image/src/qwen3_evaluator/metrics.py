"""Scores of an answer that need no other model: pure functions from texts to 0 … 1."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal, get_args

import regex
from jsonschema import exceptions as schema_errors
from jsonschema import validators
from jsonschema.protocols import Validator
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY
from sacrebleu.metrics.bleu import BLEU

from qwen3_api.job.evaluate import EvalSuite, MetricName, WeaveScorerName
from qwen3_api.pod.failure import FailureError
from qwen3_api.v1alpha1.conditions import Reason
from qwen3_evaluator.questions import Question

JUDGED: tuple[MetricName, ...] = ("JudgeScore", "JudgeWin")
WEAVE: tuple[WeaveScorerName, ...] = get_args(WeaveScorerName)
PATTERN_SECONDS = 1.0
"""Of processor time that a regular expression may take on one answer."""

# Scripts that are written without spaces: each character is a word of its own.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = regex.compile(rf"[{_UNSPACED}]|[\p{{L}}\p{{M}}\p{{N}}--[{_UNSPACED}]]+", regex.V1)
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
_PUNCTUATION = regex.compile(r"[\p{P}\p{S}]")
_ARTICLES = frozenset({"a", "an", "the"})


def needs_answer(suite: EvalSuite) -> bool:
    """Whether anything is measured of what the model says."""
    return any(metric != "AssistantLoss" for metric in suite.metrics)


class Scorer:
    """Scores answers by the metrics of a suite, without those of a judge, of EvalScope or of
    Weave.

    Raises FailureError when made: the suite's JSON schema is none.
    """

    def __init__(self, suite: EvalSuite) -> None:
        self._suite = suite.name
        elsewhere = (*JUDGED, *WEAVE, "AssistantLoss", "Accuracy")
        self._metrics = [m for m in suite.metrics if m not in elsewhere]
        self._validator = None
        if "JSONValid" in suite.metrics:
            self._validator = build_validator(suite.name, suite.json_schema or "true")

    def score(self, question: Question, answer: str) -> dict[MetricName, float]:
        """Score of the answer by metric.

        Raises FailureError: the question's pattern or the schema can't be applied to it.
        """
        return {metric: self._score(metric, question, answer) for metric in self._metrics}

    def _score(self, metric: MetricName, question: Question, answer: str) -> float:
        match metric:
            case "ExactMatch":
                return float(is_exact_match(answer, question.answer))
            case "F1":
                return compute_f1(answer, question.answer)
            case "BLEU":
                return compute_bleu(answer, question.answer)
            case "RougeL":
                return compute_rouge_l(answer, question.answer)
            case "RegexMatch":
                return float(self._matches(question, answer))
            case "JSONValid":
                return float(self._is_valid(answer))
            case _:
                raise AssertionError(f"{metric} is no metric of a single answer")

    def _matches(self, question: Question, answer: str) -> bool:
        assert question.pattern is not None  # noqa: S101  # read_questions refuses such a row
        try:
            return regex.search(question.pattern, answer, timeout=PATTERN_SECONDS) is not None
        except TimeoutError as error:
            raise FailureError(
                Reason.DATASET_INVALID,
                f"suite {self._suite}, line {question.line}: field pattern takes longer than "
                f"{PATTERN_SECONDS:g} s on an answer of {len(answer)} characters",
                hint="Repeats within repeats, as in (a+)+, take exponential time; write it "
                "without.",
            ) from error

    def _is_valid(self, answer: str) -> bool:
        assert self._validator is not None  # noqa: S101  # made in __init__
        try:
            return is_valid_json(answer, self._validator)
        except (TimeoutError, RecursionError, Unresolvable) as error:
            raise FailureError(
                Reason.INVALID_SPEC,
                f"suite {self._suite}: jsonSchema can't be applied to an answer of {len(answer)} "
                f"characters: {type(error).__name__}: {error}",
                hint="A pattern takes exponential time, or a $ref goes round in circles.",
            ) from error


def normalise(text: str) -> str:
    """NFKC (full-width forms, ligatures, compatibility forms) without outer whitespace."""
    return unicodedata.normalize("NFKC", text).strip()


def is_exact_match(answer: str, expected: str) -> bool:
    """Whether the answer is the expected one after normalisation; case counts."""
    return normalise(answer) == normalise(expected)


def compute_f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall over words, as in SQuAD.

    Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP),
    official script v1.1: lower case, no punctuation, no articles, bags of words. Chinese and
    Japanese count by characters, as in CMRC 2018 (Cui et al. 2019). If either side has no words,
    1 for an exact match, else 0.
    """
    answered, right = (
        [word for word in _split_words(_PUNCTUATION.sub("", _fold(text))) if word not in _ARTICLES]
        for text in (answer, expected)
    )
    common = (Counter(answered) & Counter(right)).total()
    return _f_measure(common, len(answered), len(right), answer, expected)


def compute_rouge_l(answer: str, expected: str) -> float:
    """F-measure of the longest common subsequence of words; characters in Chinese and Japanese.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1, with β = 1 and
    without stemming, as the package rouge-score computes rougeL (its tokens are ASCII; these are
    words of any script). If either side has no words, 1 for an exact match, else 0.
    """
    answered, right = _split_words(_fold(answer)), _split_words(_fold(expected))
    common = longest_common_subsequence(answered, right)
    return _f_measure(common, len(answered), len(right), answer, expected)


def _f_measure(common: int, answered: int, right: int, answer: str, expected: str) -> float:
    if not answered or not right:
        return float(is_exact_match(answer, expected))
    return 2 * common / (answered + right)


def _fold(text: str) -> str:
    return normalise(text).casefold()


def _split_words(text: str) -> list[str]:
    return _WORD.findall(text)


def longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel: Hyyrö 2004, "Bit-parallel LCS-length computation revisited" (AWOCA), so that an
    answer of 30,000 characters takes a fraction of a second.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(left):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(left)) - 1
    rest = every
    for word in right:
        matched = rest & places.get(word, 0)
        rest = ((rest + matched) | (rest - matched)) & every
    return len(left) - rest.bit_count()


def compute_bleu(answer: str, expected: str) -> float:
    """Sentence BLEU of sacrebleu over 100: effective order, exponential smoothing.

    Post 2018, "A Call for Clarity in Reporting BLEU Scores" (WMT). Tokeniser by the expected
    answer: zh with Chinese characters, char with Japanese ones, else 13a.
    """
    score: float = _bleu(_choose_tokenizer(expected)).sentence_score(answer, [expected]).score
    return min(score / 100, 1.0)  # exp and log leave 100.00000000000004


def _choose_tokenizer(expected: str) -> Literal["zh", "char", "13a"]:
    if _KANA.search(expected):
        return "char"
    return "zh" if _HAN.search(expected) else "13a"


@cache
def _bleu(tokenizer: str) -> BLEU:
    return BLEU(tokenize=tokenizer, effective_order=True, smooth_method="exp")


def build_validator(suite: str, schema: str) -> Validator:
    """The validator of a JSON schema (draft by its $schema, else 2020-12).

    It loads nothing from anywhere, and its `pattern` can't take for ever. Raises FailureError:
    the text is no JSON schema, or refers to another document.
    """
    try:
        document = json.loads(schema)
        if not isinstance(document, dict | bool):
            raise ValueError("it is neither an object nor true or false")
        kind: Any = validators.validator_for(document, default=validators.Draft202012Validator)
        kind.check_schema(document, format_checker=kind.FORMAT_CHECKER)
        guarded = _extend(kind, {"pattern": _check_pattern})
        # Without a registry of its own jsonschema fetches what $ref names.
        validator: Validator = guarded(document, registry=EMPTY_REGISTRY)
        resource: Resource[Any] = Resource.from_contents(document, DRAFT202012)
        resolver = EMPTY_REGISTRY.with_resource("", resource).resolver()
        for reference in _find_references(document):
            if not reference.startswith("#"):
                raise ValueError(f"$ref {reference} is outside of the schema")
            resolver.lookup(reference)
    except schema_errors.SchemaError as error:
        raise _bad_schema(suite, f"{error.json_path}: {error.message}") from error
    except (ValueError, RecursionError, Unresolvable) as error:
        raise _bad_schema(suite, f"{type(error).__name__}: {error}") from error
    return validator


_extend: Any = validators.extend  # untyped in its stubs


def _bad_schema(suite: str, complaint: str) -> FailureError:
    return FailureError(
        Reason.INVALID_SPEC,
        f"suite {suite}: jsonSchema is no JSON schema that can be used: {complaint}",
        hint="It must be JSON text, a valid schema, and refer to nothing but its own parts (#/…).",
    )


def _find_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            if name in ("$ref", "$dynamicRef") and isinstance(child, str):
                yield child
            yield from _find_references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _find_references(child)


def _check_pattern(
    validator: Validator, pattern: str, instance: object, schema: object
) -> Iterator[schema_errors.ValidationError]:
    """`pattern`, with an end. Raises TimeoutError."""
    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=PATTERN_SECONDS):
        yield schema_errors.ValidationError("does not match")


def is_valid_json(answer: str, validator: Validator) -> bool:
    """Whether the whole answer is JSON that the schema allows: no code fence, no NaN."""
    try:
        document = json.loads(answer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return validator.is_valid(document)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
