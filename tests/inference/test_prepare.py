"""`python -m bot prepare` against a hub of our own that has the tiny models."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from diffusers import FluxTransformer2DModel
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from bot.inference.prepare import Preparation, delete_originals
from bot.inference.progress import show_progress
from bot.inference.protocol import WorkerOptions
from bot.inference.store import Source
from bot.inference.tools import FAMILIES
from tests.hub import COMMIT, Hub, serve_hub

TINY = FAMILIES["tiny"].folder
assert TINY is not None

PAINT = """
import sys
from pathlib import Path
from bot.inference.protocol import WorkerOptions
from bot.inference.requests import text_to_image
from bot.inference.tools import FAMILIES
from bot.inference.worker import build_engine

options = WorkerOptions(family="flux", device="cpu", store_folder=Path(sys.argv[1]))
size = {"size": "small square", "steps": 1, "quantization": sys.argv[2]}
request = text_to_image(FAMILIES["flux"], model="schnell", prompt="a star", seed=1, **size)
result = build_engine(options)[0].run(request)
assert result.fallback_reason is None, result.fallback_reason
print(result.size, result.quantization, result.made_with["revision"])
"""


LOOK = """
import sys
from pathlib import Path
from PIL import Image
from bot.inference.classifier import build_classifier
from bot.inference.protocol import WorkerOptions
from bot.inference.segmentation import build_segmenter

picture = Image.new("RGB", (128, 128), "white")
picture.paste("red", (32, 32, 96, 96))
options = WorkerOptions(family="flux", store_folder=Path(sys.argv[1]), classifier=sys.argv[2])
mask = build_segmenter(options).find(picture, "the red square")
(unsafe,) = build_classifier(options).unsafe([picture])
print(mask.getpixel((64, 64)), mask.getpixel((16, 16)), 0 < unsafe < 1)
"""
CLASSIFIER = "Falconsai/nsfw_image_detection"


IMPATIENT = """
import sys
from bot.__main__ import main
from bot.inference import downloads

downloads.WAITS = ()
sys.exit(main(["prepare", "schnell"]))
"""

KILLED_WHILE_IT_STORES = """
import os, signal, sys
from bot.__main__ import main
from bot.inference import store

store._write_json = lambda file, content: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main(["prepare", "schnell"]))
"""


@dataclass(frozen=True)
class Machine:
    """A machine that has nothing yet but the program, and knows one hub."""

    hub: Hub
    home: Path

    @property
    def weights(self) -> Path:
        return self.home / "data" / "weights"

    @property
    def originals(self) -> list[str]:
        """The files of weights in the hub's cache, by repository and folder."""
        found = (self.home / "hf" / "hub").glob("models--*/snapshots/*/*/*.safetensors")
        return sorted(f"{f.parts[-5].rpartition('--')[2]}/{f.parts[-2]}" for f in found)

    @property
    def unfinished(self) -> list[int]:
        """The bytes that have arrived of each file that is not whole yet."""
        found = (self.home / "hf" / "hub").glob("models--*/blobs/*.incomplete")
        return [file.stat().st_size for file in found]

    async def start(self, *arguments: str, offline: bool = False) -> Process:
        """Start Python; what it prints comes by one pipe."""
        environment = os.environ | {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
            "FLUX_MODELS": "flux",
            "DEVICE": "cpu",
            "DATA_DIR": str(self.home / "data"),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # as a terminal starts it, whoever started the tests
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    async def run(self, *arguments: str, offline: bool = False) -> tuple[int, str]:
        """Run Python and return the exit code, and what was printed."""
        return await finish(await self.start(*arguments, offline=offline))

    async def prepare(self, *arguments: str) -> tuple[int, str]:
        return await self.run("-m", "bot", "prepare", *arguments)


async def finish(process: Process) -> tuple[int, str]:
    """Wait for the end of a process and return its exit code, and what was printed."""
    output, _ = await asyncio.wait_for(process.communicate(), timeout=120)
    assert process.returncode is not None
    return process.returncode, output.decode()


def serve_in_shards(folder: Path) -> None:
    """Write schnell into a folder, its transformer in several files, as the full one is."""
    schnell = folder / "FLUX.1-schnell"
    shutil.copytree(Path(TINY) / "FLUX.1-schnell", schnell)
    transformer = FluxTransformer2DModel.from_pretrained(schnell / "transformer")
    shutil.rmtree(schnell / "transformer")
    transformer.save_pretrained(schnell / "transformer", max_shard_size="2MB")


def serve_classifier(folder: Path) -> None:
    """Write a classifier into a folder, which has learnt nothing yet."""
    labels = {"id2label": {0: "normal", 1: "NSFW"}, "label2id": {"normal": 0, "NSFW": 1}}
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(image_size=32, patch_size=8, intermediate_size=64, **size, **labels)
    ViTForImageClassification(config).save_pretrained(folder / "nsfw_image_detection")
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "nsfw_image_detection")


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with serve_hub(Path(TINY)) as hub:
        yield Machine(hub, tmp_path)


