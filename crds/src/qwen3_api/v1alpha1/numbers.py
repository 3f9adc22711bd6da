"""Numbers of a spec as people write them: `2e-4` as well as `"2e-4"`, `cpu: 8` as well as `"8"`.

The API conventions forbid floats because they drift between languages. So the API server stores
what was sent, number or text, and the models hold one text from there on: digests, manifests and
comparisons see a string whatever the user wrote.

A structural schema has no type for "number or string" (`x-kubernetes-int-or-string` refuses 2e-4),
so such a field has none, and CEL doesn't declare it. A rule reaches it through `dyn`, which leaves
the lookup to the runtime: `has(dyn(self).minimum)`, or `==`. Nothing else works.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

SMALLEST, LARGEST = 1e-99, 10**18
"""Bounds of a number other than 0. The smallest is that of a text, whose exponent has two digits;
the API server's bounds end where its integers do."""
MAX_LENGTH = 128
"""Characters of a text: room for every double between those bounds, written out."""

_DECIMAL = r"^[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$"
# A digit other than 0, before the point or behind it.
_POSITIVE = r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)([eE][-+]?[0-9]{1,2})?$"


def decimal_text(number: float) -> str:
    """The shortest plain decimal text that reads back as the number: "0.0002", "1", "1000000".

    Without an exponent and without a fraction of zeros: equal numbers have equal texts.
    """
    text = f"{Decimal(repr(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class NumberOrString:
    """Marks a text that holds a decimal number, and may be written as a JSON number.

    A number becomes `decimal_text` of it; a text stays as it is, since digests of stored objects
    are over it. Raises ValueError for a number out of bounds, and for any other kind of value.

    pattern: of the text.
    maximum, below: bound of a number, inclusive or exclusive; the pattern bounds texts.
    positive: 0 is refused, too.
    """

    pattern: str
    maximum: int = LARGEST
    below: int | None = None
    positive: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.str_schema(pattern=self.pattern, max_length=MAX_LENGTH)
        return core_schema.no_info_wrap_validator_function(self._parse, text)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": ["number", "string"],
            "exclusiveMinimum" if self.positive else "minimum": 0,
            **(
                {"maximum": self.maximum}
                if self.below is None
                else {"exclusiveMaximum": self.below}
            ),
            "pattern": self.pattern,
            "maxLength": MAX_LENGTH,
        }

    def _parse(self, value: Any, parse_text: ValidatorFunctionWrapHandler) -> str:
        if isinstance(value, str):
            return str(parse_text(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number, or a string that holds one")
        if not self._allows(value):
            zero = "" if self.positive else "0 or "
            high = f"{self.maximum:g}" if self.below is None else f"below {self.below}"
            raise ValueError(f"must be {zero}a number from {SMALLEST:g} to {high}")
        return decimal_text(abs(value))  # -0.0 is 0

    def _allows(self, number: float) -> bool:
        """Within the bounds; NaN, which compares with nothing, isn't."""
        if number == 0:
            return not self.positive
        fits = number <= self.maximum if self.below is None else number < self.below
        return number >= SMALLEST and fits


DecimalString = Annotated[str, NumberOrString(_DECIMAL)]
PositiveDecimalString = Annotated[str, NumberOrString(_POSITIVE, positive=True)]
FractionString = Annotated[str, NumberOrString(r"^(0(\.[0-9]+)?|1(\.0+)?)$", maximum=1)]
Quantity = Annotated[str, NumberOrString(r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""A resource quantity of core/v1; a number is one of cores or bytes."""
