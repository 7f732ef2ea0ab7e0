"""Tasks on published data: what they read, what stays apart, and what can be learned from them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from lthlib.errors import FeatureError, RecordError, StudyError, TaskError, WeightsError
from lthlib.lab import corpora, lottery, wordpieces
from lthlib.lab.features.regions import ImageRegions
from lthlib.lab.features.store import Plan, StoreWriter
from lthlib.lab.features.synthetic import follow_captions
from lthlib.lab.models import build
from lthlib.lab.provenance import task_key
from lthlib.lab.regions import show_regions
from lthlib.lab.tasks import load, published
from lthlib.lab.tasks.inputs import StoredInputs
from lthlib.records import RecordStore, file_sha256
from lthlib.study import EMBEDDED, TASKS, Study

PUBLISHED_COUNTS = dict(corpora.VSR_ITEMS)  # the fixture below puts others in their place
COUNTS = {"train": 60, "dev": 20, "test": 30}
NOUNS = ("cat", "dog", "bus", "cake", "bench")
RELATIONS = ("left of", "under", "behind", "inside")


def vsr_lines(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        a, b = draw.choice(NOUNS, 2, replace=False)
        relation = str(draw.choice(RELATIONS))
        lines.append(
            json.dumps(
                {
                    "image": f"{draw.integers(12):012d}.jpg",
                    "caption": f"The {a} is {relation} the {b}.",
                    "label": int(draw.integers(2)),
                    "relation": relation,
                }
            )
        )
    return lines


def write_data(folder: Path) -> Path:
    for version in corpora.VSR_FOLDERS:
        for split in ("random", "zeroshot"):
            for seed, (part, count) in enumerate(COUNTS.items()):
                path = folder / corpora.vsr_file(version, split, part)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n".join(vsr_lines(count, seed)) + "\n")
    draw = np.random.default_rng(9)
    rows = [
        {
            "id": str(i),
            "TXT": " ".join(draw.choice(["heart", "lungs", "clear", "large", "no"], 9)) + ".",
            "split": part,
            **{name: int(name != "Hernia" and draw.random() < 0.2) for name in FINDINGS},
        }
        for i, part in enumerate(["train"] * 50 + ["test"] * 20)
    ]
    (folder / "openi").mkdir()
    pd.DataFrame(rows).to_csv(folder / corpora.OPENI_FILE, index=False)
    return folder


FINDINGS = corpora.OPENI_FINDINGS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small data folder that stands for the published one; its counts are those read here."""
    with pytest.MonkeyPatch.context() as patch:
        counts = dict.fromkeys(corpora.VSR_ITEMS, COUNTS)
        patch.setattr(corpora, "VSR_ITEMS", counts)
        patch.setattr(corpora, "OPENI_ITEMS", {"train": 50, "test": 20})
        folder = write_data(tmp_path_factory.mktemp("data"))
        patch.setenv("LTHLIB_DATA", str(folder))
        yield folder


def synthetic(data: Path, name: str, share: float) -> str:
    """The name of a store for the items of vsr-random; made once."""
    if not (data / "features" / name).exists():
        parts = published.PUBLISHED["vsr-random"].read(data)
        follow_captions(pd.concat(parts.values()), data / "features" / name, share=share)
    return name


# -- reading ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", published.PUBLISHED)
def test_every_task_has_three_parts_that_share_no_item(data: Path, name: str) -> None:
    task = load(name)
    parts = [task.train, task.validation, task.test]
    names = [set(part.items) for part in parts]
    assert all(len(n) == len(p.labels) == len(p.inputs) for n, p in zip(names, parts, strict=True))
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert task.outputs == (14 if name == "open-i" else 2)
    assert task.vocabulary[:5] == ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
    assert task.train.inputs.take(torch.arange(2)).region_features.shape == (2, 1, 1)


