"""The options that all commands about a model on a machine share, told once from the fields of ``Inquiry``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from kvwall.simulator.inquiry import Inquiry
from kvwall.workloads.numbers import parse_tokens

#: Help of each option of an inquiry, in the order in which ``--help`` shows them.
_HELP: dict[str, str] = {
    "on": "DEVICE[:N], a YAML file, or pools prefill=h100:8,decode=h20:8",
    "nodes": "nodes the devices are spread over",
    "tp": "tensor-parallel ranks",
    "pp": "pipeline stages",
    "dp": "whole replicas",
    "ep": "expert-parallel ranks inside tp",
    "attn_dp": "groups of tp ranks with sequences of their own",
    "dcp": "ranks over which decode splits a sequence",
    "engine": "vllm, sglang, trtllm, llamacpp, hf or none",
    "engine_version": "version of the engine, e.g. 0.10",
    "memory_utilization": "the engine's memory fraction",
    "max_batched_tokens": "tokens of the engine's largest pass",
    "max_num_seqs": "sequences of the engine's largest batch",
    "max_model_len": "longest sequence the engine is started for",
    "block_size": "tokens of one cache block",
    "speculative": "draft, e.g. mtp:tokens=3,acceptance=0.8 (mtp, eagle, ngram; nodes=60 for a tree)",
    "lora": "resident adapters N:RANK",
    "eager": "launch kernels one by one, no graphs",
    "weights": "weight format (kvwall list weights)",
    "scheme": "stack of schemes, e.g. kivi:bits=2+offload:to=host",
    "kv_dtype": "sugar for the scheme of that name",
    "set": 'PATH=VALUE, e.g. device.hbm.bandwidth="4 TB/s" (repeatable)',
    "gpu_memory_gib": "memory of one GPU as the engine sees it",
    "weights_gib": "loaded weights of one rank",
    "kv_gib": "cache pool of one rank",
    "kv_tokens": "cache capacity of one replica, tokens",
    "price_usd_per_gpu_hour": "rent of one GPU",
    "utilization": "part of the paid hours that serve",
    "calibration": "auto (default: the fits for this device and engine), a name or path, or none",
}

#: Options that count tokens, so that people may write ``32k``.
_TOKENS = ("max_batched_tokens", "max_model_len", "kv_tokens")

Model = Annotated[str, typer.Argument(help="name, Hugging Face id, config.json or its folder", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]

Command = Callable[..., None]


def takes_inquiry(function: Command, *, told_elsewhere: bool = False) -> Command:
    """Give ``function(inquiry, ...)`` the argument MODEL and all options of an inquiry on the command line.

    :param told_elsewhere: a file may tell MODEL and ``--on``, so that both may be left out (they are then ``""``); the
        function's own arguments come before MODEL
    """
    hints = get_type_hints(Inquiry)
    own = inspect.signature(function, eval_str=True).parameters
    untold: Any = "" if told_elsewhere else inspect.Parameter.empty
    shared = [inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, annotation=Model, default=untold)]
    for field in fields(Inquiry):
        if field.name == "model":
            continue
        option = f"--{field.name.replace('_', '-')}"
        kind: Any = {"set": list[str]}.get(field.name, str | None if field.name in _TOKENS else hints[field.name])
        default: Any = untold if field.name == "on" else field.default
        default = [] if field.name == "set" else default
        shared.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[kind, typer.Option(option, help=_HELP[field.name], show_default=False)],
                default=default,
            )
        )
    rest = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, p in own.items() if name != "inquiry"]

    @wraps(function)
    def command(**values: Any) -> None:
        asked = {field.name: values.pop(field.name) for field in fields(Inquiry)}
        asked["set"] = tuple(asked["set"])
        for name in _TOKENS:
            if asked[name] is not None:
                asked[name] = parse_tokens(asked[name], f"--{name.replace('_', '-')}")
        function(Inquiry(**asked), **values)

    # The command's own options come first in --help.
    parameters = [*rest, *shared] if told_elsewhere else [shared[0], *rest, *shared[1:]]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    del command.__wrapped__
    return command
