"""The true update of a module as a sum of terms, each in the form in which its PEFT type has it.

A term is a product of two factors (LoRA, AdaLoRA), a Kronecker product (LoKr), an elementwise
product (LoHa) or a whole matrix. Its rows can be made some at a time, so that an update of any size
is looked at in bounded memory, and where it has an exact product of two factors, that is known
without a decomposition. Convolutions are flattened: a row for an output channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

BLOCK_ELEMENTS: Final = 1 << 18
"""The most elements of an update that come to be at once when it is made in blocks.

Blocks of 2 MiB: of much larger ones the C library keeps some for itself when they are freed, a
hundred megabytes in all, which nobody has reckoned with.
"""


@dataclass(frozen=True, slots=True)
class LowRank:
    """The product of B of shape (rows, rank) and A of shape (rank, columns)."""

    b: torch.Tensor
    a: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def rank(self) -> int:
        """An upper bound of the product's rank: the length of the factors' common side."""
        return self.b.shape[1]

    def factors(self) -> LowRank:
        """Itself."""
        return self

    def rows(self, first: int, last: int) -> torch.Tensor:
        """Rows first to last, the last one excluded, in float64."""
        return self.b[first:last].double() @ self.a.double()


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix that is no product of anything smaller."""

    values: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def rank(self) -> int:
        """An upper bound of its rank: the shorter side."""
        return min(self.shape)

    def factors(self) -> LowRank:
        """The product of itself and an identity, whichever is the smaller one."""
        rows, columns = self.shape
        identity = torch.eye(self.rank, dtype=self.values.dtype, device=self.values.device)
        return LowRank(identity, self.values) if rows <= columns else LowRank(self.values, identity)

    def rows(self, first: int, last: int) -> torch.Tensor:
        """Rows first to last, the last one excluded, in float64."""
        return self.values[first:last].double()


Half: TypeAlias = LowRank | Dense
"""A matrix that a Kronecker or elementwise product is made of."""


