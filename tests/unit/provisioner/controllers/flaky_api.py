"""An API server in memory that fails one write."""

from provisioner.kube.errors import Unavailable
from provisioner.model.kinds import Json, Kind
from tests.unit.provisioner.controllers.fake_api import FakeApi


class FlakyApi(FakeApi):
    """Fails the patch that follows `countdown` others, before or `after` it took effect; -1 for none."""

    countdown = -1
    after = False

    async def patch(
        self, kind: Kind, name: str, patch: Json | list[Json], *, namespace: str = "", subresource: str = ""
    ) -> Json:
        """See Transport."""
        self.countdown -= 1
        if self.countdown == -1:
            if self.after:
                await super().patch(kind, name, patch, namespace=namespace, subresource=subresource)
            raise Unavailable(503, "ServiceUnavailable", "the connection was lost")
        return await super().patch(kind, name, patch, namespace=namespace, subresource=subresource)
