"""An image with another torch than the described one is refused in a sentence that names the pitfall and the remedy."""

import hashlib
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import packaging.requirements  # noqa: F401 - stays importable when the test hides where it lies
import pytest

from gx10.lab.kit.wheel import Wheel

PROVE = Path(__file__).resolve().parents[2] / "files/image/prove_image.py"


def prove(root: Path, version: str, cuda: str) -> subprocess.CompletedProcess[str]:
    """Run the proof beside a torch that states these versions."""
    opt, site = root / "opt", root / "site"
    opt.mkdir()
    shutil.copy(PROVE, opt)
    (opt / "expected.json").write_text('{"torch": "2.11.0+cu130", "cuda": "13.0", "architectures": []}')
    (opt / "mods.json").write_text("{}")
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").write_text(f"from . import version\n__version__ = {version!r}\n")
    (site / "torch/version.py").write_text(f"cuda = {cuda!r}\n")
    argv = [sys.executable, opt / "prove_image.py"]
    return subprocess.run(argv, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False)


def test_torch_2_10_cpu_is_refused_with_pitfall_and_remedy(tmp_path: Path) -> None:
    done = prove(tmp_path, "2.10.0+cpu", "")
    assert done.returncode == 1
    assert "torch is 2.10.0+cpu, expected exactly 2.11.0+cu130" in done.stderr
    assert "libtorch_cuda.so: cannot open shared object file" in done.stderr
    assert "--no-deps --force-reinstall" in done.stderr
    assert "an override in every other layer" in done.stderr


def test_the_right_torch_for_another_cuda_is_refused(tmp_path: Path) -> None:
    assert "cuda is 12.8, expected exactly 13.0" in prove(tmp_path, "2.11.0+cu130", "12.8").stderr


def test_versions_are_read_from_torchs_own_file_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/version.py").write_text(
        "__all__ = ['__version__', 'cuda']\n__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n"
    )
    found = runpy.run_path(str(PROVE))["torch_without_import"](tmp_path)
    assert found == {"torch": "2.11.0+cu130", "cuda": "13.0"}


def test_a_file_that_a_mod_left_and_somebody_changed_is_named(tmp_path: Path) -> None:
    check = runpy.run_path(str(PROVE))["check_files"]
    (tmp_path / "module.py").write_text("patched")
    mods = {"a-mod": {"files": {"module.py": hashlib.sha256(b"patched").hexdigest()}}}
    check(mods, tmp_path)
    (tmp_path / "module.py").write_text("pristine")
    with pytest.raises(SystemExit, match=r"mod a-mod: .*module\.py is not the file that the mod left"):
        check(json.loads(json.dumps(mods)), tmp_path)


def test_a_package_that_another_one_needs_and_nobody_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = runpy.run_path(str(PROVE))["check_requirements"]
    Wheel("needy", "1", "Asks", requires=("absent>=2", "present==3", 'elsewhere; sys_platform == "never"')).unpack(
        tmp_path
    )
    Wheel("present", "2", "Is there").unpack(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    with pytest.raises(SystemExit, match=r"needy 1 needs absent>=2, which nobody installed\. .*gx10 images lock"):
        check()
    Wheel("absent", "2", "Is there now").unpack(tmp_path)
    assert check() == ["needy asks for present==3, installed is 2"]
