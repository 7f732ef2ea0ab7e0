"""Published data: what there is, where it comes from, and how it is fetched and checked.

Every file of a data set is fetched over HTTPS from where its authors keep it, goes on where an
earlier call stopped, may not be larger than it should be, and is kept only when its SHA-256 is the
known one. Whoever has the files already puts them where `lth data list` says. A file whose SHA-256
nobody published is not fetched: it is put in place by hand, and its content is checked when read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lthlib.errors import TaskError, in_one_line, unknown
from lthlib.lab import corpora, pictures, vqa
from lthlib.lab.archives import unpack
from lthlib.records import file_sha256

SCHEMES = ("https",)
SPARE = 2**20
"""Bytes that a server may send beyond a file's size before it is stopped."""
TIMEOUT = 30  # seconds without a byte
CHUNK = 2**18
_GITHUB = "https://raw.githubusercontent.com"
Say = Callable[[str], None]


@dataclass(frozen=True)
class RemoteFile:
    """One file: where it lies in a data folder, where it comes from, its SHA-256 and size.

    sha256: empty where nobody published one; unpacks_to: folder that a .tar.gz is unpacked into;
    instead: what does as well where it lies there already, since it was unpacked from the file.
    """

    path: str
    url: str
    sha256: str = ""
    size: int = 0
    unpacks_to: str = ""
    instead: str = ""

    def is_in(self, folder: Path) -> bool:
        """Whether a data folder holds what tasks read of this file."""
        unpacked = bool(self.instead) and (folder / self.instead).is_file()
        return unpacked or (not self.unpacks_to and (folder / self.path).is_file())


MOST_UNPACKED = 2 * 2**30
"""Bytes that an archive may unpack to: CUB's images take 1.2 GB."""


@dataclass(frozen=True)
class DataSet:
    """Files that belong together, what they are, and under which terms they are given."""

    about: str
    licence: str
    files: tuple[RemoteFile, ...]


def _vsr(version: str, commit: str, files: dict[tuple[str, str], tuple[str, int]]) -> DataSet:
    root = f"{_GITHUB}/cambridgeltl/visual-spatial-reasoning/{commit}/data/splits"
    return DataSet(
        f"Visual Spatial Reasoning, {'first preprint' if version == 'v1' else 'camera-ready'}: "
        "captions and labels (Liu and others 2023)",
        "Apache-2.0; the images are COCO's, which have terms of their own",
        tuple(
            RemoteFile(
                corpora.vsr_file(version, split, part).as_posix(),
                f"{root}/{split}/{part}.jsonl",
                digest,
                size,
            )
            for (split, part), (digest, size) in files.items()
        ),
    )


def _vqa(part: str, what: str, digest: str, size: int) -> RemoteFile:
    about = vqa.PARTS["vqa-v2"][part]
    path = about.questions if what == "questions" else about.annotations
    name = Path(path).name
    return RemoteFile(
        path,
        f"https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/{name}",
        digest,
        size,
        instead=Path(path).with_name(vqa.UNPACKED[name]).as_posix(),
    )


def _mnist(part: str, what: str, digest: str, size: int) -> RemoteFile:
    path = pictures.mnist_file(part, what)
    url = f"https://ossci-datasets.s3.amazonaws.com/mnist/{path.name}"
    return RemoteFile(path.as_posix(), url, digest, size)


def _cifar(name: str, digest: str, size: int) -> DataSet:
    path = pictures.cifar_file(name)
    url = f"https://www.cs.toronto.edu/~kriz/{path.name}"
    return DataSet(
        f"{name.upper()} (Krizhevsky 2009): 60,000 images of 32 by 32, as binary files",
        "none is stated; its author asks to cite the report",
        (RemoteFile(path.as_posix(), url, digest, size),),
    )


