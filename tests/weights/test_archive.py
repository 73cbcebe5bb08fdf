import gzip
import io
import random
import re
import tarfile
import zipfile

import pytest

from inceptions.errors import UserError, WeightsError
from inceptions.weights import archive as unpacking
from inceptions.weights.archive import unpack

BODY = random.Random(0).randbytes(100_000)


def write_tar(path, *members, mode="w:gz"):
    """Write a tar of (TarInfo or name, content) pairs."""
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def huge(path):
    """A tar that claims a member of 1 TB."""
    info = tarfile.TarInfo("model.ckpt")
    info.size = 1 << 40
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1024)))
    return path


def encrypted(path):
    data = bytearray(write_zip(path, ("model.ckpt", b"secret")).read_bytes())
    data[6] |= 1  # the flag in the file's own header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory's
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_the_wanted_files_of_an_archive_lose_their_folders(tmp_path, write):
    members = (("old/model.ckpt.index", b"index"), ("old/model.ckpt.data-00000-of-00001", b"data"), ("old/graph.pb", b"graph"))
    archive = write(tmp_path / "a", *members)
    paths = unpack(archive, member="*.ckpt*")
    assert [(path.name, path.read_bytes()) for path in paths] == [
        ("model.ckpt.data-00000-of-00001", b"data"),
        ("model.ckpt.index", b"index"),
    ]
    archive.write_bytes(b"")
    assert unpack(archive, member="*.ckpt*") == paths
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.files"}


HOSTILE = {
    "a name that climbs out": lambda path: write_tar(path, ("../../evil.ckpt", b"x")),
    "a name that climbs out, not even wanted": lambda path: write_tar(path, ("../../evil", b"x"), ("model.ckpt", b"x")),
    "a link to an absolute path": lambda path: write_tar(path, (special("a.ckpt", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a link that climbs out": lambda path: write_tar(path, (special("a.ckpt", tarfile.SYMTYPE, "../../x"), b"")),
    "a link to another member": lambda path: write_tar(path, ("b", b"x"), (special("a.ckpt", tarfile.SYMTYPE, "b"), b"")),
    "a hard link": lambda path: write_tar(path, (special("a.ckpt", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "a device": lambda path: write_tar(path, (special("a.ckpt", tarfile.CHRTYPE), b"")),
    "a pipe": lambda path: write_tar(path, (special("a.ckpt", tarfile.FIFOTYPE), b"")),
    "a member of 1 TB": huge,
    "a bomb": lambda path: write_tar(path, ("model.ckpt", bytes(2_000_000))),
    "a bomb beside what is wanted": lambda path: write_tar(path, ("padding", bytes(2_000_000)), ("model.ckpt", b"x")),
    "thousands of members": lambda path: write_tar(path, *((f"{number}.ckpt", b"") for number in range(1001))),
    "one name twice": lambda path: write_tar(path, ("a/model.ckpt", b"x"), ("b/model.ckpt", b"y")),
    "nothing that is wanted": lambda path: write_tar(path, ("graph.pb", b"x")),
    "a folder only": lambda path: write_tar(path, (special("model.ckpt", tarfile.DIRTYPE), b"")),
    "half a tar": lambda path: path.write_bytes(write_tar(path, ("model.ckpt", BODY)).read_bytes()[:50_000]),
    "a tar with a byte changed": lambda path: path.write_bytes(write_tar(path, ("model.ckpt", BODY[:1000])).read_bytes()[:-8] + bytes(8)),
    "a tar with a tail": lambda path: path.write_bytes(
        gzip.compress(gzip.decompress(write_tar(path, ("a.ckpt", b"x")).read_bytes()) + bytes(1 << 20))
    ),
    "no archive": lambda path: path.write_bytes(BODY[:1000]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a zip name that climbs out": lambda path: write_zip(path, ("../../evil.ckpt", b"x")),
    "a zip bomb": lambda path: write_zip(path, ("model.ckpt", bytes(2_000_000))),
    "an encrypted zip": encrypted,
    "half a zip": lambda path: path.write_bytes(write_zip(path, ("model.ckpt", b"x" * 1000)).read_bytes()[:-30]),
    "a zip with a byte changed": lambda path: path.write_bytes(
        write_zip(path, ("model.ckpt", BODY[:1000])).read_bytes().replace(BODY[:9], b"?" * 9)
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path, kind):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    archive = folder / "a.tar.gz"
    HOSTILE[kind](archive)
    with pytest.raises(WeightsError, match=re.escape(str(archive))):
        unpack(archive, member="*.ckpt*", size_limit=1_000_000)
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er", "a.tar.gz"}


def test_a_full_disk_while_unpacking_is_told(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "a.tar.gz", ("model.ckpt", b"x"))

    def fill(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking.shutil, "copyfileobj", fill)
    with pytest.raises(UserError, match=r"a\.tar\.gz\.files: No space left on device; free some space"):
        unpack(archive, member="*.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_who_unpacks_second_takes_what_the_first_unpacked(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "a.tar.gz", ("model.ckpt", b"x"))
    work = unpacking._unpack_into

    def lose_the_race(folder, *arguments):
        work(folder, *arguments)
        monkeypatch.setattr(unpacking, "_unpack_into", work)
        unpack(archive, member="*.ckpt")

    monkeypatch.setattr(unpacking, "_unpack_into", lose_the_race)
    assert [path.read_bytes() for path in unpack(archive, member="*.ckpt")] == [b"x"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "a.tar.gz.files"}
