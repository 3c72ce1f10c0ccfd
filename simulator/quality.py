"""Published quality of schemes: cited figures, looked up and never interpolated."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from kvwall.hardware.document import Document, read_document
from kvwall.simulator.stack import Stack


class Evidence(Document):
    """One published quality figure of one scheme.

    :ivar scheme: the scheme's name
    :ivar setting: its parameters in that experiment, as the source states them
    :ivar model: the model of the experiment
    :ivar metric: what was measured
    :ivar baseline: the figure without the scheme
    :ivar value: the figure with it
    :ivar higher_is_better: whether a larger figure is a better one
    :ivar source: paper and table
    """

    scheme: str
    setting: str
    model: str
    metric: str
    baseline: float
    value: float
    higher_is_better: bool = True
    source: str

    @property
    def loss(self) -> float:
        """How much worse the figure is with the scheme, in the metric's own unit; negative when better."""
        change = self.baseline - self.value
        return change if self.higher_is_better else -change


class EvidenceFile(Document):
    """All figures of one scheme."""

    evidence: tuple[Evidence, ...]


@cache
def scheme_evidence(name: str) -> tuple[Evidence, ...]:
    """The published figures of the scheme called ``name``; none where nothing is known."""
    path = Path(str(files("kvwall.simulator"))) / "evidence" / f"{name}.yaml"
    return read_document(path, EvidenceFile).evidence if path.exists() else ()


def evidence_for(stack: Stack) -> tuple[Evidence, ...]:
    """The published figures of every scheme of ``stack``, each by itself: nobody measured the combination."""
    return tuple(entry for scheme in stack.schemes for entry in scheme_evidence(scheme.name))
