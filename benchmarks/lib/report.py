"""One row a figure, printed as a table."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A figure and its target; ``better`` is ``low`` or ``high``, ``against`` what it was measured with."""

    name: str
    measured: float
    unit: str
    target: float
    better: str
    against: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.measured <= self.target if self.better == "low" else self.measured >= self.target

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "met": self.met}


def print_table(rows: list[Row], facts: dict[str, Any]) -> None:
    """Print the figures and where they were measured."""
    width = max((len(row.name) for row in rows), default=10)
    print(f"\n{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, Engine {facts['engine']}\n")
    print(f"{'figure':{width}}  {'measured':>12}  {'target':>12}  verdict")
    for row in rows:
        bound = "<=" if row.better == "low" else ">="
        verdict = "met" if row.met else "MISSED"
        print(
            f"{row.name:{width}}  {row.measured:>7.2f} {row.unit:4}  "
            f"{bound} {row.target:>6.4g} {row.unit:4} {verdict:7} {row.against}"
        )
    print()
