"""What the Hub's own client relies on, asked of our server or of a real endpoint.

By default a server is started for it. With ISOGLOSS_CONTRACT_ENDPOINT, ISOGLOSS_CONTRACT_TOKEN and
ISOGLOSS_CONTRACT_NAMESPACE set, the same is asked of that endpoint, in private repositories that
are made there and deleted again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from isogloss.hub import AdapterHub
from isogloss.hub.server import Account, Limits, Settings, serving

NAMES = ("ENDPOINT", "TOKEN", "NAMESPACE")
NAMED = {name: os.environ.get(f"ISOGLOSS_CONTRACT_{name}", "") for name in NAMES}
REAL = any(NAMED.values())
ANN = "hf_ann-writes"


@dataclass
class Place:
    """Where repositories are made, and which there are."""

    url: str
    token: str
    namespace: str
    home: Path
    made: list[str] = field(default_factory=list)

    def api(self) -> HfApi:
        return HfApi(endpoint=self.url, token=self.token)

    def new_name(self) -> str:
        self.made.append(f"{self.namespace}/isogloss-contract-{uuid4().hex[:12]}")
        return self.made[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The endpoint that is named, or a server of ours that answers in small pages."""
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder))
        patch.setenv("HF_XET_CACHE", str(folder / "xet"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        if not REAL:
            accounts = (Account.of("ann", ANN, "write", ("ann", "acme")),)
            settings = Settings(accounts=accounts, limits=Limits(page=3))
            with AdapterHub.init(folder / "home") as hub, serving(hub, settings) as url:
                yield Place(url, ANN, "acme", folder)
            return
        if not all(NAMED.values()):
            pytest.fail("set all of " + ", ".join(f"ISOGLOSS_CONTRACT_{name}" for name in NAMES))
        found = Place(NAMED["ENDPOINT"], NAMED["TOKEN"], NAMED["NAMESPACE"], folder)
        try:
            yield found
        finally:
            for name in found.made:
                found.api().delete_repo(name, missing_ok=True)


if REAL:

    @pytest.fixture(autouse=True)
    def no_network() -> None:
        """The endpoint that is named is reached."""


@pytest.fixture
def api(place: Place, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """The client, with LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return place.api()


@pytest.fixture(params=["lfs", "xet"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How large files go up: either way that the client knows."""
    chosen: str = request.param
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", chosen == "lfs")
    return chosen


@pytest.fixture
def repo(place: Place) -> Iterator[str]:
    """An empty private repository."""
    name = place.new_name()
    place.api().create_repo(name, private=True)
    yield name
    with suppress(RepositoryNotFoundError):
        place.api().delete_repo(name)


def soon(look: Callable[[], Any], expected: Any) -> None:
    """Expect what a list shows, for which a real Hub may take a while."""
    end = time.monotonic() + (90 if REAL else 0)
    while (found := look()) != expected and time.monotonic() < end:
        time.sleep(3)
    assert found == expected


def put(api: HfApi, repo: str, path: str, content: bytes, **more: Any) -> str:
    made = api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo, **more)
    return made.oid


def status_of(attempt: Callable[[], Any]) -> int:
    with pytest.raises(HfHubHTTPError) as raised:
        attempt()
    status: int = raised.value.response.status_code
    return status


class TestRepositories:
    """Names, history, branches and tags."""

    def test_a_repository_is_made_once(self, api: HfApi, place: Place) -> None:
        name = place.new_name()
        assert not api.repo_exists(name)
        assert api.create_repo(name, private=True).repo_id == name
        assert api.create_repo(name, private=True, exist_ok=True).repo_id == name
        assert status_of(lambda: api.create_repo(name, private=True)) == 409
        info = api.model_info(name)
        assert (info.id, info.private, info.author) == (name, True, place.namespace)
        assert [file.rfilename for file in info.siblings or []] == [".gitattributes"]
        assert [c.title for c in api.list_repo_commits(name)] == ["initial commit"]
        api.auth_check(name, write=True)

    def test_repositories_are_moved_shown_and_deleted(
        self, api: HfApi, place: Place, repo: str
    ) -> None:
        other = place.new_name()
        api.move_repo(repo, other)
        assert api.model_info(other).private
        api.update_repo_settings(other, private=False)
        assert not api.model_info(other).private
        api.delete_repo(other)
        assert not api.repo_exists(other)
        with pytest.raises(RepositoryNotFoundError):
            api.delete_repo(other)
        api.delete_repo(other, missing_ok=True)

    def test_a_moved_head_is_told(self, api: HfApi, repo: str) -> None:
        head = api.model_info(repo).sha
        put(api, repo, "a.txt", b"1", parent_commit=head)
        assert status_of(lambda: put(api, repo, "a.txt", b"2", parent_commit=head)) == 412
        assert len(api.list_repo_commits(repo)) == 2

    def test_branches_and_tags(self, api: HfApi, repo: str) -> None:
        one = put(api, repo, "a.txt", b"1")
        api.create_tag(repo, tag="v1", revision=one)
        api.create_branch(repo, branch="feature/x", revision="v1")
        two = put(api, repo, "a.txt", b"2", revision="feature/x")
        refs = api.list_repo_refs(repo)
        assert {(ref.name, ref.ref, ref.target_commit) for ref in [*refs.branches, *refs.tags]} == {
            ("main", "refs/heads/main", one),
            ("feature/x", "refs/heads/feature/x", two),
            ("v1", "refs/tags/v1", one),
        }
        for revision, content in (("v1", "1"), ("feature/x", "2"), (two, "2"), ("main", "1")):
            assert (
                Path(api.hf_hub_download(repo, "a.txt", revision=revision)).read_text() == content
            )
        assert api.revision_exists(repo, "feature/x")
        assert not api.revision_exists(repo, "feature/y")
        assert status_of(lambda: api.create_tag(repo, tag="v1")) == 409
        assert status_of(lambda: api.create_branch(repo, branch="feature/x")) == 409
        api.delete_tag(repo, tag="v1")
        api.delete_branch(repo, branch="feature/x")
        with pytest.raises(RevisionNotFoundError):
            api.delete_tag(repo, tag="v1")
        with pytest.raises(RevisionNotFoundError):
            api.model_info(repo, revision="v1")

    def test_history_is_told_and_squashed_or_that_is_refused(self, api: HfApi, repo: str) -> None:
        made = [put(api, repo, "a.txt", b"%d" % n, commit_message=f"no. {n}") for n in range(4)]
        commits = api.list_repo_commits(repo)
        assert [commit.commit_id for commit in commits[:-1]] == made[::-1]
        titles = ["no. 3", "no. 2", "no. 1", "no. 0", "initial commit"]
        assert [commit.title for commit in commits] == titles
        assert {author for commit in commits for author in commit.authors} == {api.whoami()["name"]}
        try:
            api.super_squash_history(repo)
        except HfHubHTTPError as error:
            assert "history is never rewritten" in str(error)
            assert len(api.list_repo_commits(repo)) == 5
        else:
            assert len(api.list_repo_commits(repo)) == 1

    def test_a_card_is_checked_and_found(self, api: HfApi, repo: str) -> None:
        with pytest.raises(ValueError, match="Invalid metadata in README"):
            put(api, repo, "README.md", b"---\na: [\n---\n")
        mark = f"mark-{uuid4().hex}"
        head = "library_name: peft\nlicense: mit\nlanguage: [en, pt]\n"
        put(api, repo, "README.md", f"---\n{head}tags: [{mark}]\n---\n# One\n".encode())
        info = api.model_info(repo)
        assert info.card_data is not None
        assert (info.card_data.license, info.library_name) == ("mit", "peft")
        assert {"peft", "en", "pt", "license:mit", mark} <= set(info.tags or [])
        owner = repo.partition("/")[0]
        for query in (
            {"filter": mark},
            {"filter": [mark, "peft"], "author": owner},
            {"search": repo.partition("/")[2]},
        ):
            soon(lambda query=query: [m.id for m in api.list_models(**query)], [repo])  # type: ignore[misc]
        assert list(api.list_models(filter=[mark, "no-such-tag"])) == []

    def test_lists_come_in_pages(self, api: HfApi, place: Place) -> None:
        names = sorted(place.new_name() for _ in range(5))
        mark = f"mark-{uuid4().hex}"
        for name in names:
            api.create_repo(name, private=True)
            put(api, name, "README.md", f"---\ntags: [{mark}]\n---\n".encode())
        soon(lambda: sorted(m.id for m in api.list_models(filter=mark)), names)
        assert len(list(api.list_models(filter=mark, limit=2))) == 2
        newest = next(iter(api.list_models(filter=mark, sort="created_at", limit=1)))
        assert newest.created_at == max(api.model_info(name).created_at for name in names)
        for name in names:
            api.delete_repo(name)


class TestFiles:
    """Files up and down, by each transport."""

    def test_one_commit_with_small_and_large_files(
        self, place: Place, repo: str, transport: str
    ) -> None:
        api, weights = place.api(), os.urandom(1 << 20)
        contents = {"w.safetensors": weights, "notes/a b%2F\u00e9.txt": b"hello", "empty.txt": b""}
        head = api.model_info(repo).sha
        made = api.create_commit(
            repo,
            [CommitOperationAdd(path, content) for path, content in contents.items()],
            commit_message="two files",
            commit_description="and why",
            parent_commit=head,
        )
        newest = api.list_repo_commits(repo)[0]
        assert (newest.commit_id, newest.title) == (made.oid, "two files")
        assert "and why" in newest.message
        for path, content in contents.items():
            for revision in ("main", made.oid):
                got = api.hf_hub_download(repo, path, revision=revision)
                assert Path(got).read_bytes() == content
        with pytest.raises(EntryNotFoundError):
            api.hf_hub_download(repo, "none.txt")
        assert api.verify_repo_checksums(repo, revision=made.oid).mismatches == []

    def test_what_is_there_is_not_sent_again(self, place: Place, repo: str, transport: str) -> None:
        api, weights = place.api(), os.urandom(1 << 18)

        def push() -> str:
            operations = [
                CommitOperationAdd("w.safetensors", weights),
                CommitOperationAdd("a.txt", b"text"),
            ]
            return api.create_commit(repo, operations, commit_message="push").oid

        assert push() == push()
        assert len(api.list_repo_commits(repo)) == 2

    def test_files_are_copied_and_deleted(self, place: Place, repo: str, transport: str) -> None:
        api = place.api()
        put(api, repo, "a/w.safetensors", os.urandom(1 << 18))
        put(api, repo, "a/x.txt", b"1")
        moved = [
            CommitOperationCopy("a/w.safetensors", "b/w.safetensors"),
            CommitOperationDelete("a/", is_folder=True),
        ]
        api.create_commit(repo, moved, commit_message="move")
        assert sorted(api.list_repo_files(repo)) == [".gitattributes", "b/w.safetensors"]
        api.delete_file("b/w.safetensors", repo)
        assert api.list_repo_files(repo) == [".gitattributes"]

    def test_a_folder_goes_up_and_comes_down(
        self, place: Place, repo: str, transport: str, tmp_path: Path
    ) -> None:
        api, folder = place.api(), tmp_path / "folder"
        for number in range(12):
            file = folder / f"d{number % 3}" / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(number))
        (folder / "w.safetensors").write_bytes(os.urandom(1 << 18))
        made = api.upload_folder(repo_id=repo, folder_path=folder).oid
        api.create_tag(repo, tag="v1", revision=made)
        wanted = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for revision in ("v1", made):
            down = Path(api.snapshot_download(repo, revision=revision))
            assert down.name == made
            assert wanted == {
                str(path.relative_to(down)): path.read_bytes()
                for path in down.rglob("*")
                if path.is_file() and path.name != ".gitattributes"
            }
        tree = api.list_repo_tree(repo, recursive=True, revision="v1")
        assert {file.path for file in tree if isinstance(file, RepoFile)} >= set(wanted)
        found = api.get_paths_info(repo, ["w.safetensors", "d1", "none"], revision=made)
        (weights,) = [file for file in found if isinstance(file, RepoFile)]
        assert weights.lfs is not None
        assert weights.lfs.size == weights.size == 1 << 18
        assert len(found) == 2

    def test_a_download_that_breaks_goes_on(
        self, place: Place, repo: str, transport: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api, weights = place.api(), os.urandom(1 << 20)
        put(api, repo, "w.safetensors", weights)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
        whole, asked = httpx2.Response.iter_bytes, []

        def breaking(self: httpx2.Response, chunk_size: int | None = None) -> Iterator[bytes]:
            body = self.request.method == "GET"
            if body:
                asked.append(self.request.headers.get("range"))
            for number, piece in enumerate(whole(self, chunk_size)):
                if body and number == 3 and len(asked) == 1:
                    raise httpx2.RemoteProtocolError("cut on purpose")
                yield piece

        monkeypatch.setattr(httpx2.Response, "iter_bytes", breaking)
        got = api.hf_hub_download(repo, "w.safetensors")
        assert Path(got).read_bytes() == weights
        assert asked == [None, "bytes=300000-"]


PEFT = """
    import sys, torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
    base_path, repo = sys.argv[1:]
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(base_path)

    def base():
        return AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32)

    def logits(model):
        with torch.no_grad():
            return model.eval()(torch.arange(12).reshape(1, 12)).logits

    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, r=2)
    made = get_peft_model(base(), lora)
    made.push_to_hub(repo)
    from huggingface_hub import create_tag
    create_tag(repo, tag="v1")
    loaded = PeftModel.from_pretrained(base(), repo, revision="v1")
    assert torch.equal(logits(made), logits(loaded))
    adapted = base()
    adapted.load_adapter(repo, adapter_kwargs={"revision": "v1"})
    assert torch.equal(logits(made), logits(adapted))
"""


@pytest.mark.slow
class TestPrograms:
    """Programs that people run: the `hf` command, PEFT, transformers."""

    @pytest.fixture
    def run(self, place: Place, transport: str, run_client: Any) -> Callable[..., str]:
        def run(program: str, *arguments: str) -> str:
            variables = {"HF_HUB_DISABLE_XET": str(int(transport == "lfs"))}
            ran = run_client(
                place.url, "-c", dedent(program), *arguments, token=place.token, **variables
            )
            out: str = ran.stdout
            return out

        return run

    def test_the_hf_command(self, place: Place, run: Callable[..., str], tmp_path: Path) -> None:
        name, folder = place.new_name(), tmp_path / "folder"
        folder.mkdir()
        (folder / "w.safetensors").write_bytes(os.urandom(1 << 16))
        (folder / "notes.txt").write_text("hello")

        def hf(*arguments: str) -> str:
            return run("from huggingface_hub.cli.hf import main; main()", *arguments)

        hf("repos", "create", name, "--private")
        hf("upload", name, str(folder))
        hf("repos", "tag", "create", name, "v1")
        hf("download", name, "--revision", "v1", "--local-dir", str(tmp_path / "down"))
        for path in folder.iterdir():
            assert (tmp_path / "down" / path.name).read_bytes() == path.read_bytes()
        owner, _, short = name.partition("/")
        query = ("models", "ls", "--author", owner, "--search", short, "--format", "json")
        soon(lambda: bool(re.search(re.escape(name), hf(*query))), True)
        place.api().delete_repo(name)

    def test_peft_and_transformers(
        self, repo: str, run: Callable[..., str], tmp_path: Path
    ) -> None:
        run(PEFT, str(tmp_path / "base"), repo)
