"""Use an installed isogloss as a stranger would: two adapters on disk, one composition, one proof.

Run by bare.py with the interpreter of an environment that holds the core alone, in a folder
outside the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

CONFIG = {
    "base_model_name_or_path": "tiny",
    "bias": "none",
    "lora_alpha": 4,
    "peft_type": "LORA",
    "r": 2,
    "target_modules": ["q_proj"],
    "task_type": "CAUSAL_LM",
}
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def main() -> None:
    """Add two adapters, find one, compose them, prove the result, then damage it."""
    for extra in ("peft", "transformers", "safetensors"):
        expect(find_spec(extra) is None, f"a bare environment has no {extra}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ["ISOGLOSS_HOME"] = str(work / "home")
        factors = {
            kind: write_adapter(work / kind, seed) for seed, kind in enumerate(("task", "lm"))
        }
        isogloss("--help")
        isogloss("init")
        isogloss("add", work / "task", "--kind", "task", "--language", "en", "--task", "xlsum")
        isogloss("add", work / "lm", "--kind", "lm", "--language", "pt")
        found = json.loads(isogloss("find", "language = pt", "--json"))
        expect(
            [(row["kind"], row["language"]) for row in found] == [("lm", "pt")], f"found {found}"
        )
        isogloss(
            "compose", "0.75*task[en] + 0.25*lm[pt]", "--name", "mix", "--output", work / "mix"
        )
        composed = read_tensors(work / "mix" / "adapter_model.safetensors")
        for tensor, value in composed.items():
            expected = factors["task"][tensor] * 0.75 + factors["lm"][tensor] * 0.25
            expect(torch.equal(value, expected), f"{tensor} equals the equation")
        isogloss("verify", "mix")
        isogloss("verify", work / "mix")
        isogloss("compose", "0.75*task[en] + 0.25*lm[yo]", exit_code=3)
        isogloss("compose", "0.75*task[en] +", exit_code=1)
        flip_last_byte(work / "mix" / "adapter_model.safetensors")
        isogloss("verify", work / "mix", exit_code=6)
    print("composed, verified, and found the flipped byte")


def isogloss(*arguments: str | Path, exit_code: int = 0) -> str:
    """Run the installed command, insist on its exit code and return what it printed."""
    command = [str(Path(sys.executable).parent / "isogloss"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    said = f"{result.stdout}{result.stderr}"
    expect(
        result.returncode == exit_code,
        f"{command} gave {result.returncode}, not {exit_code}: {said}",
    )
    expect("Traceback" not in said, f"{command} printed a traceback: {said}")
    return result.stdout


def expect(holds: bool, what: str) -> None:
    """Stop with the words if they do not hold."""
    if not holds:
        sys.exit(f"smoke test failed: {what}")


def write_adapter(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """Write a LoRA adapter of rank 2 as peft lays it out and return its tensors."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"{MODULE}.lora_A.weight": torch.randn(2, 8, generator=generator),
        f"{MODULE}.lora_B.weight": torch.randn(8, 2, generator=generator),
    }
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = tensor.numpy().tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + body
    )
    return tensors


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the float32 tensors of a safetensors file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        body = bytearray(data[first:last])
        tensors[name] = torch.frombuffer(body, dtype=torch.float32).reshape(entry["shape"])
    return tensors


def flip_last_byte(path: Path) -> None:
    """Change the lowest bit of a file's last byte."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
