"""The categories of templates: the fixed ones, and whatever else is found on disk."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DEFAULT: Final = "general"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9 _-]{0,62}")
_ICON: Final = "pi pi-box"


@dataclass(frozen=True, slots=True)
class Category:
    """A category with the number of templates in it; a higher priority comes first."""

    id: str
    name: str
    icon: str
    priority: int
    count: int = 0


_FIXED: Final = (
    Category("application", "Applications", "pi pi-desktop", 100),
    Category("framework", "Frameworks", "pi pi-code", 90),
    Category("runtime", "Runtimes", "pi pi-cog", 80),
    Category("infrastructure", "Infrastructure", "pi pi-server", 70),
    Category("database", "Databases", "pi pi-database", 60),
    Category("basic", "Basic", "pi pi-file", 50),
)
_PLURALS: Final = {"basics": "basic"} | {f"{category.id}s": category.id for category in _FIXED}


def title(identifier: str) -> str:
    """An id as people read it: ``my-app`` is ``My App``."""
    return " ".join(word.capitalize() for word in re.split(r"[-_\s]+", identifier) if word)


def folded(text: str) -> str | None:
    """The id of a category as metadata may spell it; None for what cannot be one."""
    lowered = text.strip().lower()
    return _PLURALS.get(lowered, lowered) if _ID.fullmatch(lowered) else None


def counted(ids: Iterable[str]) -> list[Category]:
    """Every fixed category and every one of ``ids``, with its count: by priority, then name."""
    counts = Counter(ids)
    fixed = {category.id: category for category in _FIXED}
    others = [Category(other, title(other), _ICON, 0) for other in counts if other not in fixed]
    found = [
        Category(one.id, one.name, one.icon, one.priority, counts[one.id])
        for one in (*fixed.values(), *others)
    ]
    return sorted(found, key=lambda category: (-category.priority, category.name, category.id))