async def test_what_is_prepared_paints_without_hub_and_originals(machine: Machine) -> None:
    code, output = await machine.prepare("schnell")
    assert code == 0, output
    assert "FLUX.1 schnell is ready." in output
    assert "deleted; 8 bits do without them" in output
    assert machine.originals == ["FLUX.1-schnell/text_encoder", "FLUX.1-schnell/vae"]
    machine.hub.sent.clear()
    code, output = await machine.run("-c", PAINT, str(machine.weights), "8-bit", offline=True)
    assert code == 0, output
    assert output.splitlines()[-1] == f"(512, 512) 8-bit {COMMIT}"
    code, output = await machine.prepare("schnell")
    assert code == 0, output
    assert machine.hub.sent == []


async def test_with_the_tools_come_the_models_that_look_at_pictures(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.hub.folder = machine.home / "served"
    shutil.copytree(Path(TINY), machine.hub.folder)
    serve_classifier(machine.hub.folder)
    monkeypatch.setenv("CLASSIFIER", CLASSIFIER)
    code, output = await machine.prepare("fill")
    assert code == 0, output
    assert {"clipseg-rd64-refined", "nsfw_image_detection"} <= set(machine.hub.sent)
    code, output = await machine.run("-c", LOOK, str(machine.weights), CLASSIFIER, offline=True)
    assert code == 0, output
    assert output.splitlines()[-1] == "255 0 True"


def test_a_classifier_in_a_folder_is_not_asked_of_the_hub(tmp_path: Path) -> None:
    def read(classifier: str) -> set[str]:
        options = WorkerOptions(
            family="flux", device="cpu", store_folder=tmp_path, classifier=classifier
        )
        work = Preparation(options, ["schnell"], show_progress(), keep_originals=False)
        return set(work.repositories(*work.tools))

    assert read(CLASSIFIER) - read(str(tmp_path)) == {CLASSIFIER}
    assert str(tmp_path) not in read(str(tmp_path))


async def test_originals_stay_for_those_who_want_full_precision(machine: Machine) -> None:
    machine.hub.folder = machine.home / "served"
    serve_in_shards(machine.hub.folder)
    code, output = await machine.prepare("schnell", "--keep-originals")
    assert code == 0, output
    assert machine.originals.count("FLUX.1-schnell/transformer") > 1
    assert "deleted" not in output
    machine.hub.questions.clear()
    code, output = await machine.run("-c", PAINT, str(machine.weights), "None")
    assert code == 0, output
    assert output.splitlines()[-1] == f"(512, 512) None {COMMIT}"
    assert not any("FLUX.1-schnell" in question for question in machine.hub.questions)

    # and what is damaged on the disk is named, and made again of them
    (vae,) = (machine.home / "hf" / "hub").glob("models--*/snapshots/*/vae/*.safetensors")
    (stored,) = machine.weights.glob("*--transformer--*/*.safetensors")
    for file in (vae, stored):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    machine.hub.sent.clear()
    code, output = await machine.prepare("--verify", "schnell")
    assert code == 0, output
    assert (
        "vae/diffusion_pytorch_model.safetensors of black-forest-labs/FLUX.1-schnell is damaged on"
        " the disk, and has to be downloaded again." in output
    )
    assert "The stored transformer of black-forest-labs/FLUX.1-schnell is damaged: " in output
    assert "FLUX.1-schnell/transformer to 8 bits (1 of 1): " in output
    assert machine.hub.sent == ["FLUX.1-schnell/vae"]


async def test_after_a_broken_download_what_is_there_is_not_downloaded_again(
    machine: Machine,
) -> None:
    machine.hub.breaks_off = "FLUX.1-schnell/transformer"
    code, output = await machine.run("-c", IMPATIENT)
    assert code == 1
    assert output.splitlines()[-1].startswith("The model black-forest-labs/FLUX.1-schnell ")
    assert output.splitlines()[-1].endswith("the same command goes on from there.")
    assert "Traceback" not in output
    assert "FLUX.1-schnell/text_encoder_2" in machine.hub.sent
    machine.hub.breaks_off = None
    machine.hub.sent.clear()
    code, output = await machine.prepare("schnell")
    assert code == 0, output
    assert machine.hub.sent == ["FLUX.1-schnell/transformer", "FLUX.1-schnell/vae"]


async def test_a_cut_leaves_nothing_half_done_and_the_same_command_goes_on(
    machine: Machine,
) -> None:
    machine.hub.holds = "FLUX.1-schnell/transformer"
    process = await machine.start("-m", "bot", "prepare", "schnell")
    await machine.hub.holding.wait()
    while not any(machine.unfinished):
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, output = await finish(process)
    assert code == 130
    assert output.splitlines()[-1] == "Stopped. The same command goes on where it was."
    assert "Traceback" not in output

    machine.hub.holds = None
    (arrived,) = machine.unfinished
    machine.hub.starts.clear()
    code, output = await machine.run("-c", KILLED_WHILE_IT_STORES)
    assert code == -signal.SIGKILL, output
    assert machine.hub.starts == [arrived]
    assert f"of which {arrived / 1e6:.1f} MB are there" in output
    assert "FLUX.1-schnell/transformer to 8 bits" in output

    machine.hub.sent.clear()
    code, output = await machine.prepare("schnell")
    assert code == 0, output
    assert machine.hub.sent == ["FLUX.1-schnell/vae"]
    assert not list(machine.weights.glob(".*"))
    assert all("\r" not in line and "\x1b" not in line for line in output.splitlines())


async def test_a_rehearsal_says_what_would_come_and_leaves_everything_as_it_is(
    machine: Machine,
) -> None:
    machine.hub.gated_repos = {"FLUX.1-dev"}
    code, output = await machine.prepare("--dry-run", "schnell", "dev")
    assert code == 1
    head, schnell, dev, together, disk, refusal = output.splitlines()
    assert head.split("  ")[0] == "model"
    assert schnell.split() == [
        *("black-forest-labs/FLUX.1-schnell", "all", "0.0", "MB"),
        *("8.5", "MB", "5.7", "MB", "yes"),
    ]
    assert dev.split()[0] == "black-forest-labs/FLUX.1-dev"
    assert dev.split()[-1] == "no"
    assert together.startswith("together")
    assert disk.startswith("The disk of ")
    assert disk.endswith(": enough.")
    assert "accepts its licence at https://huggingface.co/black-forest-labs/FLUX.1-dev" in refusal
    assert list(machine.home.iterdir()) == []
    assert machine.hub.asked == []


async def test_a_gated_model_says_what_the_operator_does(machine: Machine) -> None:
    machine.hub.gated = True
    code, output = await machine.prepare("schnell")
    assert code == 1
    assert "accepts its licence at" in output.splitlines()[-1]


async def test_a_disk_without_room_is_noticed_before_anything_is_downloaded(
    machine: Machine, tmp_path: Path
) -> None:
    program = tmp_path / "full.py"
    program.write_text(
        "import shutil, sys\n"
        "from collections import namedtuple\n"
        "Usage = namedtuple('Usage', 'total used free')\n"
        "shutil.disk_usage = lambda path: Usage(10**9, 0, 10**9)\n"
        "from bot.__main__ import main\n"
        "sys.exit(main(['prepare', 'schnell']))\n"
    )
    code, output = await machine.run(str(program))
    assert code == 1
    assert "1.0 GB are free there. Make room, or name fewer tools." in output.splitlines()[-1]
    assert machine.hub.sent == []


async def test_an_unknown_tool_is_refused_in_one_sentence(machine: Machine) -> None:
    code, output = await machine.prepare("pencil")
    assert code == 1
    assert output.startswith("The `flux` models have no pencil.")
    assert output.count("\n") == 1


def test_an_original_that_another_revision_uses_is_left(tmp_path: Path) -> None:
    repository = tmp_path / "models--me--mine"
    blob = repository / "blobs" / "abc"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"12345")
    folders = [repository / "snapshots" / (c * 40) / "transformer" for c in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").symlink_to(blob)
    first, second = (
        Source(repo_id="me/mine", part="transformer", folder=folder) for folder in folders
    )
    assert delete_originals(first) == 0
    assert blob.exists()
    assert delete_originals(second) == 5
    assert not blob.exists()


def test_an_index_that_points_elsewhere_has_nothing_deleted_there(tmp_path: Path) -> None:
    folder = tmp_path / "models--me--mine" / "snapshots" / COMMIT / "transformer"
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "precious.safetensors"
    elsewhere.write_bytes(b"12345")
    weight_map = {"one": "../../../../precious.safetensors", "two": str(elsewhere)}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert delete_originals(Source(repo_id="me/mine", part="transformer", folder=folder)) == 0
    assert elsewhere.exists()


def test_weights_outside_of_the_cache_are_never_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    shutil.copytree(Path(TINY) / "FLUX.1-schnell" / "transformer", folder)
    assert delete_originals(Source(repo_id="me/mine", part="transformer", folder=folder)) == 0
    assert list(folder.glob("*.safetensors"))