DATA_SETS: dict[str, DataSet] = {
    "vsr": _vsr(
        "current",
        "b27a0af0ee1462d2b6b92c8c83e869d9254a241a",
        {
            ("random", "train"): (
                "8b725a8621f2d0f94745f1fefdcf3ff8a7eb96fd358676296ff9c9a4ff463c6e",
                2362151,
            ),
            ("random", "dev"): (
                "90de24b811597a913310d043758f1119a1ba9ebf1b1ca8f1e27c4907f01980d4",
                338049,
            ),
            ("random", "test"): (
                "8ade82a0b93ac9dc1e53f6cf1f11e9d5536776a3715102b6b4d27d4f81d551cc",
                674712,
            ),
            ("zeroshot", "train"): (
                "62daf2c5d573667038f88feaf1d26a1154c892083a72d83ed5c7551666ed3066",
                1114884,
            ),
            ("zeroshot", "dev"): (
                "0abda42fe9333ab6a8671b32886738b5cfa6d37a8c277b56d8368c339c8dffce",
                107245,
            ),
            ("zeroshot", "test"): (
                "914d9156723b912d8f794b179248af865a68c5f81c9d8e3a21d007778cacaad4",
                380380,
            ),
        },
    ),
    "vsr-v1": _vsr(
        "v1",
        "b1cf884d93a806a8d1e33d3d9696697969c5a41f",
        {
            ("random", "train"): (
                "0adee826063a120b54458bf8558290221712f3e5492bcf8bfdbae77f4f05a798",
                1954531,
            ),
            ("random", "dev"): (
                "310fc1a0e563845b0ce6b0e567b89842e6dbd57203ecc0d4831c2746b4a44a4f",
                279402,
            ),
            ("random", "test"): (
                "1a2f89c054558eaa54986e27336e44ae1e2a0dd1208a9de6e724a37eabd58565",
                558777,
            ),
            ("zeroshot", "train"): (
                "075a56812ac5a4082f206add46ee03f19feb151af7e3313470a694a3c8bedf8d",
                1692089,
            ),
            ("zeroshot", "dev"): (
                "68f6a1cb663e87d7cd42d5859e5d868303990aec4a10a6ef58a56204171db9ee",
                80710,
            ),
            ("zeroshot", "test"): (
                "a2a4194a87ac42052ca9fe915f2064a9c696f54260c0aed7f24b7149511a40fd",
                228711,
            ),
        },
    ),
    "open-i": DataSet(
        "Open-I (Indiana University): chest X-ray reports with labels for 14 findings, split as "
        "by Li and others (2020)",
        "CC BY-NC-ND 4.0: not to be passed on changed, nor for profit",
        (
            RemoteFile(
                corpora.OPENI_FILE.as_posix(),
                f"{_GITHUB}/masoud-monajati/BERTHop/3fd30761c2f70208f1591f8e140b8e461ab6a26e"
                "/data/openIdf.csv",
                "30cab764f41126b7ffce961f05bd032d8c5f5631334c8c1084676e19e6562654",
                1138211,
            ),
        ),
    ),
    "vqa-v2": DataSet(
        "VQA v2 (Goyal and others 2017): questions and ten answers each, train and val of 2014",
        "CC BY 4.0; the images are COCO's, which have terms of their own",
        (
            _vqa(
                "train",
                "questions",
                "05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e",
                7239401,
            ),
            _vqa(
                "train",
                "annotations",
                "fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853",
                21708861,
            ),
            _vqa(
                "test",
                "questions",
                "e71f6c5c3e97a51d050f28243e262b28cd0c48d11a6b4632d769d30d3f93222a",
                3494929,
            ),
            _vqa(
                "test",
                "annotations",
                "0caae7c8d1dafd852727f5ac046bc1efca9b72026bd6ffa34fc489f3a7b3291e",
                10518930,
            ),
        ),
    ),
    "vqa-cp-v2": DataSet(
        "VQA-CP v2 (Agrawal and others 2018): VQA v2's questions, split anew by answers",
        "that of VQA v2",
        tuple(
            RemoteFile(path, f"https://computing.ece.vt.edu/~aish/vqacp/{Path(path).name}")
            for part in vqa.PARTS["vqa-cp-v2"].values()
            for path in (part.questions, part.annotations)
        ),
    ),
    "mnist": DataSet(
        "MNIST (LeCun and others 1998): 70,000 handwritten digits of 28 by 28",
        "CC BY-SA 3.0",
        (
            _mnist(
                "train",
                "images-idx3",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                9912422,
            ),
            _mnist(
                "train",
                "labels-idx1",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                28881,
            ),
            _mnist(
                "t10k",
                "images-idx3",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1648877,
            ),
            _mnist(
                "t10k",
                "labels-idx1",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4542,
            ),
        ),
    ),
    "cifar-10": _cifar(
        "cifar-10", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170052171
    ),
    "cifar-100": _cifar(
        "cifar-100", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", 168513733
    ),
    "cub": DataSet(
        "CUB-200-2011 (Wah and others 2011): 11,788 birds with parts and attributes",
        "for research and teaching, not for profit",
        (
            RemoteFile(
                "archives/CUB_200_2011.tgz",
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
                "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                1150585339,
                unpacks_to="cub",
                instead=(pictures.CUB_FOLDER / "images.txt").as_posix(),
            ),
        ),
    ),
}


