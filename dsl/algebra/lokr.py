"""The algebra of LoKr (Edalati et al. 2022, arXiv:2212.10650; Yeh et al. 2023, arXiv:2309.14859).

The update is alpha / rank times the Kronecker product of W1 and W2. `elementwise` sums every factor
on its own. A sum of several Kronecker products is none, so that `exact` is for one adapter at a
module, whose coefficient goes into W1, or for a sum that `truncate` or `lora` brings to an end.
"""

from __future__ import annotations

from typing import Final

from .lycoris import Lycoris

LOKR: Final = Lycoris(
    kind="LoKr",
    letters="lokr_",
    has_whole=True,
    shaping={"decompose_both": False, "decompose_factor": -1, "use_effective_conv2d": False},
    product="Kronecker product",
    remedy="turn the sum into LoRA with lora(exact(...)) or into the nearest LoKr with "
    "truncate(exact(...), rank=...)",
)
"""The algebra of LoKr."""