def test_grouped_captions_do_not_cross(data: Path) -> None:
    parts = published.PUBLISHED["vsr-grouped"].read(data)
    captions = [set(table["text"]) for table in parts.values()]
    assert not (captions[0] & captions[1] or captions[0] & captions[2] or captions[1] & captions[2])
    assert sum(map(len, parts.values())) == sum(COUNTS.values())
    random = published.PUBLISHED["vsr-random"].read(data)
    assert set(random["train"]["text"]) & set(random["test"]["text"])  # the fault it mends
    again = published.PUBLISHED["vsr-grouped"].read(data)
    assert all(parts[part].equals(again[part]) for part in parts)


def test_groups_fill_parts_by_share() -> None:
    table = pd.DataFrame({"group": [f"g{i // 3}" for i in range(3000)]})
    parts = published.by_group(table, table["group"], {"a": 0.7, "b": 0.1, "c": 0.2})
    assert [len(part) for part in parts.values()] == pytest.approx([2100, 300, 600], abs=6)
    assert not set(parts["a"]["group"]) & set(parts["c"]["group"])


def test_reports_are_carved_by_patient_and_their_text_stays_out_of_records(data: Path) -> None:
    task = load("open-i")
    assert len(task.train) + len(task.validation) == 50 and 0 < len(task.validation) < 15
    assert list(task.test.facts) == ["item"]
    assert list(lottery.item_table(task)) == ["item"]
    assert task.train.labels[:, FINDINGS.index("Hernia")].sum() == 0


def test_words_are_counted_in_training_texts_only() -> None:
    words = published.vocabulary_of(["A cat, a cat.", "a dog", "the dog"])
    assert words[5:] == ("a", "dog")


def test_fewer_items_are_the_first_of_one_shuffled_order(data: Path) -> None:
    few, more = (load("vsr-random", train_items=n).train for n in (10, 20))
    assert set(few.items) < set(more.items) and len(few) == 10
    with pytest.raises(TaskError, match="500 items are asked for, and this part has 60"):
        load("vsr-random", train_items=500)


