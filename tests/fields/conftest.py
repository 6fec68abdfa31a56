"""What tests of fields share."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import fields
from flatrun_core.fields import ValidationError


def is_refused(field: fields.Field[Any], value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return True
    return False


@pytest.fixture(scope="session")
def refuses() -> Callable[[fields.Field[Any], Any], bool]:
    """Return a function that tells whether a field refuses a value."""
    return is_refused
