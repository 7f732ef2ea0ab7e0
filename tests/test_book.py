"""The book: no number on any page is older than what it was computed from."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import duckdb
import pytest
import yaml

import lthlib
import small_book
import synthetic
from lthlib.book import chapters
from lthlib.book.chapters import Book, editions, is_fresh, read_book, refresh
from lthlib.book.execution import NotebookError, cells
from lthlib.book.sources import code_of, files_of
from lthlib.errors import LthError, RecordError
from lthlib.lab import provenance
from lthlib.packs import pack
from lthlib.records import Files, RecordStore, project_root, shipped_store
from lthlib.report import measures
from lthlib.study import DEFAULT_PRESET, MODELS, plan

ROOT = project_root(Path(__file__).parent)
WEIGHTS = "src/lthlib/lab/models/weights"


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LTHLIB_PRESET", raising=False)
    monkeypatch.delenv("LTHLIB_STORE", raising=False)
    monkeypatch.delenv("LTHLIB_REFERENCE", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_book.make_project(tmp_path / "project")


def key(project: Path) -> str:
    (edition,) = editions(read_book(project))
    return edition.key


def shown(project: Path) -> dict[str, set[str]]:
    """The numbers that each page shows."""
    site = project / "_build" / "html"
    pages = ("intro", "chapters/accuracy", "other")
    return {p: set(re.findall(r"\b0\.\d{3}\b", (site / f"{p}.html").read_text())) for p in pages}


# -- freshness, without building ------------------------------------------------------------------
def test_the_key_changes_with_all_that_a_number_comes_from(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key(project)]
    assert key(project) == keys[0]

    def changed() -> bool:
        keys.append(key(project))
        return keys[-1] not in keys[:-1]

    small_book.rewrite_runs(RecordStore(project / "records" / "shipped"), right=7)
    assert changed(), "a record"
    small_book.write_notebook(project, small_book.NOTEBOOK + "# more\n")
    assert changed(), "the notebook"
    declared = project / "book" / "chapters.toml"
    declared.write_text(declared.read_text() + 'inputs = ["data/*"]\n')
    assert not changed(), "an input that is not there"
    (project / "data").mkdir()
    (project / "data" / "a.json").write_text("{}")
    assert changed(), "an input"
    declared.write_text(declared.read_text() + 'title = "Accuracy, again"\n')
    assert changed(), "the title"
    monkeypatch.setattr(chapters, "_versions", lambda: {"pandas": "99"})
    assert changed(), "a package"
    monkeypatch.setattr(chapters, "code_of", lambda *_: {"study.py": "another"})
    assert changed(), "the library's code"


def test_a_chapter_comes_from_what_it_imports_and_from_nothing_else() -> None:
    package, notebooks = Path(lthlib.__path__[0]), ROOT / "notebooks"
    found = {name: set(code_of(cells(notebooks / f"{name}.ipynb"), package))
             for name in ("prune", "compare", "audit")}  # fmt: skip
    for name, own in found.items():
        assert {"__init__.py", "study.py", "report/show.py", "book/execution.py"} <= own, name
        assert not any(file.startswith(("lab/", "workflow/")) for file in own), name
    assert {"records.py", "report/measures.py", "report/draw.py"} <= found["prune"]
    assert "report/source/published.json" in found["audit"] - found["compare"]
    assert not any(file.startswith("report/audit/") for file in found["prune"])


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    files = {
        "__init__.py": "", "room/__init__.py": "from lthlib.room import data", "room/data.py": "",
        "room/x.json": "{}", "room/late.py": "def f():\n    import lthlib.deep.down as d\n",
        "deep/__init__.py": "", "deep/down.py": "import lthlib.room.late\n", "other.py": "",
        "workflow/__init__.py": "", "workflow/local.py": "import lthlib.other",
        "book/execution.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "lthlib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lthlib" / name).write_text(text)
    source = "%matplotlib inline\nfrom lthlib.room.late import f\nfrom lthlib.workflow import local"
    package = tmp_path / "lthlib"
    before = code_of([("code", source, ()), ("markdown", "import lthlib.other", ())], package)
    assert set(before) == set(files) - {"other.py", "workflow/__init__.py", "workflow/local.py"}
    (package / "other.py").write_text("1")
    assert code_of([("code", source, ())], package) == before
    (package / "deep" / "down.py").write_text("import lthlib.other")
    assert set(code_of([("code", source, ())], package)) == {*before, "other.py"}


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors", "lthlib"])
def test_each_package_that_a_record_names_is_in_the_key(
    project: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before, real = key(project), chapters.version
    monkeypatch.setattr(chapters, "version", lambda name: "99" if name == package else real(name))
    assert key(project) != before


def test_the_key_names_every_package_that_computes() -> None:
    assert {*provenance.PACKAGES, "scikit-learn"} <= set(chapters.PACKAGES)
    assert "absent" not in chapters._versions().values()


def test_the_page_on_runs_comes_from_the_starts_that_ship() -> None:
    (status,) = (c for c in read_book(ROOT).chapters if c.name == "status")
    starts = {f"{WEIGHTS}/{name}-tiny.json" for name in MODELS}
    assert starts <= set(files_of(ROOT, status.inputs))


def test_local_records_are_preferred_once_they_are_complete(project: Path) -> None:
    (edition,) = editions(read_book(project))
    assert edition.parameters["store"] == "records/shipped"
    local = RecordStore(project / "records" / "local")
    first, *others = small_book.study().run_ids()
    small_book.write_run(local, first, right=6)
    (edition,) = editions(read_book(project))
    assert edition.parameters["store"] == "records/shipped"
    for run in others:
        small_book.write_run(local, run, right=6)
    (edition,) = editions(read_book(project))
    assert edition.parameters["store"] == "records/local"


def test_preset_and_first_store_can_be_overruled(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTHLIB_STORE", "elsewhere")
    with pytest.raises(RecordError, match="elsewhere is not there"):
        read_book(project)
    (project / "elsewhere").mkdir()
    assert read_book(project).stores == ("elsewhere", "records/shipped")
    monkeypatch.setenv("LTHLIB_PRESET", "quick")
    with pytest.raises(RecordError, match=r"is finished in none of .*make report"):
        editions(read_book(project))
    monkeypatch.setenv("LTHLIB_PRESET", "quik")
    with pytest.raises(LthError, match="did you mean 'quick'"):
        editions(read_book(project))


def test_chapters_of_the_reference_study_follow_its_packs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = project / "book" / "chapters.toml"
    declared.write_text(declared.read_text().replace('"study"', '"reference"'))
    runs, shipped = small_quick_runs(), shipped_store()
    pack(runs[:2], shipped, Files(project / "records" / "reference"))
    (before,) = editions(read_book(project))
    assert before.parameters["store"] == "records/reference"
    pack(runs[2:], shipped, Files(project / "records" / "reference"))
    (after,) = editions(read_book(project))
    assert after.key != before.key, "another seed"
    (path,) = (project / "records" / "reference").glob("uniter*/levels.*.parquet")
    path.write_bytes(b"")
    with pytest.raises(RecordError, match=r"levels\.\w+\.parquet is damaged"):
        editions(read_book(project))
    # One setting puts another store in their place, packed or not.
    monkeypatch.setenv("LTHLIB_REFERENCE", shipped.files.url)
    (own,) = editions(read_book(project))
    assert own.parameters["store"] == shipped.files.url


def small_quick_runs() -> list[str]:
    (study,) = plan("quick", model="uniter", task="digits")
    return study.run_ids()


def test_a_damaged_record_stops_the_build_with_its_name(project: Path) -> None:
    run = small_book.study().run_ids()[1]
    file = project / "records" / "shipped" / run / "predictions.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(RecordError, match=f"{run}/predictions.parquet is damaged"):
        editions(read_book(project))


def test_only_what_was_executed_and_left_alone_is_fresh(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    assert not is_fresh(path, "k")
    cells = [{"cell_type": "code", "outputs": [{"text": "0.8"}]}]
    mark = {"key": "k", "content": chapters._sha256(cells)}
    path.write_text(json.dumps({"cells": cells, "metadata": {"lthlib": mark}}))
    assert is_fresh(path, "k") and not is_fresh(path, "another")
    path.write_text(path.read_text().replace("0.8", "0.9"))
    assert not is_fresh(path, "k")
    for damaged in ("", "{", "[]", '{"metadata": {}}'):
        path.write_text(damaged)
        assert not is_fresh(path, "k")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[chapters.a]\n", "chapter a: names no notebook"),
        ('[chapters.a]\nnotebok = "x"\n', "unknown entry 'notebok'; did you mean 'notebook'"),
        ('[chapters.a]\nnotebook = "x"\nreads = "some"\n', "unknown reads 'some'"),
        ("[chapters.a\n", "cannot be read"),
    ],
)
def test_a_wrong_declaration_is_named(project: Path, text: str, fault: str) -> None:
    (project / "book" / "chapters.toml").write_text(text)
    with pytest.raises(NotebookError, match=re.escape(fault)):
        read_book(project)


def test_a_chapter_that_cannot_be_written_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"cells": [], "metadata": {}}
    monkeypatch.setattr(chapters, "execute", lambda *args, **more: made)
    book = read_book(project)
    book.folder.write_text("no folder")
    with pytest.raises(RecordError, match=r"chapters is no folder"):
        chapters._make(book, editions(book)[0])


# -- builds ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_stale_numbers_are_impossible(project: Path) -> None:
    """A changed record shows on every page that uses it, by the bare command."""
    first = small_book.build(project)
    assert first.returncode == 0, first.stderr
    assert "chapter 1 of 1: accuracy (from records/shipped)" in first.stdout
    assert shown(project) == {"intro": {"0.800"}, "chapters/accuracy": {"0.800"}, "other": set()}

    small_book.rewrite_runs(RecordStore(project / "records" / "shipped"), right=6)
    assert small_book.build(project).returncode == 0
    assert shown(project) == {"intro": {"0.600"}, "chapters/accuracy": {"0.600"}, "other": set()}

    chapter = project / "book" / "chapters" / "accuracy.ipynb"
    assert "jupytext" not in chapter.read_text() and str(project) not in chapter.read_text()
    chapter.write_text(chapter.read_text().replace("0.600", "0.999"))
    again = small_book.build(project)
    assert again.returncode == 0 and "chapter 1 of 1" in again.stdout
    assert shown(project)["intro"] == {"0.600"}

    idle = small_book.build(project)
    assert idle.returncode == 0 and "chapter 1 of 1" not in idle.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a [1] b", "a {b} #%20 ä'*?"])
def test_a_book_builds_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """Pages that the contents do not name, such as a chapter of before, are no pages."""
    project = small_book.make_project(tmp_path / name)
    (project / "book" / "NOT_A_PAGE.md").write_text("# Not a page\n")
    (project / "book" / "chapters").mkdir()
    shutil.copy(
        project / "notebooks" / "accuracy.ipynb", project / "book" / "chapters" / "old.ipynb"
    )
    done = small_book.build(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.800" in shown(project)["intro"]
    assert not (project / "_build" / "html" / "NOT_A_PAGE.html").exists()


@pytest.mark.slow
def test_faults_fail_the_bare_build_until_they_are_mended(project: Path) -> None:
    intro = project / "book" / "intro.md"
    intro.write_text(small_book.INTRO + "\n{glue:text}`chapters/accuracy.ipynb::missing:s`\n")
    for _ in range(2):
        failed = small_book.build(project)
        assert failed.returncode == 1
        assert "Glue reference 'missing' not found" in failed.stderr
    intro.write_text(small_book.INTRO)
    assert small_book.build(project).returncode == 0


@pytest.mark.slow
def test_a_failing_notebook_keeps_its_last_good_chapter(project: Path) -> None:
    refresh(read_book(project), say=lambda _: None)
    chapter = project / "book" / "chapters" / "accuracy.ipynb"
    good = chapter.read_bytes()
    small_book.write_notebook(project, small_book.NOTEBOOK + "\nraise ValueError('broken')\n")
    failed = small_book.build(project)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last == "error: chapter accuracy: accuracy.ipynb failed in cell 3: ValueError: broken"
    assert chapter.read_bytes() == good
    assert [path.name for path in chapter.parent.iterdir()] == ["accuracy.ipynb"]


# -- this project's own book ----------------------------------------------------------------------
def pages_in_toc() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]


def test_contents_chapters_and_pages_belong_together() -> None:
    declared = tomllib.loads((ROOT / "book" / "chapters.toml").read_text())
    made = {page.removeprefix("chapters/") for page in pages_in_toc() if "/" in page}
    assert made == set(declared["chapters"])
    assert declared["preset"] == DEFAULT_PRESET
    for page in pages_in_toc():
        assert "/" in page or (ROOT / "book" / f"{page}.md").is_file()
    for chapter in declared["chapters"].values():
        assert (ROOT / "notebooks" / f"{chapter['notebook']}.py").is_file()
    assert (ROOT / "book" / "_toc.yml").is_symlink()
    assert (ROOT / "book" / "_toc.yml").readlink() == Path("../_toc.yml")


def test_the_opening_page_types_no_number() -> None:
    text = (ROOT / "book" / "intro.md").read_text()
    found = text[text.index("# Do lottery tickets") : text.index("## What this does not show")]
    prose = re.sub(r"`[^`]*`|```\{glue\} .*|:{3,}.*", "", found)
    assert not re.search(r"\d", prose)
    assert found.count("{glue:text}") >= 5
    assert found.count("```{glue}") == 4, "a table and three figures"


def test_formulas_need_no_network() -> None:
    folder = ROOT / "book" / "vendor" / "mathjax"
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert config["mathjax_path"] == "../mathjax/tex-mml-chtml.js"
    digest = hashlib.sha256((folder / "tex-mml-chtml.js").read_bytes()).hexdigest()
    assert digest == MATHJAX_SHA256
    assert len(list((folder / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff"))) == 23
    assert "Apache License" in (folder / "LICENSE").read_text()


MATHJAX_SHA256 = "300480069078b5892d2363a2b65e2dfbbf30fe5c80f83edbfecf4610fd093862"


# -- the page on records --------------------------------------------------------------------------
@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose shipped store holds one run of synthetic predictions."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "_config.yml", tmp_path)
    predictions = synthetic.predictions(levels=2)
    tables = {"predictions": predictions, "levels": synthetic.levels(predictions)}
    tables |= dict.fromkeys(("training", "curves"), predictions[["run"]].head(1))
    store = RecordStore(tmp_path / "records" / "shipped")
    with store.writer("uniter-digits-s0", {}) as writer:
        writer.write_level(0, tables, {})
        writer.finish({"run": "uniter-digits-s0"}, b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language: str) -> list[str]:
    text = (ROOT / "book" / "records.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_queries_on_the_page_agree_with_the_library(shipped: Path) -> None:
    _, *queries = blocks("sql")
    accuracy, fidelity = (duckdb.sql(query).df() for query in queries)
    frames: dict[str, object] = {}
    for code in blocks("python"):
        exec(code, frames)
    agreements = frames["agreements"]
    assert fidelity.set_index("level")["fidelity"].to_dict() == pytest.approx(
        agreements.set_index("level")["fidelity"].astype(float).loc[1:].to_dict()  # type: ignore[attr-defined]
        | {0: 1.0}
    )
    by_pandas = frames["accuracy"].to_numpy()  # type: ignore[attr-defined]
    assert accuracy["accuracy"].to_numpy() == pytest.approx(by_pandas)


def test_the_query_for_packs_agrees_with_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(small_quick_runs(), shipped_store(), Files(tmp_path / "records" / "reference"))
    predictions = shipped_store().table("predictions", small_quick_runs())
    quality = measures.quality(measures.at_stage(predictions, "trained"))
    keys = ["run", "level", "branch"]
    monkeypatch.chdir(tmp_path)
    found = duckdb.sql(blocks("sql")[0]).df().set_index(keys).sort_index()["accuracy"]
    expected = quality.set_index(keys).sort_index()["accuracy"].astype(float)
    assert found.to_numpy() == pytest.approx(expected.to_numpy())
    assert list(found.index) == list(expected.index)


def test_a_book_says_which_chapters_it_has() -> None:
    book = read_book(ROOT)
    assert isinstance(book, Book)
    assert [c.name for c in book.chapters if c.notebook == "prune"] == [
        "prune-visualbert",
        "prune-lxmert",
        "prune-uniter",
        "prune-uniter-reports",
    ]
