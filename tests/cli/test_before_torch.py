"""What is answered at once: commands that need no torch, and mistakes, which are told before anything large is imported or fetched."""

import json
import subprocess
import sys

import pytest
from PIL import Image

ANSWERED = (
    "--version",
    "list",
    "list --json",
    "list --weights",
    "describe inception_resnet_v2",
    "draw inception_v4 --output x.svg",
    "recipes",
    "recipes --json",
    "study list",
    "study list --json",
    "train --help",
    "predict -h",
    "serve -h",
)
MISTAKES = {
    "describe inception_v33": "did you mean inception_v3",
    "train digits --model xceptoin": "did you mean xception",
    "train digits --recipe quik": "did you mean quick",
    "train digits --precision float8": "'float8' is not one of 'auto', 'float32', 'bfloat16'",
    "train '' --epochs 1": "DATA or --data DATA, once",  # the digits, where a variable of the shell's isn't set
    "train digits --batch-size auto --set ' batch_size = 8'": "leave one of them out",
    "study modlues --data digits": "did you mean modules",
    "evaluate nothing --data digits --protocol tim": "'tim' is not one of 'model', 'tensorflow', 'torchvision', 'timm', 'caffe'",
    "evaluate nothing --data digits --crops 7": "give 1, 2, 6, 10, 12 or 144",
    "evaluate nothing --data digits --part tset": "'tset' is not one of",
    "evaluate nothing --model nothing --data digits": "MODEL... or --model MODEL, once",
    "predict nothing.png --model nothing": "no such file or folder",
    "predict --model nothing": "IMAGES or --data IMAGES, once",
    "benchmark nothing --data here --photos 5": "leave out one of the two",
    "predict here --model nothing --on-error ignore": "'ignore' is not one of 'fail', 'skip'",
    "predict here --model nothing --output here": "here is a folder; give a file",
    "predict here --model nothing --output here/image.png/x.csv": "can't write",
    "convert here/image.png --from tensorflow --output m": "'tensorflow' is not one of 'torchvision'",
    "convert here/image.png --model xceptoin --output m": "did you mean xception",
    "convert here/image.png --to caffe --output m": "'caffe' is not one of 'torchvision', 'timm', 'keras'",
    "compare one": "two run folders",
    "serve": "Missing argument 'MODEL...'",
    "serve nothing": "nothing is not a model folder",
    "serve inception_small.cifar10 inception_small.cifar10": "two models are called 'inception_small.cifar10'",
    "serve inception_small.cifar10 --queue-images 3": "more than queue_images, 3",
    "explain nothing.png --model nothing": "no such file",
    "explain --model nothing": "IMAGES or --data IMAGES, once",
    "explain here --model nothing --method magic": "'magic' is not one of 'gradcam', 'integrated-gradients', 'smoothgrad', 'occlusion'",
    "visualize inception_v3 --stage 5b": "inception_v3 is a network and has no weights, so that it answers to nothing; give a tag such as",
    "visualize inception_v1 --stage 5b": "or the model folder of a run",
    "visualize --stage 5b": "MODEL or --model MODEL, once",
    "dream nothing.png --model nothing --stage 5b": "no such file; give a photo",
    "dream here/image.png --model xception --stage 5b --output here/image.png": "exists already",
}
PROGRAM = """
import contextlib, io, json, shlex, sys, traceback
from inceptions.cli import main

sys.modules["torch"] = None  # importing it is an error
found = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["inceptions", *shlex.split(line)]
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        except ImportError:
            code = 1
            traceback.print_exc()
    found[line] = (code, err.getvalue())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one process answers to all of these: exit code and standard error; torch can't be imported in it."""
    folder = tmp_path_factory.mktemp("before_torch")
    (folder / "here").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "here" / "image.png")
    lines = json.dumps([*ANSWERED, *MISTAKES])
    done = subprocess.run([sys.executable, "-c", PROGRAM, lines], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", ANSWERED)
def test_it_is_answered_without_torch(answers, line):
    code, err = answers[line]
    assert code == 0, err


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_before_torch_is_imported(answers, line):
    code, err = answers[line]
    assert code == 2, err
    assert MISTAKES[line] in " ".join(err.split())
    assert "Traceback" not in err
