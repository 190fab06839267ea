"""How `mooring up` ends."""

from pathlib import Path

import pytest

from provisioner import logs
from provisioner.embedded import up
from provisioner.embedded.settings import BadEnvironmentError, UpSettings
from provisioner.kube.errors import BadKubeconfig


@pytest.mark.parametrize("error", [BadEnvironmentError("port 1 is taken"), BadKubeconfig("cannot use the kubeconfig /k")])
def test_what_the_machine_lacks_is_one_sentence_and_exit_code_78(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever starts it has something to mend; a traceback would tell them nothing."""

    async def fail(_settings: UpSettings) -> int:
        raise error

    monkeypatch.setattr(up, "_until_told", fail)
    monkeypatch.setattr(logs, "configure", str)
    settings = UpSettings(state=str(tmp_path / "s"), rootless=True)
    assert 78 == up.run(settings)
    assert f"mooring: {error}\n" == capsys.readouterr().err
