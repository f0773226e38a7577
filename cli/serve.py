"""The command that serves the catalogue by the Hub's protocol."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .errors import InputError, note
from .options import Folder, Settings, text_option

if TYPE_CHECKING:
    from ..hub.server import Settings as ServerSettings


def _bases(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Turn NAME=BASE into what it is."""
    pairs = [text.partition("=") for text in given]
    for name, equals, base in pairs:
        if not (name and equals and base):
            said = f"{name + equals + base!r} is not NAME=BASE, such as tiny=acme/tiny-llama"
            raise click.BadParameter(said, ctx=ctx, param=option)
    return {name: base for name, _, base in pairs}


@click.command(
    epilog="""\b
Examples:
  isogloss serve
  isogloss serve --compose tiny=acme/tiny-llama
  isogloss serve --compose tiny=acme/tiny-llama --recipe add --recipe steer
  isogloss serve --host 0.0.0.0 --token-file tokens.txt

\b
Then, wherever a client runs:
  export HF_ENDPOINT=http://127.0.0.1:8000

\b
A line of a token file is USER TOKEN [read|write] [OWNERS]:
  ann  hf_Ak3jWq2u  write  ann,acme
  bob  hf_Zp8bXv7e  read   acme
"""
)
@text_option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--token-file",
    type=Folder(),
    help="Accounts and their tokens; without it, everybody may do everything.",
)
@click.option("--read-only", is_flag=True, help="Let nobody write.")
@click.option(
    "--compose",
    metavar="NAME=BASE",
    multiple=True,
    callback=_bases,
    help="Serve compositions for a base model: compose/NAME has expressions as revisions.",
)
@text_option(
    "--recipe",
    "recipes",
    metavar="NAME",
    multiple=True,
    help="Compose nothing but calls of this recipe, such as 'add(en, yo, 0.6)'; repeatable.",
)
@text_option("--owner", default="local", show_default=True, help="Owner of names without one.")
@text_option("--public-url", metavar="URL", help="Address under which clients reach the server.")
@click.pass_obj
def serve(
    settings: Settings,
    /,
    host: str,
    port: int,
    token_file: Path | None,
    read_only: bool,
    compose: dict[str, str],
    recipes: tuple[str, ...],
    owner: str,
    public_url: str | None,
) -> None:
    """Serve the catalogue as a hub that other programs use.

    It speaks the Hugging Face Hub's protocol: any client with HF_ENDPOINT set pulls from it and
    pushes to it. Catalogued adapters are repositories, their versions tags; what is pushed is
    catalogued. An expression can be the revision of a repository of compositions; it is composed
    when it is first asked for.
    """
    if token_file is None and not read_only and not _is_loopback(host):
        raise InputError(
            f"on {host} everybody who can reach this machine could write: give --token-file, or "
            "--read-only"
        )
    try:
        from ..hub.server import Settings as ServerSettings
        from ..hub.server import read_token_file
    except ModuleNotFoundError as error:
        raise InputError(
            f"serving needs {error.name}, which is not installed: pip install 'isogloss[serve]'"
        ) from error

    served = ServerSettings(
        owner=owner,
        accounts=read_token_file(token_file) if token_file else None,
        read_only=read_only,
        compose=compose,
        recipes=frozenset(recipes) if recipes else None,
        public_url=public_url,
    )
    _serve(settings, served, host, port)


def _serve(settings: Settings, served: ServerSettings, host: str, port: int) -> None:
    from ..hub.server import create_app, run

    with settings.open_hub() as hub:
        run(create_app(hub, served), host, port, lambda url: note(f"Serving on {url}"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