def test_without_the_files_it_says_how_to_get_them(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("LTHLIB_DATA", str(tmp_path))
    with pytest.raises(TaskError, match=r"train.jsonl cannot be read .*`lth data get`"):
        load("vsr-random")
    monkeypatch.delenv("LTHLIB_DATA")
    monkeypatch.setenv("LTHLIB_CACHE", str(tmp_path / "cache"))
    assert published.data_folder() == tmp_path / "cache" / "data"


def test_a_line_that_is_no_item_is_named(data: Path, tmp_path: Path) -> None:
    path = tmp_path / corpora.vsr_file("current", "random", "train")
    path.parent.mkdir(parents=True)
    lines = vsr_lines(3, 0)
    path.write_text(lines[0] + "\n" + lines[1][:20] + "\n")
    with pytest.raises(TaskError, match="line 2 is no JSON"):
        published.load("vsr-random", folder=tmp_path)


# -- regions ----------------------------------------------------------------------------------
def test_regions_come_from_the_store_batch_by_batch(data: Path) -> None:
    task = load("vsr-random", features=synthetic(data, "follow", 1.0))
    assert isinstance(task.train.inputs, StoredInputs)
    batch = task.train.inputs.take(torch.tensor([5, 2]))
    one = task.train.inputs.take(slice(2, 3))
    assert batch.region_features.shape == (2, 4, 16) and batch.region_mask.all()
    assert torch.equal(batch.boxes[1], one.boxes[0])
    assert torch.equal(batch.input_ids[1], one.input_ids[0])
    both = task.train.inputs.join(task.test.inputs)  # type: ignore[arg-type]
    assert torch.equal(both.take(slice(60, 61)).boxes, task.test.inputs.take(slice(0, 1)).boxes)


def test_hidden_and_shuffled_regions(data: Path) -> None:
    task = load("vsr-random", features=synthetic(data, "follow", 1.0))
    blind = show_regions(task, "none").train.inputs.take(torch.arange(3))
    assert blind.region_features.shape == (3, 4, 16) and not blind.region_features.any()
    assert not blind.boxes.any() and blind.region_mask.all()
    assert torch.equal(blind.input_ids, task.train.inputs.input_ids[:3])
    shuffled = show_regions(task, "shuffled").train.inputs
    assert isinstance(shuffled, StoredInputs) and isinstance(task.train.inputs, StoredInputs)
    assert (shuffled.rows != task.train.inputs.rows).all()
    assert sorted(shuffled.rows.tolist()) == sorted(task.train.inputs.rows.tolist())


def test_shuffling_by_image_gives_no_item_its_own_image(data: Path) -> None:
    task = load("vsr-random", features=synthetic(data, "follow", 1.0))
    assert isinstance(task.train.inputs, StoredInputs)
    inputs = StoredInputs(
        task.train.inputs.input_ids,
        task.train.inputs.text_mask,
        torch.arange(60) % 7,
        task.train.inputs.store,
    )
    assert (inputs.shuffle_regions().rows != inputs.rows).all()


def test_another_image_tells_nothing_where_names_follow_the_labels(tmp_path: Path) -> None:
    """Cats, then dogs, as in many collections: half a turn in the order of names would show every
    cat a dog."""
    names = [f"{('cat', 'dog')[i // 100]}-{i:03d}.png" for i in range(200)]
    with StoreWriter(tmp_path / "store", Plan(tuple(names), 1, 2, "zeros")) as writer:
        for name in names:
            writer.put(ImageRegions(name, np.zeros((1, 2), "f4"), np.array([[0, 0, 1, 1]], "f4")))
        store = writer.finish()
    ids = torch.ones(200, 3, dtype=torch.int64)
    inputs = StoredInputs(ids, ids.bool(), torch.arange(200), store)
    other = inputs.shuffle_regions().rows
    assert sorted(other.tolist()) == list(range(200)) and (other != inputs.rows).all()
    assert 0.35 < ((other >= 100) == (inputs.rows >= 100)).float().mean() < 0.65


def test_regions_held_on_a_device_are_those_of_the_store(data: Path) -> None:
    task = load("vsr-random", features=synthetic(data, "held", 1.0))
    inputs = task.train.inputs
    assert isinstance(inputs, StoredInputs)
    held = inputs.hold("cpu")
    assert len(held.features) == len(inputs.rows.unique()) <= len(inputs)
    assert inputs.held_bytes() == 4 * (held.features.numel() + held.boxes.numel())
    index = torch.tensor([5, 0, len(inputs) - 1, 5])
    for part in (index, slice(3)):
        for one, other in zip(
            vars(inputs.take(part)).values(), vars(held.take(part)).values(), strict=True
        ):
            assert torch.equal(one, other)
    assert torch.equal(held.lengths(), inputs.lengths())
    assert isinstance(inputs.to("cpu"), StoredInputs), "a processor reads the disk's pages"


def test_other_regions_are_another_task(data: Path) -> None:
    names = [synthetic(data, name, share) for name, share in (("follow", 1.0), ("half", 0.5))]
    keys = {task_key(load("vsr-random", features=name)) for name in names}
    keys.add(task_key(show_regions(load("vsr-random", features="half"), "shuffled")))
    keys.add(task_key(load("vsr-random")))
    assert len(keys) == 4


def test_images_without_regions_are_listed(data: Path) -> None:
    with pytest.raises(FeatureError, match=r"has no regions of \d+ images: 0000"):
        load("vsr-zeroshot", features=_partial(data))
    with pytest.raises(FeatureError, match="no store of region features"):
        load("vsr-random", features="nothing")


def _partial(data: Path) -> str:
    parts = published.PUBLISHED["vsr-random"].read(data)
    table = pd.DataFrame({"item": ["elsewhere"], "relation": ["under"], "label": [1]})
    assert "elsewhere" not in set(parts["train"]["item"])
    if not (data / "features" / "partial").exists():
        follow_captions(table, data / "features" / "partial", share=1)
    return "partial"


# -- studies ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task": "digits", "features": "x"}, "features: digits makes its own regions"),
        ({"task": "vsr-random"}, "regions: vsr-random has none without a store of features"),
        ({"task": "vsr-random", "regions": "none"}, "start: the shipped starts know the words of"),
        (
            {"task": "open-i", "regions": "none", "start": "random", "data_seed": 1},
            "data_seed: open-i is not made from a seed",
        ),
        (
            {"checkpoint": "x.pth", "start": "random"},
            "checkpoint: has no meaning with start 'random'",
        ),
        ({"task": "vsr"}, "unknown task 'vsr' .*vsr-v1-random"),
    ],
)
def test_studies_that_make_no_sense(values: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        Study.build(values)


def test_the_names_of_earlier_studies_stay() -> None:
    assert Study.build(task="digits").hash == Study.build(task="digits", features=None).hash
    assert set(TASKS) - set(EMBEDDED) == set(published.NAMES)


@pytest.mark.parametrize("model", ["visualbert", "lxmert", "uniter"])
def test_a_blind_study_runs_and_goes_on(data: Path, model: str, tmp_path: Path) -> None:
    study = Study.build(
        task="open-i", model=model, regions="none", start="random", levels=1, epochs=1
    )
    store = RecordStore(tmp_path)
    name = lottery.run(study, 0, store)
    predictions = store.table("predictions", [name])
    assert set(predictions["decision"]) == set(FINDINGS)
    assert lottery.run(study, 0, store) == name


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("LTHLIB_SHARED"), reason="LTHLIB_SHARED is not set")
def test_boxes_that_follow_real_captions_are_learned(tmp_path: Path) -> None:
    """90 % of items follow: at best 95 %, and a blind model learns nothing of it."""
    shared = Path(os.environ["LTHLIB_SHARED"])
    (tmp_path / "vsr").symlink_to(shared / "data" / "vsr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTHLIB_DATA", str(tmp_path))
        patch.setattr(corpora, "VSR_ITEMS", PUBLISHED_COUNTS)
        parts = published.PUBLISHED["vsr-random"].read(tmp_path)
        follow_captions(pd.concat(parts.values()), tmp_path / "features" / "follow", share=0.9)
        recipe = {"task": "vsr-random", "model": "uniter", "start": "random", "levels": 0}
        recipe |= {"features": "follow", "epochs": 5}
        found = {}
        for regions in ("shown", "none"):
            study = Study.build(recipe, regions=regions)
            store = RecordStore(tmp_path / "records")
            made = store.table("predictions", [lottery.run(study, 0, store)])
            found[regions] = (made["label"] == made["prediction"]).mean()
    assert 0.92 < found["shown"] < 0.965
    assert 0.42 < found["none"] < 0.58


