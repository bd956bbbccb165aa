"""What methods may ask of all that was ever said."""

from __future__ import annotations

from thrum.git.place import Place
from thrum.store.projection import Projection
from thrum.store.purges import Survey


class Past:
    """The past of one repository."""

    def __init__(self, place: Place, projection: Projection) -> None:
        self._place, self._projection = place, projection

    def survey(self, horizon: int) -> Survey:
        """What would go if everything before `horizon` (nanoseconds) went."""
        return self._projection.purges.survey(self._place.log_root, horizon)

    def roots(self) -> list[str]:
        """The first commits of the branch's history as it is now."""
        from thrum.git import branch
        from thrum.git.objects import open_objects

        objects = open_objects(self._place.common_dir)
        try:
            tip = objects.head(branch.REF)
        finally:
            objects.close()
        return sorted(branch.roots(self._place, tip)) if tip else []
