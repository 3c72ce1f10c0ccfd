"""Deployments: how one model is split over the devices of a system."""

from __future__ import annotations

from dataclasses import dataclass

from kvwall.hardware.errors import InputError
from kvwall.hardware.system import System
from kvwall.workloads.model_spec import ExpertFeedForward, HeadAttention, LinearState, ModelSpec


@dataclass(frozen=True)
class Deployment:
    """Degrees of parallelism; ``tp * pp * dp`` devices in all.

    :ivar tp: tensor parallelism: every matrix split over ``tp`` ranks
    :ivar pp: pipeline stages
    :ivar dp: whole replicas
    :ivar ep: expert parallelism inside the ``tp`` ranks: each holds whole experts
    :ivar attn_dp: groups of the ``tp`` ranks that attend to sequences of their own
    :ivar dcp: ranks over which decode splits the tokens of a sequence
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    attn_dp: int = 1
    dcp: int = 1

    @property
    def gpus(self) -> int:
        """Devices in all."""
        return self.tp * self.pp * self.dp

    @property
    def attention_tp(self) -> int:
        """Ranks over which the heads of one sequence are split."""
        return self.tp // self.attn_dp

    @property
    def expert_tp(self) -> int:
        """Ranks over which one expert is split."""
        return self.tp // self.ep

    @property
    def text(self) -> str:
        """The degrees that are not 1, as people write them."""
        named = [(n, getattr(self, n)) for n in ("tp", "pp", "dp", "ep", "attn_dp", "dcp")]
        return " ".join(f"{name}{degree}" for name, degree in named if degree > 1) or "tp1"


def query_heads(model: ModelSpec) -> list[int]:
    """Query heads of each attention group that has any."""
    return [group.q_heads for group in model.attention if not isinstance(group, LinearState)]


def allowed_tp(model: ModelSpec, most: int) -> list[int]:
    """Tensor-parallel degrees up to ``most`` that divide the query heads of every group."""
    return [t for t in range(1, most + 1) if all(heads % t == 0 for heads in query_heads(model))]


def make_deployment(
    model: ModelSpec,
    system: System,
    *,
    tp: int | None = None,
    pp: int | None = None,
    dp: int | None = None,
    ep: int | None = None,
    attn_dp: int = 1,
    dcp: int = 1,
) -> Deployment:
    """The deployment of ``model`` on all devices of ``system``; what is not given gets a sensible default.

    By default each node is one tensor-parallel group as far as the heads divide, each further node a pipeline stage,
    and what is left over whole replicas.

    :raises InputError: a degree that does not divide, or a product that is not the number of devices
    """
    for option, value in (
        ("--tp", tp),
        ("--pp", pp),
        ("--dp", dp),
        ("--ep", ep),
        ("--attn-dp", attn_dp),
        ("--dcp", dcp),
    ):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: must be a whole number from 1")
    count = system.count
    if pp is None:
        known = (tp or 1) * (dp or 1)
        pp = count // known if tp is not None and dp is not None and count % known == 0 else 1
        if tp is None and dp is None and system.nodes > 1 and model.layers >= system.nodes:
            pp = system.nodes
    if tp is None:
        room = count // (pp * (dp or 1)) or 1
        tp = max(t for t in allowed_tp(model, room) if room % t == 0)
    if dp is None:
        dp = max(1, count // (tp * pp))
    deployment = Deployment(tp, pp, dp, ep or 1, attn_dp, dcp)
    _check(deployment, model, count)
    return deployment


def _check(deployment: Deployment, model: ModelSpec, count: int) -> None:
    d = deployment
    if d.gpus != count:
        raise InputError(f"--tp {d.tp} --pp {d.pp} --dp {d.dp}: make {d.gpus} devices, but --on gives {count}")
    if d.tp % d.attn_dp:
        raise InputError(f"--attn-dp {d.attn_dp}: does not divide --tp {d.tp}")
    if any(heads % d.attention_tp for heads in query_heads(model)):
        allowed = ", ".join(map(str, allowed_tp(model, 64)))
        heads = min(query_heads(model))
        raise InputError(f"--tp {d.tp}: does not divide the {heads} query heads of {model.name} (allowed: {allowed})")
    if d.pp > model.layers:
        raise InputError(f"--pp {d.pp}: {model.name} has only {model.layers} layers")
    if d.ep > 1 and not any(isinstance(group, ExpertFeedForward) for group in model.feed_forward):
        raise InputError(f"--ep {d.ep}: {model.name} has no experts")
    if d.tp % d.ep:
        raise InputError(f"--ep {d.ep}: does not divide --tp {d.tp}")
    if d.attention_tp % d.dcp:
        raise InputError(f"--dcp {d.dcp}: does not divide the {d.attention_tp} ranks that share a sequence")
    heads = max((group.kv_heads for group in model.attention if isinstance(group, HeadAttention)), default=1)
    if d.dcp > 1 and d.dcp * heads > d.attention_tp:
        raise InputError(
            f"--dcp {d.dcp}: splits tokens only over ranks that would hold copies of a KV head; {model.name} has "
            f"{heads} KV heads on {d.attention_tp} ranks (allowed: up to {max(1, d.attention_tp // heads)})"
        )