# -- checkpoints ------------------------------------------------------------------------------
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "is", "under", "left", "of", "be"]
WORDS += ["##hind", ".", *NOUNS]


@pytest.fixture
def small_bert(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vocabulary of a few pieces in the place of BERT's; returns the folder of checkpoints."""
    for model, of in wordpieces.OF_MODEL.items():
        small = dataclasses.replace(of, size=len(WORDS))
        monkeypatch.setitem(wordpieces.OF_MODEL, model, small)
        path = data / "bert" / f"{of.name}-vocab.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(WORDS) + "\n")
    (data / "checkpoints").mkdir(exist_ok=True)
    return data / "checkpoints"


def test_texts_become_the_pieces_that_a_checkpoint_knows(data: Path, small_bert: Path) -> None:
    pieces = wordpieces.WordPieces("lxmert", data)
    ids = pieces.encode(["The cat is behind the zebra."], 12)[0]
    assert [WORDS[i] for i in ids] == [
        *("[CLS]", "the", "cat", "is", "be", "##hind", "the", "[UNK]", ".", "[SEP]"),
        *("[PAD]", "[PAD]"),
    ]
    assert [WORDS[i] for i in pieces.encode(["the " * 20], 5)[0]][-1] == "[SEP]"
    cased = wordpieces.WordPieces("uniter", data).encode(["The cat"], 4)[0]
    assert [WORDS[i] for i in cased] == ["[CLS]", "[UNK]", "cat", "[SEP]"]


def test_another_vocabulary_is_refused(data: Path, small_bert: Path) -> None:
    (data / "bert" / "uncased-vocab.txt").write_text("[CLS]\nword\n")
    with pytest.raises(TaskError, match=r"has 2 lines where BERT's uncased vocabulary has 18"):
        wordpieces.WordPieces("visualbert", data)


def test_a_study_starts_from_a_checkpoint(data: Path, small_bert: Path, tmp_path: Path) -> None:
    made = build(
        "lxmert", size="tiny", vocabulary_size=len(WORDS), feature_dim=1, outputs=2, seed=5
    )
    names = {k: f"module.bert.{k.removeprefix('backbone.')}" for k in made.state_dict()}
    weights = {names[k]: v for k, v in made.state_dict().items() if "head." not in k}
    torch.save(weights | {"module.cls.predictions.bias": torch.zeros(3)}, small_bert / "model.pth")
    study = Study.build(
        task="vsr-random",
        model="lxmert",
        regions="none",
        checkpoint="model.pth",
        levels=0,
        epochs=1,
    )
    told: list[str] = []
    lab = lottery.Lab(study, 0, progress=told.append)
    start = lab.theta_0
    assert all(torch.equal(start[k], v) for k, v in made.state_dict().items() if "head." not in k)
    assert told == [
        f"model.pth: {len(weights)} tensors loaded; new: head.bias, head.weight; "
        "left out: module.cls.predictions.bias"
    ]
    store = RecordStore(tmp_path)
    name = lottery.run(study, 0, store)
    identity = store.study(name)["identity"]
    assert identity["start weights"] == file_sha256(small_bert / "model.pth")
    weights["module.bert.pooler.dense.bias"] += 1
    torch.save(weights, small_bert / "model.pth")
    with pytest.raises(RecordError, match="start weights"):
        lottery.run(study, 0, store)


def test_a_checkpoint_that_is_not_there(data: Path, small_bert: Path, monkeypatch: Any) -> None:
    recipe = {"task": "vsr-random", "model": "lxmert", "regions": "none"}
    with pytest.raises(WeightsError, match=r"there is no checkpoint .*put it there"):
        lottery.Lab(Study.build(recipe, checkpoint="nothing.pth"), 0)

    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("the network is unreachable")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"unc-nlp/x cannot be fetched .*put it at .*unc-nlp/x"):
        lottery.Lab(Study.build(recipe, checkpoint="unc-nlp/x"), 0)


