"""What can be had after `import inceptions`: the names in the stub of each package, none of them imported before it is asked for."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import inceptions

ROOT = Path(inceptions.__file__).parent
STUBS = {stub.parent.relative_to(ROOT.parent).as_posix().replace("/", "."): stub for stub in ROOT.rglob("__init__.pyi")}
ROOMS = sorted(folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").is_file() and folder.name != "cli")


def names_in(stub: Path) -> list[tuple[str, str]]:
    imports = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    return [(node.module or "", alias.name) for node in imports for alias in node.names]


def test_every_room_tells_its_public_names():
    assert set(STUBS) == {"inceptions", *(f"inceptions.{room}" for room in ROOMS)}
    assert set(ROOMS) <= set(dir(inceptions))


@pytest.mark.parametrize("package", STUBS)
def test_every_public_name_is_what_its_module_has(package):
    module = import_module(package)
    for home, name in names_in(STUBS[package]):
        where = import_module(f"{package}.{home}") if home else module
        assert getattr(module, name) is getattr(where, name)
        assert name in dir(module)


@pytest.mark.parametrize("package", STUBS)
def test_no_public_name_hides_a_module(package):
    """`inceptions.evaluation.crops` is the module, whatever was imported before; a function of that name would depend on it."""
    module = import_module(package)
    modules = {path.stem for path in Path(str(module.__file__)).parent.iterdir() if path.suffix in ("", ".py")}
    assert not {name for home, name in names_in(STUBS[package]) if home and name in modules}


@pytest.mark.parametrize("package", STUBS)
def test_a_name_that_is_none_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = import_module(package).nothing_such


def test_import_brings_no_torch_and_names_as_people_expect_them_resolve():
    code = """
import sys, inceptions
heavy = {"torch", "numpy", "PIL", "rich"} & set(sys.modules)
assert not heavy, heavy
inceptions.list_models(); inceptions.get_network("googlenet")
from inceptions.inference import Answers, Engine, Prediction, iterate_predictions, open_engine
from inceptions.weights import find_model, read_card
assert "torch" not in sys.modules
names = "weights.import_tensors evaluation.multi_crop training.fit inference.export_model data.load_splits networks.Classifier"
for name in names.split():
    value = inceptions
    for part in name.split("."):
        value = getattr(value, part)
    assert callable(value), name
"""
    subprocess.run([sys.executable, "-c", code], check=True)
