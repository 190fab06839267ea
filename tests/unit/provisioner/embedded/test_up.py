"""Tests of the exit codes of `mooring up`."""

from pathlib import Path

import pytest

from provisioner import logs
from provisioner.embedded import up
from provisioner.embedded.settings import BadEnvironmentError, UpSettings
from provisioner.kube.errors import KubeconfigError


@pytest.mark.parametrize(
    "error", [BadEnvironmentError("port 1 is taken"), KubeconfigError("cannot use the kubeconfig /k")]
)
def test_a_bad_environment_is_reported_in_one_line_with_exit_code_78(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user has to change something; a traceback would not help."""

    async def fail(_settings: UpSettings) -> int:
        raise error

    monkeypatch.setattr(up, "_run_until_signal", fail)
    monkeypatch.setattr(logs, "configure", str)
    settings = UpSettings(state=str(tmp_path / "s"), rootless=True)
    assert 78 == up.run(settings)
    assert f"mooring: {error}\n" == capsys.readouterr().err