# -- the command line -------------------------------------------------------------------------
def test_features_on_the_command_line(data: Path, tmp_path: Path, capsys: Any) -> None:
    from lthlib.workflow.cli import main

    draw = np.random.default_rng(1)
    images = [f"{i:012d}.jpg" for i in range(12)]
    corner = draw.uniform(0, 0.5, (12, 2, 2))
    path = tmp_path / "regions.npz"
    np.savez(
        path,
        images=np.array(images),
        features=draw.normal(size=(12, 2, 3)).astype(np.float32),
        boxes=np.concatenate([corner, corner + 0.3], axis=-1),
    )
    imported = ["features", "import", "mine", str(path), "--format", "npz", "--extractor", "X101"]
    assert main(imported) == 0
    assert "12 images, 2 regions of 3 features, extractor: X101" in capsys.readouterr().out
    assert main(["features", "check", "mine", "--task", "vsr-random"]) == 0
    assert "regions for every item of vsr-random" in capsys.readouterr().out
    assert main(imported) == 1
    assert "holds a finished store" in capsys.readouterr().err
    assert main(["features", "import", "other"]) == 1
    assert "give --format and what to import" in capsys.readouterr().err
    assert main(["features", "check", "nothing"]) == 1
    assert main(["features", "check", "mine", "--task", "open-i"]) == 1
    assert "has no regions of 70 images" in capsys.readouterr().err


def test_data_on_the_command_line(data: Path, capsys: Any) -> None:
    from lthlib.workflow.cli import main

    assert main(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert "vsr: complete" in said and "open-i: complete" in said and "Apache-2.0" in said
    assert main(["data", "get", "vsr"]) == 1
    assert "not the published file" in capsys.readouterr().err