def get(name: str, folder: Path, *, say: Say = print, progress: bool = True) -> list[Path]:
    """Fetch what is missing of a data set into a data folder; returns where its files lie.

    A file that is there is checked, not fetched again. Raises TaskError for an unknown data set, a
    file that cannot be fetched (with all that is needed to fetch it by hand), and one whose content
    is another; nothing half fetched lies under a file's own name.
    """
    if name not in DATA_SETS:
        raise TaskError(unknown("data set", name, DATA_SETS))
    found = DATA_SETS[name]
    say(f"{name}: {found.about}. Licence: {found.licence}.")
    _refuse_unknown(name, found, folder)
    paths = []
    for file in found.files:
        path = folder / file.path
        if path.is_file() or not file.is_in(folder):
            path = _fetched(file, folder, progress)
        else:
            say(f"{name}: {file.instead} is there, and does as well; it is checked when it is read")
        if file.unpacks_to and not file.is_in(folder):
            say(f"{name}: unpacking {path.name}")
            unpack(path, folder / file.unpacks_to, most_bytes=MOST_UNPACKED)
        paths.append(path if path.is_file() else folder / file.instead)
    known = all(file.sha256 for file in found.files)
    checked = "with the SHA-256 they should have" if known else "checked when they are read"
    say(f"{name}: {len(paths)} files are in {folder}, {checked}")
    return paths


def _refuse_unknown(name: str, found: DataSet, folder: Path) -> None:
    """Raise TaskError for files that are missing and whose content nobody could check."""
    missing = [f for f in found.files if not f.sha256 and not (folder / f.path).is_file()]
    if missing:
        urls = ", ".join(file.url for file in missing)
        raise TaskError(
            f"{name}: nobody published the SHA-256 of {urls}, so they are not fetched: get them by "
            f"hand and put them into {(folder / missing[0].path).parent}; their content is "
            "checked when they are read"
        )


def state(name: str, folder: Path) -> str:
    """Whether a data folder holds a data set: complete, partly, or not there. Nothing is read."""
    held = sum(file.is_in(folder) for file in DATA_SETS[name].files)
    every = len(DATA_SETS[name].files)
    return "complete" if held == every else f"{held} of {every} files" if held else "not there"


def _fetched(file: RemoteFile, folder: Path, progress: bool) -> Path:
    import pooch

    path = folder / file.path
    if path.is_file():
        if file.sha256 and file_sha256(path) != file.sha256:
            raise TaskError(
                f"{path} is not the published file (SHA-256 {file_sha256(path)[:12]}..., published "
                f"{file.sha256[:12]}...): remove it, and it is fetched again"
            )
        return path
    part = path.with_name(path.name + ".part")
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            file.url,
            f"sha256:{file.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=_Resuming(part, file.size, progress),
        )
    except ValueError:  # pooch's word for another digest
        part.unlink(missing_ok=True)
        raise _by_hand(file, path, "what was sent is another file") from None
    except OSError as error:  # requests' errors are OSErrors too
        raise _by_hand(file, path, _reason(error)) from None
    part.unlink(missing_ok=True)
    return path


def _by_hand(file: RemoteFile, path: Path, reason: str) -> TaskError:
    return TaskError(
        f"{file.url} cannot be fetched ({reason}); get it elsewhere and put it at {path}, "
        f"{file.size:,} bytes with SHA-256 {file.sha256}; what was fetched so far is kept"
    )


def _reason(error: OSError) -> str:
    return error.strerror or in_one_line(error)[:120]


class _Resuming:
    """A downloader for pooch that keeps what it got, asks for the rest, and stops at the size."""

    def __init__(self, part: Path, size: int, progress: bool) -> None:
        self.part, self.size, self.progress = part, size, progress

    def __call__(self, url: str, output_file: str | os.PathLike[str], _: object) -> None:
        """Raises OSError where the server cannot be reached or sends more than it should."""
        import requests
        from tqdm import tqdm

        got = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={got}-"} if got else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code != 416:  # there is no rest to send
                answer.raise_for_status()
                self._only_https(answer.url)
                got = got if answer.status_code == 206 else 0
                with (
                    self.part.open("ab" if got else "wb") as file,
                    tqdm(
                        total=self.size, initial=got, unit="B", unit_scale=True,
                        desc=self.part.stem, disable=not self.progress,
                    ) as bar,
                ):  # fmt: skip
                    for chunk in answer.iter_content(CHUNK):
                        got += len(chunk)
                        if got > self.size + SPARE:
                            raise OSError(f"it is larger than the {self.size:,} bytes it has")
                        file.write(chunk)
                        bar.update(len(chunk))
        shutil.copyfile(self.part, output_file)

    @staticmethod
    def _only_https(url: str) -> None:
        if urlsplit(url).scheme not in SCHEMES:
            raise OSError(f"it leads to {url}, which is not {' or '.join(SCHEMES)}")
