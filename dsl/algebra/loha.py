"""The algebra of LoHa (Hyeon-Woo et al. 2022, arXiv:2108.06098; Yeh et al. 2023, arXiv:2309.14859).

The update is alpha / rank times the elementwise product of W1 and W2, each a product of two factors
(three for a convolution). `elementwise` sums every factor on its own. The rank of a sum of such
products is beyond what one holds, so that `exact` is for one adapter at a module, or for a sum that
`truncate` or `lora` brings to an end.
"""

from __future__ import annotations

from typing import Final

from .lycoris import Lycoris

LOHA: Final = Lycoris(
    kind="LoHa",
    letters="hada_",
    has_whole=False,
    shaping={"use_effective_conv2d": False},
    product="Hadamard product",
    remedy="turn the sum into LoRA with lora(exact(...))",
)
"""The algebra of LoHa."""
