"""How long an answer is waited for, and how often the Engine is asked."""

from typing import Any

import pytest

from flatrun_core.docker import DockerEngine

ID = "a" * 64


class TestLimits:
    @pytest.mark.parametrize(
        ("grace", "limit"), [(None, 40.0), (1, 31.0), (300, 330.0), (-1, 600.0), (100_000, 630.0)]
    )
    def test_stopping_waits_for_the_containers_own_grace(
        self, engine: DockerEngine, stub: Any, grace: int | None, limit: float
    ) -> None:
        stub.answers[f"/containers/{ID}/json"] = {"Config": {"StopTimeout": grace}}
        assert engine._stop_limit(ID) == limit

    def test_info_is_asked_once_a_minute(self, engine: DockerEngine, stub: Any) -> None:
        stub.answers["/info"] = {
            "ServerVersion": "20.10",
            "NCPU": 2,
            "MemTotal": 5,
            "CgroupDriver": "cgroupfs",
        }
        for _ in range(3):
            info = engine.info()
        assert (info.version, info.api_version, info.cgroup_version, info.cpus) == ("20.10", "1.41", "1", 2)
        assert stub.asked("/info") == 1
