"""A setup: everything of a question that is not a number on an axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kvwall.hardware.calibration import Calibration
from kvwall.hardware.engine import Engine
from kvwall.hardware.system import System
from kvwall.simulator.adapters import Adapters
from kvwall.simulator.deployment import Deployment
from kvwall.simulator.kernel_prices import KernelPrices
from kvwall.simulator.operators.linear import Arithmetic
from kvwall.simulator.speculation import Speculation
from kvwall.simulator.stack import Stack
from kvwall.workloads.model_spec import ExpertFeedForward, ModelSpec
from kvwall.workloads.weight_format import WeightFormat


@dataclass(frozen=True)
class Overrides:
    """What the user knows better than a model of the engine, per rank; ``None`` where nothing was said.

    :ivar gpu_memory_bytes: memory of one device, as the engine's log printed it
    :ivar weights_bytes: loaded weights of one rank
    :ivar kv_bytes: cache pool of one rank
    :ivar kv_tokens: capacity of one replica
    """

    gpu_memory_bytes: float | None = None
    weights_bytes: float | None = None
    kv_bytes: float | None = None
    kv_tokens: float | None = None


@dataclass(frozen=True)
class Setup:
    """Model, machine, split, engine, formats and prices of one question.

    :ivar utilization: memory fraction of the engine; ``None`` for its default
    :ivar max_batched_tokens: tokens of the engine's largest pass; ``None`` for its default
    :ivar max_num_seqs: sequences of its largest batch; ``None`` for its default
    :ivar block_tokens: tokens of one cache block; ``None`` for its default
    :ivar price_usd_per_gpu_hour: ``None`` for the device's default price
    :ivar architecture: the model as published, with the layer of a draft where one speculates
    :ivar kernels: calibrated kernel times; ``None`` prices every kernel by its class
    :ivar paid_utilization: part of the paid hours that serve
    """

    model_name: str
    architecture: ModelSpec
    weights_name: str
    weights: WeightFormat
    system: System
    deployment: Deployment
    engine: Engine
    stack: Stack
    calibration_name: str
    calibration: Calibration
    utilization: float | None = None
    max_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    block_tokens: int | None = None
    eager: bool = False
    price_usd_per_gpu_hour: float | None = None
    paid_utilization: float = 1.0
    overrides: Overrides = Overrides()
    kernels: KernelPrices | None = None
    speculation: Speculation | None = None
    adapters: Adapters | None = None

    @cached_property
    def model(self) -> ModelSpec:
        """The architecture as the schemes change it."""
        return self.stack.reshape(self.architecture)

    @property
    def emitted(self) -> float:
        """Tokens that a decode step is expected to generate per sequence."""
        return self.speculation.emitted if self.speculation else 1.0

    @cached_property
    def memory_bytes(self) -> float:
        """Memory of one device, as the user or the data sheet states it."""
        return self.overrides.gpu_memory_bytes or self.system.device.hbm.capacity_bytes

    @property
    def arithmetic(self) -> Arithmetic:
        """The weight format on this device."""
        dtype = self.weights.compute_dtype
        return Arithmetic(self.weights, self.system.device.matrix_dtype(dtype) == dtype)

    @property
    def longest_tokens(self) -> int:
        """Longest sequence the engine is started for."""
        return self.max_model_len or self.model.max_context

    @property
    def batched_tokens(self) -> int:
        """Tokens of the engine's largest pass."""
        stated = self.max_batched_tokens
        return stated or self.engine.batched_tokens(self.longest_tokens, self.memory_bytes, self.system.device.name)

    @property
    def num_seqs(self) -> int:
        """Sequences of the engine's largest batch."""
        tier = self.engine.tier(self.memory_bytes, self.system.device.name)
        return self.max_num_seqs or tier.max_num_seqs

    @property
    def block(self) -> int:
        """Tokens of one cache block."""
        return self.block_tokens or self.engine.block_tokens

    @property
    def usd_per_hour(self) -> float | None:
        """Rent of the whole deployment; ``None`` where no price is known."""
        price = self.system.device.price
        per_device = self.price_usd_per_gpu_hour
        if per_device is None:
            per_device = price.per_hour_usd if price else None
        return None if per_device is None else per_device * self.deployment.gpus

    @property
    def expert_layers(self) -> int:
        """Layers with routed experts."""
        return sum(group.layers for group in self.model.feed_forward if isinstance(group, ExpertFeedForward))

    @property
    def dense_layers(self) -> int:
        """Layers without routed experts."""
        return self.model.layers - self.expert_layers
