"""Nexus: what bandwidth and what multiprocessors a phase keeps beside the other (arXiv 2507.06608, section 4)."""

from __future__ import annotations

from kvwall.simulator.traffic import Numeric


def decode_bandwidth_share(
    decode_bytes: Numeric, attention_bytes: Numeric, dense_bytes: Numeric, attention_part: Numeric
) -> Numeric:
    """Part of the memory bandwidth that decode attention has beside a prefill, which keeps its own in full.

    ``P m_d / (m_d + m_a) + (1 - P) m_d / (m_d + m_w)``

    :param decode_bytes: bytes of decode attention (m_d)
    :param attention_bytes: bytes of prefill attention (m_a)
    :param dense_bytes: bytes of the prefill's products with weights (m_w)
    :param attention_part: part of the prefill's time that is attention (P)
    """
    beside_attention = decode_bytes / (decode_bytes + attention_bytes)
    beside_dense = decode_bytes / (decode_bytes + dense_bytes)
    return attention_part * beside_attention + (1.0 - attention_part) * beside_dense


def useful_share(share: float, saturation: float, beyond: float) -> float:
    """Part of the compute that ``share`` of the multiprocessors gives a kernel that ``saturation`` of them fill.

    ``R`` up to ``R_sat``, then ``R_sat + lambda (R - R_sat)``; the form beyond saturation is inferred.
    """
    return share if share <= saturation else saturation + beyond * (share - saturation)