@dataclass(frozen=True, slots=True)
class Kronecker:
    """The Kronecker product of W1 of shape (m1, n1) and W2 of (m2, n2): (m1 m2, n1 n2)."""

    w1: Half
    w2: Half

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.w1.shape[0] * self.w2.shape[0], self.w1.shape[1] * self.w2.shape[1]

    @property
    def rank(self) -> int:
        """An upper bound of the product's rank: the product of both ranks' bounds."""
        return self.w1.rank * self.w2.rank

    def factors(self) -> LowRank:
        """Exact factors without a decomposition: kron(D C, B A) = kron(D, B) kron(C, A).

        A half that is not factored is the product of itself and an identity, so that kron(W1, B A)
        has the rank n1 r or m1 r, whichever is smaller.
        """
        first, second = self.w1.factors(), self.w2.factors()
        return LowRank(
            torch.kron(first.b.double(), second.b.double()),
            torch.kron(first.a.double(), second.a.double()),
        )

    def rows(self, first: int, last: int) -> torch.Tensor:
        """Rows first to last, the last one excluded, in float64."""
        count = self.w2.shape[0]
        outer = range(first // count, -(-last // count))
        if len(outer) == 1:
            skipped = outer.start * count
            one = self.w1.rows(outer.start, outer.stop)
            return torch.kron(one, self.w2.rows(first - skipped, last - skipped))
        blocks = torch.kron(self.w1.rows(outer.start, outer.stop), self.w2.rows(0, count))
        return blocks[first - outer.start * count : last - outer.start * count]


@dataclass(frozen=True, slots=True)
class Hadamard:
    """The elementwise product of two products of two factors, of equal shapes."""

    first: LowRank
    second: LowRank

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.first.shape

    @property
    def rank(self) -> int:
        """An upper bound of the product's rank: the product of both ranks."""
        return self.first.rank * self.second.rank

    def factors(self) -> LowRank:
        """Exact factors without a decomposition: each pair of ranks gives one.

        (B A) o (D C) = (B * D) (A * C), where * multiplies every column of B with every one of D,
        every row of A with every one of C, element by element (a Khatri-Rao product).
        """
        b = self.first.b.double()[:, :, None] * self.second.b.double()[:, None, :]
        a = self.first.a.double()[:, None, :] * self.second.a.double()[None, :, :]
        return LowRank(b.flatten(1), a.flatten(0, 1))

    def rows(self, first: int, last: int) -> torch.Tensor:
        """Rows first to last, the last one excluded, in float64."""
        return self.first.rows(first, last) * self.second.rows(first, last)


Term: TypeAlias = LowRank | Dense | Kronecker | Hadamard
"""A summand of an update."""


@dataclass(frozen=True, slots=True)
class Update:
    """A sum of terms of one shape, each times its weight: coefficient times scaling."""

    terms: tuple[tuple[float, Term], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.terms[0][1].shape

    @property
    def rank(self) -> int:
        """An upper bound of its rank: what its exact factors have."""
        return sum(term.rank for _, term in self.terms)

    @property
    def is_narrow(self) -> bool:
        """Whether its exact factors are smaller than its shorter side."""
        return self.rank < min(self.shape)

    def __add__(self, other: Update) -> Update:
        """The sum, term by term: nothing is computed."""
        return Update(self.terms + other.terms)

    def times(self, coefficient: float) -> Update:
        """The product with a number: nothing is computed."""
        return Update(tuple((coefficient * weight, term) for weight, term in self.terms))

    def factors(self) -> LowRank:
        """Exact factors without a decomposition, in float64: B carries the weights."""
        parts = [(weight, term.factors()) for weight, term in self.terms]
        return LowRank(
            torch.cat([weight * part.b.double() for weight, part in parts], dim=1),
            torch.cat([part.a.double() for _, part in parts]),
        )

    def rows(self, first: int, last: int) -> torch.Tensor:
        """Rows first to last, the last one excluded, in float64."""
        (weight, term), *others = self.terms
        total = term.rows(first, last) * weight
        for weight, term in others:
            total += term.rows(first, last) * weight
        return total

    def dense(self) -> torch.Tensor:
        """All rows, in float64."""
        return self.rows(0, self.shape[0])

    def blocks(self) -> Iterator[torch.Tensor]:
        """All rows in float64, some at a time, so that a block has some megabytes."""
        rows, columns = self.shape
        step = max(1, BLOCK_ELEMENTS // columns)
        for first in range(0, rows, step):
            yield self.rows(first, min(first + step, rows))


def lora(tensors: Mapping[str, torch.Tensor], scaling: float, groups: int) -> tuple[Update, ...]:
    """LoRA: scaling times B A (Hu et al. 2021, arXiv:2106.09685), one update for each group.

    Args:
        tensors: `a` of shape (rank, in, ...) and `b` of shape (out, rank / groups, ...).
        scaling: alpha / rank, or alpha / sqrt(rank).
        groups: of a convolution, else 1.
    """
    a, b = tensors["a"].flatten(1), tensors["b"].flatten(1)
    return tuple(
        Update(((scaling, LowRank(rows, columns)),))
        for rows, columns in zip(b.chunk(groups), a.chunk(groups), strict=True)
    )


def adalora(tensors: Mapping[str, torch.Tensor], scaling: float, groups: int) -> tuple[Update, ...]:
    """AdaLoRA: P diag(E) Q (Zhang et al. 2023, arXiv:2303.10512), as PEFT scales it.

    Args:
        tensors: `lora_B` (out, rank), `lora_E` (rank, 1) and `lora_A` (rank, in).
        scaling: alpha / (init_r + 1e-5).
        groups: 1.
    """
    weighed = tensors["lora_E"].double() * tensors["lora_A"].double()
    return (Update(((scaling, LowRank(tensors["lora_B"], weighed)),)),)


def lokr(tensors: Mapping[str, torch.Tensor], scaling: float, groups: int) -> tuple[Update, ...]:
    """LoKr: scaling times kron(W1, W2) (Edalati et al. 2022, arXiv:2212.10650; LyCORIS).

    Args:
        tensors: `lokr_w1`, or `lokr_w1_a` and `lokr_w1_b`; the same of w2, for a convolution with
            `lokr_t2` (Tucker).
        scaling: alpha / rank.
        groups: 1.
    """
    return (Update(((scaling, Kronecker(_half(tensors, "w1"), _half(tensors, "w2"))),)),)


def _half(tensors: Mapping[str, torch.Tensor], name: str) -> Half:
    whole = tensors.get(f"lokr_{name}")
    if whole is not None:
        return Dense(whole.flatten(1))
    a, b = tensors[f"lokr_{name}_a"], tensors[f"lokr_{name}_b"]
    return _tucker(tensors.get(f"lokr_{name.replace('w', 't')}"), a, b)


def loha(tensors: Mapping[str, torch.Tensor], scaling: float, groups: int) -> tuple[Update, ...]:
    """LoHa: scaling times (W1a W1b) o (W2a W2b) (Hyeon-Woo et al. 2022, arXiv:2108.06098).

    Args:
        tensors: `hada_w1_a`, `hada_w1_b`, `hada_w2_a`, `hada_w2_b`, for a convolution with
            `hada_t1` and `hada_t2` (Tucker).
        scaling: alpha / rank.
        groups: 1.
    """
    first, second = (
        _tucker(tensors.get(f"hada_t{n}"), tensors[f"hada_w{n}_a"], tensors[f"hada_w{n}_b"])
        for n in "12"
    )
    return (Update(((scaling, Hadamard(first, second)),)),)


def _tucker(core: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor) -> LowRank:
    """A product of two factors, or of three around a core t: sum of t_ijkl a_ip b_jr."""
    if core is None:
        return LowRank(a, b)
    inner = torch.einsum("ijkl,jr->irkl", core.double(), b.double())
    return LowRank(a.double().T, inner.flatten(1))


FORMS: Final = {"lora": lora, "adalora": adalora, "lokr": lokr, "loha": loha}
"""How the tensors of a module make its update, by the name of the form."""
