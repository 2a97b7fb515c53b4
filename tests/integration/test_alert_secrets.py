"""The token of an alert channel on its way to instances: it arrives, and is seen nowhere else."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.chat_services import ChatServices, chat_services
from tests.integration.spot_arena import Arena

CANARY = "canary-of-wecom+/="


def places_of(arena):
    """Files, and objects in the bucket, that hold the canary; the names of the latter in angles."""
    found = set()
    for path in arena.folder.rglob("*"):
        with suppress(OSError):  # a file that is being replaced
            if path.is_file() and CANARY.encode() in path.read_bytes():
                found.add(path)
    stored = arena.storage.buckets.get("training")
    if stored is not None:
        for key, item in dict(stored.objects).items():
            if CANARY.encode() in item.content:
                assert item.acl == "private"
                found.add(key)
    return found


def processes_with_canary():
    """Ids of processes that show it in their command line or environment."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is somebody else's
            if any(
                CANARY.encode() in (folder / name).read_bytes() for name in ("cmdline", "environ")
            ):
                found.add(int(folder.name))
    return found


@pytest.mark.parametrize("in_oss", [False, True])
def test_instances_tell_people_and_the_token_is_seen_nowhere(tmp_path, in_oss):
    with (
        chat_services(ChatServices(wecom_key=CANARY)) as chats,
        Arena(
            tmp_path,
            in_oss=in_oss,
            secrets={"WECOM_KEY": CANARY},
            overrides=(f"alerts.wecom={{base_url: '{chats.url}'}}",),
        ) as arena,
    ):
        arena.start_controller()
        arena.wait_until(lambda: bool(chats.texts("wecom")))
        (first,) = arena.world.living()
        on_instance = (
            arena.machines.bodies[first.instance_id].folder / "linguabridge/secrets/WECOM_KEY"
        )
        name = "runs/chaos/alert-secrets.json"
        in_bucket = f"some/place/{name}" if in_oss else arena.bucket / name
        assert places_of(arena) == {on_instance, in_bucket}
        for path in (on_instance, in_bucket):
            if isinstance(path, Path):
                assert path.stat().st_mode & 0o777 == 0o600
        assert on_instance.parent.stat().st_mode & 0o777 == 0o700
        assert arena.controller is not None
        assert processes_with_canary() == {arena.controller.pid}
        arena.world.give_notice(first)
        arena.wait_until(lambda: len(chats.texts("wecom")) > 1)
        assert arena.end() == 0, arena.logs()
        assert places_of(arena) == set()
        texts = chats.texts("wecom")
        assert len(texts) == len(arena.world.instances) == len(set(texts))
        assert all(text.startswith("LinguaBridge chaos: epoch done\nfrom step ") for text in texts)
        assert [kind for kind, _ in arena.alerts()].count("finished") == 1
